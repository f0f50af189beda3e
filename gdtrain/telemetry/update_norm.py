"""How far an update moves the weights."""

import tensorflow as tf

from gdtrain.telemetry import norms
from gdtrain.telemetry.quantity import Parts, Quantity


class UpdateNorm(Quantity):
    """Euclidean norm of the update: whole model, and each layer.

        update_norm = norm(w_after - w_before)

    What the optimizer really did: with clipping, momentum, weight decay and
    constraints. For plain descent it is `learning_rate * gradient_norm`.

    Cost: a copy of the weights in each step that measures, and one pass over
    it.

    Example:

    >>> UpdateNorm().name
    'update_norm'
    """

    name = "update_norm"
    sums_squares = True

    def measure(self, record):
        """The whole, and `Parts` by layer."""
        squares = norms.squared_norms(record.updates)
        names, sums = norms.whole_and_by_layer(squares, record.layers)
        return {self.name: Parts(names, tf.sqrt(sums))}
