"""Changes that an update makes: of the loss, of the weights."""

import tensorflow as tf

from gdtrain.telemetry import norms
from gdtrain.telemetry.quantity import Parts, Quantity
from gdtrain.telemetry.skipped import say_left_out


class LossChange(Quantity):
    """The loss of the batch after the update, minus the loss before.

        loss_change = loss(batch, w_after) - loss(batch, w_before)

    To be compared with `PredictedLossChange`: near it, steps are shorter than
    they could be; positive, they jump out of the valley. The forward pass is
    repeated, with the same random numbers as in dropout, and nothing of it
    stays. It cannot be known for a `train_step` of your own: then it is left
    out, and the log ("gdtrain") says so.

    Cost: a second forward pass, some 6% of a convolutional network's step.

    References:
        Nocedal and Wright, Numerical Optimization, 2006, section 3.1.

    Example:

    >>> LossChange().name
    'loss_change'
    """

    name = "loss_change"
    needs = frozenset({"loss_after"})

    def measure(self, record):
        """`{"loss_change": scalar}`; nothing if unknown."""
        if record.loss_after is None:
            say_left_out(
                self.name, "a `train_step` of your own cannot be repeated"
            )
            return {}
        return {self.name: record.loss_after - tf.cast(record.loss, tf.float32)}


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


class DistanceFromStart(Quantity):
    """Euclidean distance of the weights from those at the start.

        distance_from_start = norm(w_after - w_start)

    For the whole model, and for each layer. The start is where the weights
    were when a model was first trained with this; a second `fit` goes on from
    there. Steady noise makes it grow with the root of the number of steps, a
    slope with the number itself.

    Cost: a copy of the weights that is kept, and one pass over it; some 16% of
    a small MLP's step, within the noise of a convolutional network's.

    References:
        Hoffer, Hubara and Soudry, NeurIPS 2017, arXiv:1705.08741, section 4.

    Example:

    >>> DistanceFromStart().name
    'distance_from_start'
    """

    name = "distance_from_start"
    sums_squares = True

    def measure(self, record):
        """The whole, and `Parts` by layer."""
        start = record.keep(
            self.name, lambda: [tf.cast(w, tf.float32) for w in record.weights]
        )
        moved = [
            tf.cast(w, tf.float32) - tf.identity(variable)
            for w, variable in zip(record.weights_after, start, strict=True)
        ]
        squares = norms.squared_norms(moved)
        names, sums = norms.whole_and_by_layer(squares, record.layers)
        return {self.name: Parts(names, tf.sqrt(sums))}
