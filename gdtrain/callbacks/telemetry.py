"""Callbacks that pass the numbers of every step to a writer."""

from typing import Any

import numpy as np

from gdtrain.common import checks, notebook
from gdtrain.loop.callback import Callback, Quantities, State
from gdtrain.telemetry import presets
from gdtrain.telemetry.step_table import BlockTable, StepTable
from gdtrain.writers.background import Background
from gdtrain.writers.memory import HasSteps, MemoryWriter
from gdtrain.writers.writer import Array, Mask, Names, Writer, restore, state_of


class StepWriter(Callback):
    """Passes the numbers of every step to a writer, on a thread of its own.

    Weights are bit-equal with it and without it. When training ends, normally
    or by an exception, all that was measured has been written and the writer
    is closed; a second `fit` with the same object continues.

    Args:
        writer: Where to: `gdtrain.writers.CSVWriter(path)`, several as one by
            `MultiWriter`, fewer rows by `AggregatingWriter`, or an object of
            your own with `write`, `flush` and `close`; see
            `gdtrain.writers.Writer`.
        quantities: As in `gdtrain.callbacks.Telemetry`. Defaults to
            `"standard"`.
        every_steps: Write the steps that are multiples of this. Defaults to
            1, every step.
        budget: As in `gdtrain.callbacks.TensorBoard`. Defaults to `None`.

    Raises:
        TypeError, ValueError: if an argument cannot be used.

    Example:

    >>> import os, tempfile, keras, numpy as np, gdtrain
    >>> path = os.path.join(tempfile.mkdtemp(), "steps.csv")
    >>> model = gdtrain.Sequential([keras.Input([1]), keras.layers.Dense(1)])
    >>> model.compile(gdtrain.GradientDescent(0.5), loss="mse")
    >>> callback = gdtrain.callbacks.StepWriter(
    ...     gdtrain.writers.CSVWriter(path), ["learning_rate"]
    ... )
    >>> x = np.ones([8, 1])
    >>> _ = model.fit(x, x, batch_size=4, verbose=0, callbacks=[callback])
    >>> print(open(path).read().strip())
    step,learning_rate
    1,0.5
    2,0.5
    """

    sync = "never"

    def __init__(
        self,
        writer: Writer,
        quantities: Quantities = "standard",
        every_steps: int = 1,
        *,
        budget: float | None = None,
    ) -> None:
        super().__init__()
        self.writer = writer
        self.quantities = presets.resolve(quantities)
        self.every_steps = checks.positive_integer("every_steps", every_steps)
        self.budget = checks.share_of_time(budget)
        self._wanted = self.wanted  # For each block, on the writing thread
        self._background = Background(self.flush)

    def __getstate__(self) -> dict[str, Any]:
        self.wait()
        return super().__getstate__()

    @property
    def writes(self) -> bool:
        """Whether this process writes: of several workers, the chief.

        All of them measure, so that they run the same program.
        """
        return self.model.distribute_strategy.extended.should_save_summary

    def on_block(self, table: BlockTable) -> None:
        """Passes a block to the writing thread."""
        if self.writes:
            self._background.do(self.write_block, table, size=table.rows.nbytes)

    def write_block(self, table: BlockTable) -> None:
        """Writes what was asked for, on the writing thread."""
        chosen = table.select(self._wanted)
        if len(chosen):
            self.write(chosen.steps, chosen.names, chosen.array, chosen.mask)

    def write(
        self, steps: Array, names: Names, values: Array, measured: Mask = None
    ) -> None:
        """Writes steps, on the writing thread. See `gdtrain.writers.Writer`."""
        self.writer.write(steps, names, values, measured)

    def flush(self) -> None:
        """Makes what was written readable, on the writing thread."""
        self.writer.flush()

    def wait(self) -> None:
        """Returns when everything measured so far has been written."""
        self._background.wait()

    def close(self) -> None:
        """Writes the rest and closes the writer."""
        self._background.do(self.writer.close)
        self._background.close()

    def get_state(self) -> dict[str, Any]:
        """What is needed to continue exactly, once all so far is written."""
        self.wait()
        return {"writer": state_of(self.writer)}

    def set_state(self, state: State) -> None:
        """Continues from what `get_state` gave.

        A worker that does not write may get the state of one that does.
        """
        if self.writes:
            self._background.do(restore, self.writer, state["writer"])
            self.wait()


class Telemetry(HasSteps, StepWriter):
    """Keeps the numbers of every step as arrays.

    Weights are bit-equal with it and without it. A second `fit` with the same
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

    def __repr__(self) -> str:
        steps = self.steps
        if not len(steps):
            return "Telemetry of no steps yet."
        return (
            f"Telemetry of {len(steps):,} steps, {steps[0]:,} to {steps[-1]:,}."
        )

    def _repr_html_(self) -> str:
        """The range of each number, and a picture of the loss."""

        def what() -> str:
            return notebook.paragraph(repr(self))

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
