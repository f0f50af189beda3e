"""The end of an epoch within a program: results of metrics, and their reset."""

import logging

import tensorflow as tf

from gdtrain.engine import epoch_logs

_log = logging.getLogger(__name__)


class EpochEnd:
    """What Keras does in Python between two epochs, as operations.

    Args:
        model: The model.
        names: Names of the scalars that its step returns.
    """

    def __init__(self, model, names):
        self._model = model
        self._names = names
        self.width = len(names)

    def begin(self):
        """Resets the metrics."""
        self._model.reset_metrics()

    def results(self):
        """Results of metrics by name: float64 `[2 * names]`.

        The second half says whether there is a metric of that name which was
        updated in this epoch.
        """
        results = epoch_logs.results(self._model)
        nothing = (0.0, False)
        return tf.stack(
            [
                tf.cast(results.get(name, nothing)[part], tf.float64)
                for part in (0, 1)
                for name in self._names
            ]
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
