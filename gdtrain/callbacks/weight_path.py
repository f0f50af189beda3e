"""Where the weights of a small model go."""

from typing import Any

import numpy as np

from gdtrain.common import cadence, checks
from gdtrain.loop.callback import Callback, Logs, State
from gdtrain.state import variables
from gdtrain.telemetry.step_table import BlockTable


class WeightPath(Callback):
    """Keeps the trainable weights of a model during training.

    For small models: memory is at most `max_points` times that of the weights.
    When there are more points than that, every second one is dropped, and the
    distance between those to come is doubled. Weights are bit-equal with it
    and without it.

    A point is where a block of steps ends, as it does at the requested steps;
    with an integer for `steps_per_execution`, at the next end of an execution.
    A second `fit` with the same object continues.

    Args:
        every_steps: Keep the weights at the multiples of this, in steps, and
            before the first and after the last step. Defaults to 1, each step.
        max_points: How many points to keep, at least 2. Defaults to 500.

    Raises:
        TypeError, ValueError: if an argument cannot be used.

    Example:

    >>> import keras, gdtrain
    >>> line = keras.layers.Dense(1, kernel_initializer="zeros")
    >>> model = gdtrain.Sequential([keras.Input([1]), line])
    >>> model.compile(gdtrain.GradientDescent(0.25), loss="mse")
    >>> path = gdtrain.callbacks.WeightPath()
    >>> x = np.array([[-1.0], [1.0]])
    >>> _ = model.fit(x, x, epochs=3, verbose=0, callbacks=[path])
    >>> path.steps.tolist(), path.weights.tolist()
    ([0, 1, 2, 3], [[0.0, 0.0], [0.5, 0.0], [0.75, 0.0], [0.875, 0.0]])
    """

    sync = "never"  # But at the steps of `next_sync`

    def __init__(self, every_steps: int = 1, *, max_points: int = 500) -> None:
        super().__init__()
        self.every_steps = checks.positive_integer("every_steps", every_steps)
        if checks.positive_integer("max_points", max_points) < 2:
            raise ValueError(
                "`max_points` must be at least 2. Received: "
                f"max_points={max_points!r}. A path has a start and an end."
            )
        self.max_points = max_points
        self._stride = self.every_steps
        self._steps: list[int] = []
        self._points: list[np.ndarray] = []
        self._is_begun = True

    @property
    def steps(self) -> np.ndarray:
        """The step of each point, int64 `[n]`; 0 is the start."""
        return np.array(self._steps, np.int64)

    @property
    def weights(self) -> np.ndarray:
        """The points: all trainable weights in a row, float `[n, weights]`.

        In the order of `model.trainable_variables`.
        """
        return np.stack(self._points) if self._points else np.zeros([0, 0])

    def on_train_begin(self, logs: Logs = None) -> None:
        """Begins a part of the path."""
        super().on_train_begin(logs)
        self._is_begun = False

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Keeps the start, when all weights are made."""
        if not self._is_begun:
            self._is_begun = True
            self._keep(self.steps_done)

    def next_sync(self, step: int) -> int:
        """The next step at which it must see the model."""
        return cadence.next_multiple(step, self._stride)

    def on_block(self, table: BlockTable) -> None:
        """Keeps the weights, if they are due."""
        if self.next_sync(table.first_step - 1) <= table.last_step:
            self._keep(table.last_step)

    def on_train_end(self, logs: Logs = None) -> None:
        """Keeps the end."""
        self._keep(self.steps_done)

    def get_state(self) -> dict[str, Any]:
        """What is needed to continue exactly."""
        return {
            "steps": self.steps,
            "weights": self.weights,
            "stride": self._stride,
        }

    def set_state(self, state: State) -> None:
        """Continues from what `get_state` gave."""
        self._steps = np.asarray(state["steps"]).tolist()
        self._points = list(np.asarray(state["weights"]))
        self._stride = int(state["stride"])

    def _keep(self, step: int) -> None:
        """Keeps the weights after some step."""
        while self._steps and self._steps[-1] >= step:  # After a rollback
            self._steps.pop()
            self._points.pop()
        strategy = self.model.distribute_strategy
        values = variables.values(self.model.trainable_variables, strategy)
        self._steps.append(step)
        self._points.append(np.concatenate([v.ravel() for v in values]))
        if len(self._steps) > self.max_points:
            self._steps = self._steps[::2]
            self._points = self._points[::2]
            self._stride *= 2
