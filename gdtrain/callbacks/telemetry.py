"""The numbers of every step, in memory."""

import os

import numpy as np

from gdtrain.callbacks.step_writer import StepWriter
from gdtrain.common import notebook
from gdtrain.loop.callback import Quantities
from gdtrain.telemetry.step_table import StepTable
from gdtrain.writers.memory import MemoryWriter


class Telemetry(StepWriter):
    """Keeps the numbers of every step as arrays.

    Weights are bit-equal with it and without it. Another `fit` with the same
    object continues. What was measured before an exception or Ctrl-C is kept.

    Args:
        quantities: `"standard"` (loss, learning_rate, nonfinite_count, and
            gradient_norm; for each layer, gradient_norm, weight_norm and
            update_ratio), `"minimal"` (loss, learning_rate), `"full"` (all of
            `gdtrain.telemetry`, the expensive ones every 10 or 100 steps), or a
            list of quantities, such as `GradientCosine().every(10)`, and
            names of quantities.
            With each come the scalars that a `train_step` of your own
            returns, and what metrics such as accuracy are for the batch alone.
        every_steps: Keep the steps that are multiples of this. Defaults to
            1, every step.
        budget: As in `gdtrain.callbacks.TensorBoard`. Defaults to `None`.

    Raises:
        TypeError, ValueError: if an argument cannot be used.

    Example:

    >>> import keras, numpy as np, gdtrain
    >>> model = gdtrain.Sequential(
    ...     [keras.Input([1]), keras.layers.Dense(1, name="line")]
    ... )
    >>> model.compile(gdtrain.GradientDescent(0.1), loss="mse")
    >>> telemetry = gdtrain.callbacks.Telemetry()
    >>> x = np.ones([8, 1])
    >>> _ = model.fit(x, x, batch_size=4, verbose=0, callbacks=[telemetry])
    >>> telemetry.steps.tolist()
    [1, 2]
    >>> telemetry.names[:4]
    ['loss', 'learning_rate', 'gradient_norm', 'gradient_norm/line']
    >>> telemetry["learning_rate"]
    array([0.1, 0.1], dtype=float32)
    """

    writer: MemoryWriter

    def __init__(
        self,
        quantities: Quantities = "standard",
        every_steps: int = 1,
        *,
        budget: float | None = None,
    ) -> None:
        super().__init__(MemoryWriter(), quantities, every_steps, budget=budget)

    @property
    def table(self) -> StepTable:
        """All that was measured so far."""
        self.wait()
        return self.writer.table

    @property
    def steps(self) -> np.ndarray:
        """Numbers of the steps kept, int64 `[n]`; the first update is 1."""
        return self.table.steps

    @property
    def names(self) -> list[str]:
        """Names of what was measured."""
        return list(self.table.names)

    def __getitem__(self, name: str) -> np.ndarray:
        """Values of one name, float32 `[n]`; NaN where it was not measured.

        Raises:
            KeyError: if nothing was measured under that name.
        """
        return self.table[name]

    def save(self, path: str | os.PathLike) -> None:
        """Writes an `.npz` file with `steps`, `names` and `values` `[n, m]`.

        Args:
            path: Where to; overwritten if it exists.
        """
        self.table.save(path)

    def _repr_html_(self) -> str:
        """The range of each number, and a picture of the loss."""

        def what() -> str:
            steps = self.steps
            if not len(steps):
                return notebook.paragraph("Telemetry of no steps yet.")
            return notebook.paragraph(
                f"Telemetry of {len(steps):,} steps, {steps[0]:,} to "
                f"{steps[-1]:,}."
            )

        def table() -> str:
            header = ["name", "first", "last", "least", "largest", "measured"]
            return notebook.table(
                header, [self._row(name) for name in self.names]
            )

        def picture() -> str:
            drawn = {"loss", "learning_rate"} <= set(self.names)
            return notebook.picture("loss", self) if drawn else ""

        return notebook.show(self, what, table, picture)

    def _row(self, name: str) -> list[str]:
        """A name, and what its numbers are."""
        _, values = self.table.points(name)
        if not len(values):
            return [name, "", "", "", "", "0"]
        least, largest = np.fmin.reduce(values), np.fmax.reduce(values)
        shown = (values[0], values[-1], least, largest)
        return [name, *(f"{value:.4g}" for value in shown), f"{len(values):,}"]
