"""The mean of what each layer puts out."""

from gdtrain.telemetry.quantity import Parts, Quantity
from gdtrain.telemetry.unknown import say_left_out


class ActivationMean(Quantity):
    """Mean over all entries of a layer's output.

        activation_mean/<layer> = mean over examples, places and features

    Of layers with weights, and of layers that are activations.

    Cost: one pass over the activations, shared by the quantities of
    activations.

    References:
        Glorot and Bengio, AISTATS 2010, section 3.

    Example:

    >>> ActivationMean().name
    'activation_mean'
    """

    name = "activation_mean"
    needs = frozenset({"activations"})

    def measure(self, record):
        """`Parts` by layer; nothing if no layer was seen."""
        if record.activations is None:
            say_left_out(self.name, "no layer was called in the step")
            return {}
        return {
            self.name: Parts(
                record.activations.layers, record.activations.means
            )
        }
