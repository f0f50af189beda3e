"""By how much a step should change the loss, if the loss were a plane."""

from gdtrain.telemetry import norms
from gdtrain.telemetry.quantity import Quantity


class PredictedLossChange(Quantity):
    """First-order change of the loss by the update.

        predicted_loss_change = sum(gradient * (w_after - w_before))

    For the whole model, and for each layer: which layer the progress comes
    from. Negative, as descent goes downhill. `LossChange` tells what became
    of it: for plain descent on a quadratic loss, half of it is left at
    the best learning rate along the gradient, nothing at twice that rate.

    Cost: a copy of the weights, and one pass over it and the gradients; some
    9% of a small MLP's step.

    References:
        Nocedal and Wright, Numerical Optimization, 2006, section 3.1
        (sufficient decrease).

    Example:

    >>> PredictedLossChange().name
    'predicted_loss_change'
    """

    name = "predicted_loss_change"

    def measure(self, record):
        """The whole, and `Parts` by layer."""
        products = norms.dot_products(record.gradients, record.updates)
        return {self.name: norms.whole_and_by_layer(products, record.layers)}
