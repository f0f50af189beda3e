"""Every step's numbers, to any writer."""

from gdtrain.callbacks.step_callback import StepCallback


class StepWriter(StepCallback):
    """Hands what every step says of itself to a writer, off the main thread.

    Weights come out bit-equal with it and without it. When training ends,
    however it ends, all that was measured has been written and the writer is
    closed; fitting again with the same object goes on where it was.

    Args:
        writer: Where to: `gdtrain.writers.CSVWriter(path)`, several as one by
            `SeveralWriters`, fewer rows by `Thinned`, or an object of your
            own with `write`, `flush` and `close`; see `gdtrain.writers`.
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
