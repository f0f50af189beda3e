"""The loss, the learning rate, and changes of the loss by an update."""

import tensorflow as tf

from gdtrain.telemetry import norms
from gdtrain.telemetry.quantity import Measured, Quantity
from gdtrain.telemetry.record import Record


class Loss(Quantity):
    """The loss of the step's batch, before the update.

        loss = mean over micro-batches and replicas of the loss descended

    It includes regularization and `add_loss`, as Keras's `loss` does; Keras's
    is a running mean over the epoch, this is the step's own. Its trend shows
    whether descent gains, its jumps how far batches differ.

    Columns: `loss`

    Unit: that of the loss.

    Cost: none, as the step computes it anyway.

    Example:

    >>> from gdtrain.telemetry.measurement import evaluate
    >>> evaluate(Loss(), loss=tf.constant(0.25))
    {'loss': 0.25}
    """

    name = "loss"
    preset = "minimal"

    def measure(self, record: Record) -> Measured:
        """The loss; nothing if it is unknown."""
        if record.loss is None:
            return self.skip(
                "the gradients of the step are not those of a loss by "
                "`tf.GradientTape.gradient`"
            )
        return {self.name: record.loss}


class LearningRate(Quantity):
    """The learning rate of this update.

        learning_rate = schedule(number of updates before this one)

    Without a schedule, the number that the optimizer has. For
    `keras.optimizers.MultiOptimizer`, `learning_rate/<optimizer>` for each.
    It shows whether a schedule, a callback or a restart did what was meant.

    Columns: `learning_rate`

    Unit: weight per gradient.

    Cost: none, as the step computes it anyway.

    Example:

    >>> from gdtrain.telemetry.measurement import evaluate
    >>> rates = {"slow": tf.constant(0.125), "fast": tf.constant(0.5)}
    >>> evaluate(LearningRate(), learning_rates=rates)
    {'learning_rate/slow': 0.125, 'learning_rate/fast': 0.5}
    """

    name = "learning_rate"
    preset = "minimal"

    def measure(self, record: Record) -> Measured:
        """The learning rate, or one for each optimizer."""
        if not record.learning_rates:
            return self.skip("the step moves its weights without an optimizer")
        return {
            f"{self.name}/{optimizer}" if optimizer else self.name: rate
            for optimizer, rate in record.learning_rates.items()
        }


class LossChange(Quantity):
    """The loss of the batch after the update, minus the loss before.

        loss_change = loss(batch, w_after) - loss(batch, w_before)

    To be compared with `PredictedLossChange`: near it, steps are shorter than
    they could be; positive, they jump out of the valley. The forward pass is
    repeated, with the same random numbers as in dropout, and leaves no trace.
    It is unknown for a `train_step` of your own; then nothing is measured,
    and the log ("gdtrain") says so.

    Columns: `loss_change`

    Unit: that of the loss.

    Cost: a second forward pass.

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

    Columns: `predicted_loss_change`, `predicted_loss_change/<layer>`

    Unit: that of the loss.

    Cost: a copy of the weights, and one pass over it and the gradients.

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
