"""The length of each layer's weights."""

from gdtrain.telemetry import norms
from gdtrain.telemetry.quantity import Quantity


class WeightNorm(Quantity):
    """Euclidean norm of the weights of each layer, after the update.

        weight_norm/<layer> = sqrt(sum over its weights of sum(weight ** 2))

    Of trainable weights only. Cost: one pass over the weights.

    Example:

    >>> WeightNorm().name
    'weight_norm'
    """

    name = "weight_norm"

    def measure(self, record):
        """`{"weight_norm/<layer>": ...}`."""
        squares = norms.squared_norms(record.weights_after)
        return norms.named(
            self.name, *norms.by_layer(squares, record.layers)
        )
