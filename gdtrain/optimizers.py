"""Optimizers: plain gradient descent, with the conventions of Keras."""

import math
import numbers
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from gdtrain.keras_bridge import optimizers

__all__ = ["GradientDescent"]


@keras.saving.register_keras_serializable(package="gdtrain")
class GradientDescent(keras.optimizers.Optimizer):
    """Gradient descent, with optional momentum.

    Without momentum, one explicit line:

        w <- w - learning_rate * gradient

    With momentum, which averages over past steps:

        velocity <- momentum * velocity - learning_rate * gradient
        w <- w + velocity
        w <- w + momentum * velocity - learning_rate * gradient  (nesterov)

    A gradient of zero leaves the weight unchanged (with momentum, the velocity
    still moves it); a gradient that is not finite makes the weight not finite.

    Args:
        learning_rate: How far a step goes along the gradient: a number of 0
            or more, a `keras.optimizers.schedules.LearningRateSchedule`
            (called with the number of updates so far, from 0), or a callable
            without arguments. The hyperparameter of gradient descent: too
            small hardly moves, too large jumps out of the minimum. Defaults
            to 0.01, as in Keras.
        momentum: Share of the velocity that is kept, from 0 to 1. Defaults to
            0.0, plain descent.
        nesterov: Whether to look ahead along the velocity. Has an effect only
            with momentum. Defaults to `False`.
        **kwargs: Those of `keras.optimizers.Optimizer`: `weight_decay`,
            `clipnorm`, `clipvalue`, `global_clipnorm`, `use_ema`,
            `ema_momentum`, `ema_overwrite_frequency`, `loss_scale_factor`,
            `name`.

    Raises:
        ValueError: if a learning rate given as a number is negative or not
            finite, or `momentum` lies outside 0 to 1.

    Example:

    >>> import keras
    >>> w = keras.Variable([1.0, 2.0])
    >>> GradientDescent(learning_rate=0.5).apply([[1.0, -1.0]], [w])
    >>> w.numpy().tolist()
    [0.5, 2.5]

    References:
        Cauchy, 1847 (gradient descent); Polyak, 1964 (momentum); Sutskever et
        al., ICML 2013, section 2 (Nesterov's momentum in this form). The same
        numbers as `keras.optimizers.SGD`.
    """

    momentum: float
    nesterov: bool

    def __init__(
        self,
        learning_rate: (
            float
            | keras.optimizers.schedules.LearningRateSchedule
            | Callable[[], Any]
        ) = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        **kwargs: Any,
    ) -> None:
        if isinstance(learning_rate, numbers.Real):
            learning_rate = float(learning_rate)
            if not (math.isfinite(learning_rate) and learning_rate >= 0):
                raise ValueError(
                    "`learning_rate` must be a finite number of 0 or more, a "
                    "schedule or a callable. "
                    f"Received: learning_rate={learning_rate!r}. "
                    "Write for example learning_rate=0.01."
                )
        if not isinstance(momentum, numbers.Real) or not (
            0 <= float(momentum) <= 1
        ):
            raise ValueError(
                "`momentum` must be a number from 0 to 1. "
                f"Received: momentum={momentum!r}. "
                "Write for example momentum=0.9."
            )
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.momentum = float(momentum)
        self.nesterov = nesterov

    def build(self, variables: list[keras.Variable]) -> None:
        """Makes a velocity for each weight, if there is momentum.

        Args:
            variables: The weights, a list of `keras.Variable`.
        """
        if self.built:
            return
        super().build(variables)
        self.velocities = []
        if self.momentum:
            self.velocities = self.add_optimizer_variables(
                variables, "velocity"
            )

    def update_step(
        self,
        gradient: tf.Tensor | tf.IndexedSlices,
        variable: keras.Variable,
        learning_rate: Any,
    ) -> None:
        """Moves one weight against its gradient.

        Args:
            gradient: A tensor of the weight's shape, or `tf.IndexedSlices`.
            variable: The weight.
            learning_rate: A scalar.
        """
        learning_rate = ops.cast(learning_rate, variable.dtype)
        # `ops.multiply` rather than `*`, which indexed slices do not have.
        move = ops.multiply(ops.cast(gradient, variable.dtype), learning_rate)
        if not self.momentum:
            self.assign_sub(variable, move)
            return
        velocity = optimizers.slot(self, self.velocities, variable)
        self.assign(velocity, ops.subtract(velocity * self.momentum, move))
        if self.nesterov:
            self.assign_add(
                variable, ops.subtract(velocity * self.momentum, move)
            )
        else:
            self.assign_add(variable, velocity)

    def get_config(self) -> dict[str, Any]:
        """The arguments of an equal optimizer."""
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "nesterov": self.nesterov,
        }
