"""What quantities keep from step to step, beside the weights."""

import tensorflow as tf


class Memory:
    """Variables of the quantities of one model, made when first asked for.

    They are no part of the model: weights and saved files know nothing of
    them.
    """

    def __init__(self):
        self._kept = {}

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
            kept = self._kept.get(key)
            if kept is None or [v.shape for v in kept] != [
                v.shape for v in values
            ]:
                kept = [tf.Variable(v, trainable=False) for v in values]
                self._kept[key] = kept
        return kept

    @property
    def variables(self):
        """All of them by key."""
        return dict(self._kept)
