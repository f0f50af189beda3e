"""The loss of a batch once more, with the weights as they are by then."""

import tensorflow as tf


class RepeatedLoss:
    """Repeats the forward pass of a step, leaving no trace.

    With the same random numbers, and moving averages as they were before it.

    Args:
        model: A `DescentTrainer`.
    """

    def __init__(self, model):
        self._model = model
        self._parts = []
        self._before = []

    def begin(self, parts):
        """Remembers how things are before the step.

        Args:
            parts: The batch in micro-batches, a list of `(part, share)`.
        """
        self._parts = parts
        self._before = self._state()

    def __call__(self):
        """The mean loss of the micro-batches, a float32 scalar."""
        now = self._state()
        self._set(self._before)
        loss = sum(
            tf.math.multiply_no_nan(
                tf.cast(self._model.loss_again(part), tf.float32),
                tf.cast(share, tf.float32),
            )
            for part, share in self._parts
        )
        self._set(now)
        return loss

    def _state(self):
        """What a forward pass may change: `(variable, value)` of each."""
        model = self._model
        variables = {
            id(variable): variable
            for variable in (
                *model.non_trainable_variables,
                *model.metrics_variables,
            )
        }
        return [(v, tf.identity(v)) for v in variables.values()]

    def _set(self, state):
        for variable, value in state:
            variable.assign(value)
