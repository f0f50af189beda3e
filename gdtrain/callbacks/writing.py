"""Callbacks that pass what was measured at every step to a writer."""

import abc

from gdtrain.common import checks
from gdtrain.loop.callback import Callback
from gdtrain.telemetry import presets
from gdtrain.writers.background import Background
from gdtrain.writers.writer import restore, state_of


class StepCallback(Callback, abc.ABC):
    """A callback that hears of every step, off the training thread.

    It does not look at the model, so that it never holds up training: it is
    told of steps after they ran, however many ran as one program.

    Args:
        quantities: What to measure: `"minimal"`, `"standard"`, `"full"`, or a
            list of quantities and names of quantities.
        every_steps: Measure at those steps that are multiples of this.
        budget: The share of training time that quantities beyond the
            `"standard"` ones may take; `None` for no limit.

    Raises:
        TypeError, ValueError: if an argument cannot be used.
    """

    sync = "never"

    def __init__(self, quantities="standard", every_steps=1, budget=None):
        super().__init__()
        self.quantities = presets.resolve(quantities)
        self.every_steps = checks.positive_integer("every_steps", every_steps)
        self.budget = budget
        if budget is not None:
            self.budget = checks.positive_number(
                "budget", budget, "Write 0.05 for 5% of training time."
            )
        self._wanted = self.wanted  # For the writing thread
        self._background = Background(self.flush)

    def __getstate__(self):
        self.wait()
        return super().__getstate__()

    def on_block(self, table):
        """Passes the steps of a block to the writing thread."""
        if self.writes:
            self._background.do(self._pass_on, table, size=table.rows.nbytes)

    @property
    def writes(self):
        """Whether this process is to write: of several workers, the chief.

        All of them measure, so that they run one and the same program.
        """
        return self.model.distribute_strategy.extended.should_save_summary

    def close(self):
        """Called by the trainer when `fit` ends, however it ends."""
        self._background.close()

    def wait(self):
        """Returns when everything measured so far has been written."""
        self._background.wait()

    def get_state(self):
        """What is needed to go on exactly, when all so far is written."""
        self.wait()
        return {"writer": state_of(self.target)}

    def set_state(self, state):
        """Goes on from what `get_state` gave."""
        self._background.do(restore, self.target, state["writer"])
        self.wait()

    @property
    @abc.abstractmethod
    def target(self):
        """The writer that steps go to."""

    def write(self, steps, names, values, measured=None):
        """Takes steps, on the writing thread. See `gdtrain.writers`."""
        self.target.write(steps, names, values, measured)

    def flush(self):
        """Makes what was written readable, on the writing thread."""
        self.target.flush()

    def _pass_on(self, table):
        chosen = table.select(self._wanted)
        if len(chosen):
            self.write(chosen.steps, chosen.names, chosen.array, chosen.mask)


class StepWriter(StepCallback):
    """Hands what every step says of itself to a writer, off the main thread.

    Weights come out bit-equal with it and without it. When training ends,
    however it ends, all that was measured has been written and the writer is
    closed; fitting again with the same object goes on where it was.

    Args:
        writer: Where to: `gdtrain.writers.CSVWriter(path)`, several as one by
            `MultiWriter`, fewer rows by `AggregatingWriter`, or an object of
            your own with `write`, `flush` and `close`; see
            `gdtrain.writers.Writer`.
        quantities: As in `gdtrain.callbacks.Telemetry`. Defaults to
            `"standard"`.
        every_steps: Write those steps that are multiples of this. Defaults to
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

    def __init__(
        self, writer, quantities="standard", every_steps=1, *, budget=None
    ):
        super().__init__(quantities, every_steps, budget)
        self.writer = writer

    @property
    def target(self):
        """The writer that steps go to."""
        return self.writer

    def close(self):
        """Writes what is left and closes the writer."""
        self._background.do(self.writer.close)
        super().close()
