"""How many numbers of a step are NaN or infinite."""

import tensorflow as tf

from gdtrain.telemetry.quantity import Quantity


class NonfiniteCount(Quantity):
    """Number of entries of the gradients, and the loss, that are not finite.

        nonfinite_count = sum over gradients of count(not finite)
                          + (1 if the loss is not finite else 0)

    0 in a healthy step. Exact up to 2 ** 24, as float32 counts. Cost: one
    pass over the gradients.

    Example:

    >>> NonfiniteCount().name
    'nonfinite_count'
    """

    name = "nonfinite_count"

    def measure(self, record):
        """`{"nonfinite_count": scalar}`."""
        counts = [
            tf.reduce_sum(tf.cast(~tf.math.is_finite(t), tf.float32))
            for t in [record.loss, *record.gradients]
        ]
        return {self.name: tf.add_n(counts)}
