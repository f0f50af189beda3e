"""How far an update moves the weights, as a share of their length."""

import tensorflow as tf

from gdtrain.telemetry import norms
from gdtrain.telemetry.quantity import Quantity


class UpdateRatio(Quantity):
    """Norm of the update over norm of the weights, for each layer.

        update_ratio/<layer> = norm(w_after - w_before) / norm(w_before)

    What the optimizer really did: with clipping, momentum, weight decay and
    constraints. About 0.001 is a healthy pace for many networks. Where the
    weights are all zero, as a bias is at the start, it is infinite for an
    update that moves them and NaN for one that does not. Cost: a copy of the
    weights and two passes over them.

    References:
        Karpathy, CS231n notes, "Neural Networks Part 3", ratio of
        weights:updates.

    Example:

    >>> UpdateRatio().name
    'update_ratio'
    """

    name = "update_ratio"

    def measure(self, record):
        """`{"update_ratio/<layer>": ...}`."""
        updates = [
            tf.cast(after, tf.float32) - tf.cast(before, tf.float32)
            for after, before in zip(
                record.weights_after, record.weights_before, strict=True
            )
        ]
        names, moved = norms.by_layer(
            norms.squared_norms(updates), record.layers
        )
        _, lengths = norms.by_layer(
            norms.squared_norms(record.weights_before), record.layers
        )
        return norms.named(self.name, names, moved / lengths)
