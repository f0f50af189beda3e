"""A warm-up in front of a learning rate."""

import keras
from keras import ops

from gdtrain.common import checks


@keras.saving.register_keras_serializable(package="gdtrain")
class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """Raises the learning rate in a line, then goes on with another.

        rate = start + (then(0) - start) * step / steps    for step < steps
        rate = then(step - steps)                          afterwards

    The first weights of a network may be steep enough for a good rate to
    jump out; after some small steps they no longer are. With `start=0` the
    very first step, number 0, moves nothing.

    Args:
        then: The rate afterwards: a positive number, or a schedule, such as
            `keras.optimizers.schedules.CosineDecay(0.1, 900)`, which counts
            its steps from the end of the warm-up.
        steps: Length of the warm-up, a positive integer, in steps.
        start: The rate at step 0, a number of 0 or more. Defaults to 0.0, as
            in `CosineDecay(warmup_target=...)`, which gives the same rates.

    Raises:
        TypeError, ValueError: if an argument cannot be used.

    Example:

    >>> rate = WarmUp(0.5, steps=4, start=0.1)
    >>> [round(float(rate(step)), 2) for step in (0, 1, 2, 3, 4, 1000)]
    [0.1, 0.2, 0.3, 0.4, 0.5, 0.5]

    References:
        Goyal et al., Accurate, Large Minibatch SGD, 2017, arXiv:1706.02677,
        section 2.2.
    """

    def __init__(self, then, steps, start=0.0):
        super().__init__()
        if not isinstance(
            then, keras.optimizers.schedules.LearningRateSchedule
        ):
            then = checks.positive_number(
                "then", then, "Write a number such as 0.1, or a schedule."
            )
        self.then = then
        self.steps = checks.positive_integer("steps", steps)
        self.start = float(start)
        if not self.start >= 0.0 or self.start == float("inf"):
            raise ValueError(
                "`start` must be a finite number of 0 or more. Received: "
                f"start={start!r}. Write 0.0 to begin with no step at all."
            )

    def __call__(self, step):
        """The rate at a step, a float32 scalar.

        Args:
            step: Its number, an integer or an integer scalar, from 0.
        """
        done = ops.cast(step, "float32")
        steps = ops.cast(self.steps, "float32")
        target = self._after(ops.zeros_like(done))
        rising = self.start + (target - self.start) * done / steps
        after = self._after(ops.maximum(done - steps, 0.0))
        return ops.where(done < steps, rising, after)

    def _after(self, step):
        """The rate so many steps after the warm-up."""
        then = self.then
        rate = then(step) if callable(then) else then
        return ops.cast(rate, "float32")

    def get_config(self):
        """The arguments that make it again, as a dict."""
        then = self.then
        if callable(then):
            then = keras.saving.serialize_keras_object(then)
        return {"then": then, "steps": self.steps, "start": self.start}

    @classmethod
    def from_config(cls, config):
        """Makes it from what `get_config` gave."""
        then = keras.saving.deserialize_keras_object(config["then"])
        return cls(**{**config, "then": then})
