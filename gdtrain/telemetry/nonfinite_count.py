"""How many numbers of a step are NaN or infinite."""

import tensorflow as tf

from gdtrain.telemetry import norms
from gdtrain.telemetry.quantity import Quantity


class NonfiniteCount(Quantity):
    """Number of entries of the gradients, and the loss, that are not finite.

        nonfinite_count = sum over gradients of count(not finite)
                          + (1 if the loss is not finite else 0)

    0 in a healthy step. Exact up to 2 ** 24, as float32 counts. Cost: one
    pass over the gradients, which it shares with `GradientNorm`.

    Example:

    >>> NonfiniteCount().name
    'nonfinite_count'
    """

    name = "nonfinite_count"
    sums_squares = True

    def measure(self, record):
        """`{"nonfinite_count": scalar}`."""
        tensors = list(record.gradients)
        # Where a sum of squares is finite, so is all that it is a sum of.
        total = tf.reduce_sum(norms.squared_norms(record.gradients))
        if record.loss is not None:
            tensors.append(record.loss)
            total *= tf.cast(record.loss, total.dtype)
        if norms.may_be_repeated():
            return {self.name: total - total}
        return {
            self.name: tf.cond(
                tf.math.is_finite(total),
                lambda: tf.constant(0.0),
                lambda: _count(tensors),
            )
        }


def _count(tensors):
    """How many entries are not finite, a float32 scalar."""
    return tf.add_n(
        [
            tf.reduce_sum(tf.cast(~tf.math.is_finite(t), tf.float32))
            for t in tensors
        ]
    )
