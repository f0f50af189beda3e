"""The end of an epoch within a program: results of metrics, and their reset."""

import logging

import tensorflow as tf

_log = logging.getLogger(__name__)


class EpochEnd:
    """What Keras does in Python between two epochs, as operations.

    Args:
        model: The model.
        results: The `MetricResult`s that its step returns, a list.
    """

    def __init__(self, model, results):
        self._model = model
        self._results = results
        self.width = len(results)

    def begin(self):
        """Resets the metrics."""
        self._model.reset_metrics()

    def results(self):
        """Results of the metrics, float64 of as many."""
        if not self._results:
            return tf.zeros([0], tf.float64)
        return tf.stack(
            [tf.cast(result(), tf.float64) for result in self._results]
        )

    def can_be_compiled(self):
        """Whether the metrics' own code can be traced.

        A metric of the user's may do in Python what no graph can, such as
        reading a value. Then epochs end between two programs.
        """

        def end():
            self.begin()
            return self.results()

        try:
            tf.function(end, autograph=False).get_concrete_function()
        except Exception as error:  # Whatever the user's code raises
            _log.info(
                "Blocks of steps end with the epoch, as the metrics of %s "
                "cannot be compiled: %s",
                self._model.name,
                error,
            )
            return False
        return True
