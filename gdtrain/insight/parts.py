"""Examples worked on a part at a time, in the memory of one part."""

import keras
import tensorflow as tf

from gdtrain.insight import examples as examples_of_data


class Parts:
    """Examples in parts of equal size; the last may be smaller.

    Args:
        data: A structure of tensors of shape `[examples, ...]`.
        batch_size: How many examples a part has.

    Example:

    >>> parts = Parts(tf.constant([1.0, 2.0, 6.0]), batch_size=2)
    >>> def function(start):
    ...     return [tf.reduce_mean(parts.at(start))]
    >>> [float(mean) for mean in parts.mean(function, [()], tf.float32)]
    [3.0]
    """

    def __init__(self, data, batch_size):
        self._data = data
        #: How many examples there are, an `int`.
        self.examples = examples_of_data.count_of(data)
        self._size = min(batch_size, self.examples)

    def at(self, start):
        """The part that begins with example `start`."""
        return keras.tree.map_structure(
            lambda leaf: self._rows(leaf, start), self._data
        )

    def _rows(self, leaf, start):
        if leaf is None or self._size == self.examples:
            return leaf
        rows = leaf[start : start + self._size]
        if self.examples % self._size == 0 and tf.is_tensor(start):
            rows.set_shape([self._size, *leaf.shape[1:]])
        return rows

    def mean(self, function, shapes, dtype):
        """The mean of a function over parts, weighted by their examples.

            mean = sum over parts (examples of part / examples * function)

        One part after another, so that only one is in memory.

        Args:
            function: Takes the first example of a part, returns a list of
                tensors.
            shapes: Their shapes, a list.
            dtype: Their dtype.

        Returns:
            A list of tensors.
        """
        if self._size == self.examples:
            return function(0)

        def add(start, totals):
            count = tf.minimum(self._size, self.examples - start)
            share = tf.cast(count, dtype) / self.examples
            return start + self._size, [
                total + share * tensor
                for total, tensor in zip(totals, function(start), strict=True)
            ]

        _, totals = tf.while_loop(
            lambda start, totals: start < self.examples,
            add,
            (0, [tf.zeros(shape, dtype) for shape in shapes]),
            parallel_iterations=1,
        )
        return totals
