"""Learning rates that rise from step to step, within the compiled program."""

import keras
import numpy as np
import tensorflow as tf

from gdtrain.curvature import preconditioner


class Ramp(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule that takes given rates, one a step, and keeps the last.

    Attributes:
        rates: Float32 `[n]`.
        first: The count of updates that the first is for.
    """

    def __init__(self):
        self.rates = np.zeros(1, np.float32)
        self.first = 0

    def __call__(self, step):
        """The rate of an update, a float32 scalar."""
        place = tf.cast(step, tf.int32) - self.first
        place = tf.clip_by_value(place, 0, len(self.rates) - 1)
        return tf.gather(tf.constant(self.rates), place)

    def get_config(self):
        """Nothing: it is not saved."""
        return {}


def optimizer_of(model):
    """The optimizer whose rate is tried: the one that scales no loss.

    Raises:
        ValueError: if there is none, or it is made of several.
    """
    optimizer = model.optimizer
    inner = preconditioner.inner(optimizer)
    if not hasattr(inner, "iterations") or hasattr(inner, "optimizers"):
        raise ValueError(
            "The model must be compiled with one optimizer, whose rates are "
            f"to be tried. Received: optimizer={optimizer!r}. Write for "
            "example `model.compile(gdtrain.GradientDescent(), loss)`."
        )
    return inner
