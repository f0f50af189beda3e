"""The loss and the learning rate of a step."""

from gdtrain.telemetry.quantity import Quantity
from gdtrain.telemetry.skipped import say_left_out


class Loss(Quantity):
    """The loss of the step's batch, before the update.

        loss = mean over micro-batches and replicas of the loss descended

    It includes regularization and `add_loss`, as Keras's `loss` does; Keras's
    is a running mean over the epoch, this is the step's own. Cost: none, as
    the step computes it anyway.

    Example:

    >>> Loss().name
    'loss'
    """

    name = "loss"

    def measure(self, record):
        """`{"loss": scalar}`; nothing if the loss is not known."""
        if record.loss is None:
            say_left_out(
                self.name,
                "the gradients of the step are not those of a loss by "
                "`tf.GradientTape.gradient`",
            )
            return {}
        return {self.name: record.loss}


class LearningRate(Quantity):
    """The learning rate of this update.

    For a schedule, its value at the number of updates before this one. For
    `keras.optimizers.MultiOptimizer`, `learning_rate/<optimizer>` for each.
    Cost: none, as the step computes it anyway.

    Example:

    >>> LearningRate().name
    'learning_rate'
    """

    name = "learning_rate"

    def measure(self, record):
        """`{"learning_rate": scalar}`, or one for each optimizer."""
        if not record.learning_rates:
            say_left_out(
                self.name, "the step moves its weights without an optimizer"
            )
        return {
            f"{self.name}/{optimizer}" if optimizer else self.name: rate
            for optimizer, rate in record.learning_rates.items()
        }
