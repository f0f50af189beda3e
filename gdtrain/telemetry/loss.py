"""The loss at every step."""

from gdtrain.telemetry.quantity import Quantity
from gdtrain.telemetry.unknown import say_left_out


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
