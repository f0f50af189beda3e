"""The learning rate at every step."""

from gdtrain.telemetry.quantity import Quantity
from gdtrain.telemetry.unknown import say_left_out


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
