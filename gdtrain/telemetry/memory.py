"""What quantities keep from step to step, beside the weights."""

import tensorflow as tf


class Memory:
    """Variables of the quantities of one model, made when first asked for.

    They are no part of the model: weights and saved files know nothing of
    them.
    """

    def __init__(self):
        self._kept = {}
        self._found: dict = {}  # Values for variables that are not made yet

    def keep(self, key, initial):
        """Variables that hold values from one step to the next.

        Args:
            key: Whose they are, a tuple of strings.
            initial: A function that gives their first values, a list of
                arrays; called when they are made.

        Returns:
            A list of `tf.Variable`: those made before under the same key, if
            they have the same shapes.
        """
        with tf.init_scope():  # Out of the graph that is being traced
            values = [tf.convert_to_tensor(value) for value in initial()]
            found = self._found.get(repr(key))
            if found and [v.shape for v in found] == [v.shape for v in values]:
                values = [tf.convert_to_tensor(value) for value in found]
            kept = self._kept.get(key)
            if kept is None or [v.shape for v in kept] != [
                v.shape for v in values
            ]:
                kept = [tf.Variable(v, trainable=False) for v in values]
                self._kept[key] = kept
        return kept

    def get_state(self):
        """Values of all of them, lists of arrays by name."""
        return {
            repr(key): [variable.numpy() for variable in kept]
            for key, kept in self._kept.items()
        }

    def set_state(self, state):
        """Sets them to what `get_state` gave; those to be made, when made."""
        self._found = state
        for key, kept in self._kept.items():
            found = state.get(repr(key), kept)
            for variable, value in zip(kept, found, strict=True):
                variable.assign(value)

    @property
    def variables(self):
        """All of them by key."""
        return dict(self._kept)
