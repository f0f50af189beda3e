"""What Keras's `fit` and `evaluate` call: a block, and who hears of it."""

from gdtrain.engine import block, epoch_logs, epoch_means


class Execution:
    """Runs a block each time it is called, and passes its rows on.

    A block is made for each set of quantities that is asked for, so that
    training without telemetry pays nothing for it.

    Args:
        model: A `DescentTrainer`, compiled.
        step_function: Its `train_step` or `test_step`.
        observers: The `Observers` to tell of every step, or `None`.
        microbatches: Into how many micro-batches to split a batch.
    """

    def __init__(self, model, step_function, observers=None, microbatches=1):
        self.logs = None  # What the last step returned
        self._means = epoch_means.EpochMeans()
        self._model = model
        self._step_function = step_function
        self._observers = observers
        self._microbatches = microbatches
        self._blocks = {}

    def __call__(self, iterator):
        """Runs up to `model.steps_per_execution` steps.

        Args:
            iterator: Yields batches.

        Returns:
            What the last step returned.

        Raises:
            StopIteration, tf.errors.OutOfRangeError: if there is no batch.
        """
        current = self._block()
        self.logs, rows = current(iterator)
        self._means.add(current.returned, rows)
        if self._observers:
            self._observers.observe(current.columns, rows)
        return self.logs

    def begin(self):
        """Forgets steps of an epoch that was not finished."""
        self._means.take()

    def epoch_logs(self):
        """What `History` shows of the steps since the last call."""
        return epoch_logs.of(self._model, self.logs, self._means.take())

    def _block(self):
        """The block that measures what the observers want now."""
        quantities = self._observers.quantities if self._observers else ()
        if quantities not in self._blocks:
            self._blocks[quantities] = block.Block(
                self._model,
                self._step_function,
                quantities,
                self._microbatches,
            )
        return self._blocks[quantities]
