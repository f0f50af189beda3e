"""By how much a step really changed the loss of its batch."""

import tensorflow as tf

from gdtrain.telemetry.quantity import Quantity
from gdtrain.telemetry.unknown import say_left_out


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
        return {
            self.name: record.loss_after - tf.cast(record.loss, tf.float32)
        }
