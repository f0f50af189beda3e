"""How far an update moves the weights, as a share of their length."""

from gdtrain.telemetry import norms
from gdtrain.telemetry.quantity import Parts, Quantity


class UpdateRatio(Quantity):
    """Norm of the update over norm of the weights, for each layer.

        update_ratio/<layer> = norm(w_after - w_before) / norm(w_before)

    What the optimizer really did: with clipping, momentum, weight decay and
    constraints. About 0.001 is a rule of thumb for large networks; small
    models and full batches are trained well at far more. Where the weights
    are all zero, as a bias is at the start, it is infinite for an update that
    moves them and NaN for one that does not; likewise for weights beyond
    1.8e19, whose squares float32 does not hold. Cost: a copy of the weights and
    two passes over them.

    References:
        Karpathy, CS231n notes, "Neural Networks Part 3", ratio of
        weights:updates.

    Example:

    >>> UpdateRatio().name
    'update_ratio'
    """

    name = "update_ratio"

    def measure(self, record):
        """`Parts` by layer."""
        names, moved = norms.by_layer(
            norms.squared_norms(record.updates), record.layers
        )
        _, lengths = norms.by_layer(
            norms.squared_norms(record.weights_before), record.layers
        )
        return {self.name: Parts(names, moved / lengths)}
