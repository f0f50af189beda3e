"""The length of the gradient, whole and layer by layer."""

import tensorflow as tf

from gdtrain.telemetry import norms
from gdtrain.telemetry.quantity import Parts, Quantity


class GradientNorm(Quantity):
    """Euclidean norm of the gradient: whole model, and each layer.

        gradient_norm = sqrt(sum over weights of sum(gradient ** 2))

    Of the mean over micro-batches and replicas, before clipping. It is 0 at a
    minimum, grows without bound in a divergence, and is NaN or infinite where
    a gradient is. Cost: one pass over the gradients.

    References:
        Goodfellow, Bengio and Courville, Deep Learning, 2016, section 8.2.1.

    Example:

    >>> GradientNorm().name
    'gradient_norm'
    """

    name = "gradient_norm"
    sums_squares = True

    def measure(self, record):
        """The whole, and `Parts` by layer."""
        squares = norms.squared_norms(record.gradients)
        names, sums = norms.whole_and_by_layer(squares, record.layers)
        return {self.name: Parts(names, tf.sqrt(sums))}
