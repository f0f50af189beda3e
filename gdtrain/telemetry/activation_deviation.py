"""How much what each layer puts out varies."""

import tensorflow as tf

from gdtrain.telemetry.quantity import Parts, Quantity
from gdtrain.telemetry.unknown import say_left_out


class ActivationDeviation(Quantity):
    """Standard deviation over all entries of a layer's output.

        activation_deviation/<layer> = sqrt(mean((activation - mean) ** 2))

    Of layers with weights, and of layers that are activations. Where it
    shrinks from layer to layer, the signal is lost; where it grows, it
    explodes.

    Cost: one pass over the activations, shared by the quantities of
    activations.

    References:
        Glorot and Bengio, AISTATS 2010, section 3; He et al., ICCV 2015,
        arXiv:1502.01852, section 2.2.

    Example:

    >>> ActivationDeviation().name
    'activation_deviation'
    """

    name = "activation_deviation"
    needs = frozenset({"activations"})

    def measure(self, record):
        """`Parts` by layer; nothing if no layer was seen."""
        if record.activations is None:
            say_left_out(self.name, "no layer was called in the step")
            return {}
        return {
            self.name: Parts(
                record.activations.layers,
                tf.sqrt(record.activations.variances),
            )
        }
