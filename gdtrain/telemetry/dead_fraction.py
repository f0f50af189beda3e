"""How many units of a layer are silent for a whole batch."""

import tensorflow as tf

from gdtrain.telemetry.quantity import Parts, Quantity
from gdtrain.telemetry.unknown import say_left_out


class DeadFraction(Quantity):
    """Share of a layer's features that are zero for a whole batch.

        dead_fraction/<layer> = mean over features of
                                (all activations of the feature are 0)

    A feature is a unit of a dense layer, a channel of a convolution: what the
    last axis of the output counts. Of layers with weights, and of layers that
    are activations. A unit with `relu` that is dead in every batch gets no
    gradient any more, as after too large a step.

    Cost: one pass over the activations, shared by the quantities of
    activations.

    References:
        Lu et al., Dying ReLU and Initialization, 2019, arXiv:1903.06733.

    Example:

    >>> DeadFraction().name
    'dead_fraction'
    """

    name = "dead_fraction"
    needs = frozenset({"activations"})

    def measure(self, record):
        """`Parts` by layer; nothing if no layer was seen."""
        if record.activations is None:
            say_left_out(self.name, "no layer was called in the step")
            return {}
        shares = [tf.reduce_mean(1.0 - a) for a in record.activations.alive]
        return {self.name: Parts(record.activations.layers, tf.stack(shares))}
