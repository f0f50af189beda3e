"""The length of each layer's weights."""

from gdtrain.telemetry import norms
from gdtrain.telemetry.quantity import Quantity


class WeightNorm(Quantity):
    """Euclidean norm of the weights of each layer, after the update.

        weight_norm/<layer> = sqrt(sum over its weights of sum(weight ** 2))

    Of trainable weights only; infinite for weights beyond 1.8e19, whose
    squares float32 does not hold. Cost: one pass over the weights.

    Example:

    >>> WeightNorm().name
    'weight_norm'
    """

    name = "weight_norm"

    def measure(self, record):
        """`Parts` by layer."""
        squares = norms.squared_norms(record.weights_after)
        return {self.name: norms.by_layer(squares, record.layers)}
