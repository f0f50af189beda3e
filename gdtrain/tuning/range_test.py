"""The range test: one step at each of many learning rates."""

import math
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.optimizers import Optimizer

from gdtrain.common.explained import more
from gdtrain.keras_bridge import optimizers
from gdtrain.keras_bridge.optimizers import unwrapped
from gdtrain.loop.callback import Callback
from gdtrain.optimizers import GradientDescent
from gdtrain.telemetry.loss import LearningRate, Loss
from gdtrain.telemetry.step_table import BlockTable
from gdtrain.tuning import suggestions


class Ramp(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule of given rates, one a step, the last of which stays.

    Attributes:
        rates: Float32 `[n]`.
        first: The count of updates that the first is for.
    """

    def __init__(self) -> None:
        self.rates = np.zeros(1, np.float32)
        self.first = 0

    def __call__(self, step: int | tf.Tensor) -> tf.Tensor:
        """The rate of an update, a float32 scalar."""
        place = tf.cast(step, tf.int32) - self.first
        place = tf.clip_by_value(place, 0, len(self.rates) - 1)
        return tf.gather(tf.constant(self.rates), place)

    def get_config(self) -> dict:
        """Empty: it is not saved."""
        return {}


def optimizer_of(model: keras.Model) -> Optimizer:
    """The optimizer whose rates are tried, within one for loss scaling.

    Raises:
        ValueError: if there is none, or it is made of several.
    """
    optimizer = model.optimizer
    inner = unwrapped(optimizer)
    several = keras.optimizers.MultiOptimizer
    if not isinstance(inner, Optimizer) or isinstance(inner, several):
        raise ValueError(
            "The model must be compiled with one optimizer, whose rates are "
            f"to be tried. Received: optimizer={optimizer!r}. Write for "
            "example `model.compile(gdtrain.GradientDescent(), loss)`."
        )
    return inner


# Their momentum accumulates steps, each with its own rate; that of Adam and
# others accumulates gradients. Exactly these classes: a subclass may differ.
_NESTEROV = (keras.optimizers.SGD, GradientDescent)  # May have it
_ACCUMULATE_STEPS = (*_NESTEROV, keras.optimizers.RMSprop)


def constant_share(optimizer: Optimizer, growth: float) -> float:
    """The constant rate that moves as far as a rising one, as a share of it.

    Momentum accumulates steps. If the rate rises by the factor `growth` from
    each to the next, these were smaller than at a constant rate, so that a
    rate does less in a range test than in training:

        (1 - momentum) / (1 - momentum / growth)

    With Nesterov's momentum, which adds the last step once more:

        (1 - momentum) * (1 + momentum / (1 - momentum / growth))

    Args:
        optimizer: A Keras optimizer.
        growth: The factor, 1 or more.

    Returns:
        A `float`; 1 for optimizers that do not accumulate steps, and for a
        momentum of 1, with which no constant rate moves as little.

    Example:

    >>> import keras
    >>> round(constant_share(keras.optimizers.SGD(momentum=0.9), 1.5), 3)
    0.25
    >>> constant_share(keras.optimizers.Adam(), 1.5)
    1.0
    """
    if type(optimizer) not in _ACCUMULATE_STEPS or optimizer.momentum in (0, 1):
        return 1.0
    momentum = optimizer.momentum
    kept = 1 / (1 - momentum / growth)
    if type(optimizer) in _NESTEROV and optimizer.nesterov:
        kept = 1 + momentum * kept
    return (1 - momentum) * kept


_EPOCHS = 1.8  # In the time of two: observed steps take longer
_MAX_STEPS = 200  # 25 a decade
_MIN_STEPS = 36  # 4 a decade. Where there are fewer:
_STEPS_OF_FEW_BATCHES = 100
_MAX_SKIPPED = 30  # Steps: a loss scale goes from 2**15 to 2**-15


def steps_of(epoch_length: int | None) -> int:
    """How many steps a test has by default.

    1.8 epochs, which take the time of two, but no more than 200 steps; 100
    where that would be fewer than 36, or the length is not known.

    Args:
        epoch_length: Steps of an epoch, or `None`.

    Example:

    >>> [steps_of(length) for length in (1, 19, 20, 23, 1000, None)]
    [100, 100, 36, 41, 200, 100]
    """
    steps = int(_EPOCHS * (epoch_length or 0))
    if steps < _MIN_STEPS:
        return _STEPS_OF_FEW_BATCHES
    return min(steps, _MAX_STEPS)


class Recorder(Callback):
    """Raises the learning rate step by step, and keeps the losses.

    The rates are equally spaced on a logarithmic scale. It stops training
    after the last one, or when the loss blows up. A step that an optimizer
    with loss scaling skips, as gradients overflow, is repeated with the next
    batch, up to 30 times.

    Args:
        low, high: The first rate and the last.
        steps: How many; `None` for what `steps_of` finds.

    Attributes:
        ramp: The `Ramp` that the optimizer must follow.
        learning_rates, losses: Float64 `[n]`: of the steps that were made,
            without skipped ones.
        blew_up: Whether the loss did.
        steps_before: How many steps the optimizer had made before.
    """

    deterministic = True  # No choice by the clock: the same answer each time
    quantities = (Loss(), LearningRate())

    def __init__(
        self, low: float, high: float, steps: int | None = None
    ) -> None:
        super().__init__()
        self.ramp = Ramp()
        self._ends = low, high
        self._steps = steps or 0
        self._first = self._last = 0  # Steps: before it, and to stop after
        self._seen = np.empty([2, 0])  # Rates and losses of all steps
        self.learning_rates = np.empty(0)
        self.losses = np.empty(0)
        self.blew_up = False
        self.steps_before = 0

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Sets the rates, before the first step is traced."""
        self._steps = self._steps or steps_of(self.params["steps"])
        optimizer = optimizer_of(self.model)
        self.ramp.rates = np.geomspace(*self._ends, self._steps).astype("f")
        self.steps_before = int(optimizer.iterations.numpy())
        self.ramp.first = self.steps_before
        self._first = self.steps_done
        self._last = self._first + self._steps

    def next_sync(self, step: int) -> int | None:
        """The step that it stops after."""
        return self._last if step < self._last else None

    def on_block(self, table: BlockTable) -> None:
        """Takes the losses of a block of steps."""
        if self.model.stop_training:  # Several workers stop a block later.
            return
        self._seen = np.append(self._seen, self._read(table), axis=1)
        rates, losses = self._seen
        made = np.append(np.diff(rates) != 0, True)  # Else it is repeated
        skipped = int(np.count_nonzero(~made))
        self._last = self._first + self._steps + skipped
        self.losses = losses[made][: self._steps]
        place = suggestions.blow_up(self.smoothed)
        self.blew_up = place is not None
        count = len(self.losses) if place is None else place + 1
        self.learning_rates = rates[made][:count]
        self.losses = self.losses[:count]
        is_complete = count == self._steps
        if self.blew_up or is_complete or skipped > _MAX_SKIPPED:
            self.model.stop_training = True

    @property
    def smoothed(self) -> np.ndarray:
        """The smoothed losses, float64 `[n]`."""
        return suggestions.smooth(self.losses, self.per_decade)

    @property
    def per_decade(self) -> float:
        """How many rates there are in a decade."""
        low, high = self._ends
        return (self._steps - 1) / math.log10(high / low)

    @property
    def constant_share(self) -> float:
        """What a suggestion is multiplied by, as training keeps its rate."""
        growth = 10 ** (1 / self.per_decade)
        return constant_share(optimizer_of(self.model), growth)

    def _read(self, table: BlockTable) -> np.ndarray:
        """Rates and losses of a table, `[2, steps]`."""
        chosen = table.select(self.wanted)
        if "loss" not in chosen:
            raise ValueError(
                "A step must return its loss. Received: a `train_step` with "
                f"{sorted(chosen.names)}. Return {{'loss': loss}} from it, or "
                "call `self.descend(tape, loss)` without a `name`."
                + more("train-step")
            )
        first = self._seen.shape[1]
        rates = self.ramp.rates[first : first + len(chosen)]
        if "learning_rate" in chosen:
            rates = chosen["learning_rate"]
        if not np.isin(rates, self.ramp.rates).all():
            raise ValueError(
                "The compiled optimizer must make the updates, as its rates "
                "are to be tried. Received: a `train_step` that descends "
                f"with a learning rate of {rates[0]}. Give `compile` the "
                "optimizer that `descend` is called with." + more("train-step")
            )
        return np.stack([rates, chosen["loss"]])


def run(
    model: keras.Model,
    x: Any,
    y: Any,
    *,
    low: float,
    high: float,
    steps: int | None,
    **arguments: Any,
) -> Recorder:
    """Trains a model at rising learning rates.

    Args:
        model: A `DescentTrainer`, compiled and built.
        x, y: The data, as in `keras.Model.fit`.
        low, high, steps: As in `Recorder`.
        **arguments: More of `fit`: `batch_size`, `sample_weight`.

    Returns:
        The `Recorder` of the test.

    Raises:
        RuntimeError: if no step was observed.
        ValueError: if the first loss is not finite.
    """
    recorder = Recorder(low, high, steps)
    optimizer = optimizer_of(model)
    with optimizers.replaced_learning_rate(optimizer, recorder.ramp):
        model.fit(
            x,
            y,
            # The recorder stops it; an epoch has at least a step.
            epochs=(steps or _MAX_STEPS) + _MAX_SKIPPED,
            verbose=0,
            # Keras warns of a dataset that it is asked to shuffle.
            shuffle=not isinstance(x, tf.data.Dataset),
            callbacks=[recorder],
            **arguments,
        )
    if not len(recorder.losses):
        raise RuntimeError(
            "The steps must be run by gdtrain. Received: a model whose steps "
            "were not observed; it has a `make_train_function` of its own. "
            "Remove that, and write a `train_step`." + more("train-step")
        )
    if not np.isfinite(recorder.losses[0]):
        raise ValueError(
            "The loss must be finite at the start, before any rate is tried. "
            f"Received: a loss of {recorder.losses[0]}. Look for NaN in the "
            "data, or begin with other weights." + more("nonfinite")
        )
    return recorder
