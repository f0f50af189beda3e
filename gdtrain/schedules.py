"""Learning rates that change from step to step.

Beside those of `keras.optimizers.schedules`, such as `CosineDecay` and
`PiecewiseConstantDecay`; `WarmUp` puts a warm-up in front of any of them.

All can be given to an optimizer, `SGD(WarmUp(0.1, 100))`, or to
`gdtrain.callbacks.LearningRateScheduler`, which keeps the learning rate
settable.
"""

from typing import Any

import keras
import tensorflow as tf
from keras import ops

from gdtrain.common import checks

__all__ = ["OneCycle", "WarmUp"]

_REMEDY = "Write a number such as 0.1."


@keras.saving.register_keras_serializable(package="gdtrain")
class OneCycle(keras.optimizers.schedules.LearningRateSchedule):
    """Up linearly, down linearly, then far down: one cycle for a whole fit.

        initial -> max -> initial    (1 - tail_fraction) / 2 of the steps each
        initial -> final             tail_fraction of the steps

    From step `total_steps` on the learning rate stays `final_learning_rate`.
    Smith varies the momentum in the opposite direction; here it stays.

    Args:
        max_learning_rate: The largest learning rate, a positive number; as
            large as training bears, see `gdtrain.find_learning_rate`.
        total_steps: Length of the fit, a positive integer, in steps: epochs
            times steps of an epoch.
        initial_learning_rate: The learning rate at step 0, a positive number.
            Defaults to `max_learning_rate / 10`.
        final_learning_rate: The learning rate at the end, a positive number.
            Defaults to `initial_learning_rate / 100`.
        tail_fraction: Fraction of the steps in which the learning rate goes
            from initial to final, from 0 to 1. Defaults to 0.1.

    Raises:
        TypeError, ValueError: if an argument cannot be used.

    Example:

    >>> rate = OneCycle(1.0, total_steps=10, tail_fraction=0.2)
    >>> [round(float(rate(step)), 3) for step in (0, 2, 4, 6, 8, 10, 11)]
    [0.1, 0.55, 1.0, 0.55, 0.1, 0.001, 0.001]

    References:
        Smith, A disciplined approach to neural network hyper-parameters,
        2018, arXiv:1803.09820, section 4; Smith and Topin, Super-Convergence,
        2018, arXiv:1708.07120, section 3.
    """

    def __init__(
        self,
        max_learning_rate: float,
        total_steps: int,
        *,
        initial_learning_rate: float | None = None,
        final_learning_rate: float | None = None,
        tail_fraction: float = 0.1,
    ) -> None:
        super().__init__()
        self.max_learning_rate = checks.positive_number(
            "max_learning_rate", max_learning_rate, _REMEDY
        )
        self.total_steps = checks.positive_integer("total_steps", total_steps)
        if initial_learning_rate is None:
            initial_learning_rate = self.max_learning_rate / 10
        self.initial_learning_rate = checks.positive_number(
            "initial_learning_rate", initial_learning_rate, _REMEDY
        )
        if final_learning_rate is None:
            final_learning_rate = self.initial_learning_rate / 100
        self.final_learning_rate = checks.positive_number(
            "final_learning_rate", final_learning_rate, _REMEDY
        )
        if not 0 <= tail_fraction < 1:
            raise ValueError(
                "`tail_fraction` must be a fraction of the steps, 0 or more "
                f"and below 1. Received: tail_fraction={tail_fraction!r}. "
                "Write 0.1 for the last tenth."
            )
        self.tail_fraction = float(tail_fraction)

    def __call__(self, step: int | tf.Tensor) -> tf.Tensor:
        """The learning rate at a step, a float32 scalar.

        Args:
            step: Its number, an integer or an integer scalar, from 0.
        """
        done = ops.cast(step, "float32")
        half = self.total_steps * (1 - self.tail_fraction) / 2
        rest = self.total_steps - 2 * half
        up = ops.clip(done / half, 0.0, 1.0)
        down = ops.clip(done / half - 1.0, 0.0, 1.0)
        # Without a tail, it falls from initial to final at the last step.
        end = ops.clip((done - 2 * half) / max(rest, 1e-6), 0.0, 1.0)
        initial = self.initial_learning_rate
        low = initial * (1.0 - end) + self.final_learning_rate * end
        return low + (self.max_learning_rate - initial) * (up - down)

    def get_config(self) -> dict[str, Any]:
        """The arguments of an equal schedule."""
        return {
            "max_learning_rate": self.max_learning_rate,
            "total_steps": self.total_steps,
            "initial_learning_rate": self.initial_learning_rate,
            "final_learning_rate": self.final_learning_rate,
            "tail_fraction": self.tail_fraction,
        }


@keras.saving.register_keras_serializable(package="gdtrain")
class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """Raises the learning rate linearly, then follows a schedule or stays.

        for step < warmup_steps, from initial to learning_rate(0):
            initial + (learning_rate(0) - initial) * step / warmup_steps
        afterwards:
            learning_rate(step - warmup_steps)

    At the first weights of a network the loss may be too steep for a good
    learning rate; after some small steps it no longer is. With
    `initial_learning_rate=0` the very first step, number 0, moves nothing.

    Args:
        learning_rate: The learning rate afterwards: a positive number, or a
            schedule, such as `keras.optimizers.schedules.CosineDecay(0.1,
            900)`, which counts its steps from the end of the warm-up.
        warmup_steps: Length of the warm-up, a positive integer, in steps.
        initial_learning_rate: The learning rate at step 0, a number of 0 or
            more. Defaults to 0.0, as in `CosineDecay(warmup_target=...)`,
            which gives the same learning rates.

    Raises:
        TypeError, ValueError: if an argument cannot be used.

    Example:

    >>> rate = WarmUp(0.5, warmup_steps=4, initial_learning_rate=0.1)
    >>> [round(float(rate(step)), 2) for step in (0, 1, 2, 3, 4, 1000)]
    [0.1, 0.2, 0.3, 0.4, 0.5, 0.5]

    References:
        Goyal et al., Accurate, Large Minibatch SGD, 2017, arXiv:1706.02677,
        section 2.2.
    """

    def __init__(
        self,
        learning_rate: float | keras.optimizers.schedules.LearningRateSchedule,
        warmup_steps: int,
        initial_learning_rate: float = 0.0,
    ) -> None:
        super().__init__()
        if not isinstance(
            learning_rate, keras.optimizers.schedules.LearningRateSchedule
        ):
            learning_rate = checks.positive_number(
                "learning_rate",
                learning_rate,
                "Write a number such as 0.1, or a schedule.",
            )
        self.learning_rate = learning_rate
        self.warmup_steps = checks.positive_integer(
            "warmup_steps", warmup_steps
        )
        self.initial_learning_rate = float(initial_learning_rate)
        if not 0.0 <= self.initial_learning_rate < float("inf"):
            raise ValueError(
                "`initial_learning_rate` must be a finite number of 0 or "
                "more. Received: initial_learning_rate="
                f"{initial_learning_rate!r}. Write 0.0 for a first step that "
                "moves nothing."
            )

    def __call__(self, step: int | tf.Tensor) -> tf.Tensor:
        """The learning rate at a step, a float32 scalar.

        Args:
            step: Its number, an integer or an integer scalar, from 0.
        """
        done = ops.cast(step, "float32")
        steps = ops.cast(self.warmup_steps, "float32")
        initial = self.initial_learning_rate
        target = self._after(ops.zeros_like(done))
        rising = initial + (target - initial) * done / steps
        after = self._after(ops.maximum(done - steps, 0.0))
        return ops.where(done < steps, rising, after)

    def _after(self, step: tf.Tensor) -> tf.Tensor:
        """The learning rate so many steps after the warm-up."""
        rate = self.learning_rate
        return ops.cast(rate(step) if callable(rate) else rate, "float32")

    def get_config(self) -> dict[str, Any]:
        """The arguments of an equal schedule."""
        rate = self.learning_rate
        if callable(rate):
            rate = keras.saving.serialize_keras_object(rate)
        return {
            "learning_rate": rate,
            "warmup_steps": self.warmup_steps,
            "initial_learning_rate": self.initial_learning_rate,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "WarmUp":
        """The schedule with this `get_config`."""
        rate = keras.saving.deserialize_keras_object(config["learning_rate"])
        return cls(**{**config, "learning_rate": rate})
