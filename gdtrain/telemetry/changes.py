"""Changes by an update: of the loss, of the weights."""

import tensorflow as tf

from gdtrain.telemetry import norms
from gdtrain.telemetry.quantity import Measured, Quantity
from gdtrain.telemetry.record import Record


class LossChange(Quantity):
    """The loss of the batch after the update, minus the loss before.

        loss_change = loss(batch, w_after) - loss(batch, w_before)

    To be compared with `PredictedLossChange`: near it, steps are shorter than
    they could be; positive, they jump out of the valley. The forward pass is
    repeated, with the same random numbers as in dropout, and leaves no trace.
    It is unknown for a `train_step` of your own; then nothing is measured,
    and the log ("gdtrain") says so.

    Unit: that of the loss. Cost: a second forward pass, some 6% of a
    convolutional network's step.

    References:
        Nocedal and Wright, Numerical Optimization, 2006, section 3.1.

    Example:

    >>> from gdtrain.telemetry.measurement import evaluate
    >>> before, after = tf.constant(0.75), tf.constant(0.5)
    >>> evaluate(LossChange(), loss=before, loss_after=after)
    {'loss_change': -0.25}
    """

    name = "loss_change"
    preset_every_steps = 10
    needs = frozenset({"loss_after"})

    def measure(self, record: Record) -> Measured:
        """The change; nothing if it is unknown."""
        if record.loss_after is None:
            return self.skip("a `train_step` of your own cannot be repeated")
        return {self.name: record.loss_after - tf.cast(record.loss, tf.float32)}


class PredictedLossChange(Quantity):
    """First-order change of the loss by the update.

        predicted_loss_change = sum(gradient * (w_after - w_before))

    For the whole model, and for each layer: which layer the progress comes
    from. Negative, as descent goes downhill. `LossChange` is the change that
    came of it: for plain descent on a quadratic loss, half of it at the best
    learning rate along the gradient, nothing at twice that rate.

    Unit: that of the loss. Cost: a copy of the weights, and one pass over it
    and the gradients; some 9% of a small MLP's step.

    References:
        Nocedal and Wright, Numerical Optimization, 2006, section 3.1
        (sufficient decrease).

    Example:

    >>> from gdtrain.telemetry.measurement import evaluate
    >>> evaluate(
    ...     PredictedLossChange(),
    ...     gradients=[tf.constant(2.0)],
    ...     weights_before=[tf.constant(1.0)],
    ...     weights_after=[tf.constant(0.5)],
    ...     layers=["line"],
    ... )
    {'predicted_loss_change': -1.0, 'predicted_loss_change/line': -1.0}
    """

    name = "predicted_loss_change"

    def measure(self, record: Record) -> Measured:
        """Of the whole model, and by layer."""
        products = norms.dot_products(record.gradients, record.updates)
        return {self.name: norms.whole_and_by_layer(products, record.layers)}


class DistanceFromStart(Quantity):
    """Euclidean distance of the weights from those at the start.

        distance_from_start = norm(w_after - w_start)

    For the whole model, and for each layer. The start is where the weights
    were when a model was first trained with this; a second `fit` continues
    from there. Noise makes it grow with the root of the number of steps, a
    slope with the number itself.

    Unit: that of weights. Cost: a copy of the weights that is kept, and one
    pass over it; some 16% of a small MLP's step, within the noise of a
    convolutional network's.

    References:
        Hoffer, Hubara and Soudry, NeurIPS 2017, arXiv:1705.08741, section 4.

    Example:

    >>> from gdtrain.telemetry.measurement import evaluate
    >>> evaluate(
    ...     DistanceFromStart(),
    ...     weights=[tf.constant([0.0, 0.0])],
    ...     weights_after=[tf.constant([3.0, 4.0])],
    ...     layers=["line"],
    ... )
    {'distance_from_start': 5.0, 'distance_from_start/line': 5.0}
    """

    name = "distance_from_start"
    sums_squares = True

    def measure(self, record: Record) -> Measured:
        """Of the whole model, and by layer."""
        start = record.keep(
            self.name, lambda: [tf.cast(w, tf.float32) for w in record.weights]
        )
        moved = [
            tf.cast(w, tf.float32) - tf.identity(variable)
            for w, variable in zip(record.weights_after, start, strict=True)
        ]
        return {self.name: norms.all_norms(moved, record.layers)}
