"""The loss and the learning rate of a step."""

from gdtrain.telemetry.quantity import Measured, Quantity
from gdtrain.telemetry.record import Record


class Loss(Quantity):
    """The loss of the step's batch, before the update.

        loss = mean over micro-batches and replicas of the loss descended

    It includes regularization and `add_loss`, as Keras's `loss` does; Keras's
    is a running mean over the epoch, this is the step's own.

    Unit: that of the loss. Cost: none, as the step computes it anyway.

    Example:

    >>> import tensorflow as tf
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

    For a schedule, its value at the number of updates before this one. For
    `keras.optimizers.MultiOptimizer`, `learning_rate/<optimizer>` for each.

    Unit: weight per gradient. Cost: none, as the step computes it anyway.

    Example:

    >>> import tensorflow as tf
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
