"""How near training is to the edge of stability: sharpness and what-if."""

import logging
import math
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from gdtrain.curvature.hessian import Hessian, Preconditioner
from gdtrain.curvature.objective import Objective
from gdtrain.descent import clipping, settings, update
from gdtrain.keras_bridge.optimizers import unwrapped

_log = logging.getLogger("gdtrain")

_MAX_VECTORS = 8  # Kept by the first search; later ones are shorter


class Sharpness:
    """The largest eigenvalue of the Hessian, at weights that move.

    Each update begins with the eigenvector that the last one found. As
    weights move little between probes, a few products follow it; the first
    update takes more, about ten.

    Args:
        objective: The loss.
        preconditioner: Returns P, for the eigenvalue of P**-0.5 H P**-0.5.
            Defaults to `None`, the Hessian itself.

    Example:

    >>> import keras
    >>> model = keras.Sequential([keras.Input([1]), keras.layers.Dense(1)])
    >>> model.compile(loss="mse")
    >>> x = np.array([[0.0], [2.0]])
    >>> sharpness = Sharpness(Objective(model, x, 3 * x))
    >>> value, error_bound = sharpness.update(max_products=10)
    >>> round(value, 3)  # 3 + 5**0.5
    5.236
    """

    def __init__(
        self, objective: Objective, preconditioner: Preconditioner | None = None
    ) -> None:
        self._objective = objective
        self._preconditioner = preconditioner
        self._hessian: Hessian | None = None  # Made when P is known
        #: The eigenvector found last, `[weights]`, or `None`. The next update
        #: begins with it.
        self.vector: np.ndarray | None = None

    def update(
        self, max_products: int = 2, *, tolerance: float = 1e-3
    ) -> tuple[float, float]:
        """The sharpness at the weights as they are now.

        Args:
            max_products: How many Hessian-vector products to use at most,
                each of which takes four to six times as long as the loss.
                Defaults to 2, which follow a change; 1 is a lower bound from
                the last eigenvector alone.
            tolerance: The error bound to stop at, relative to the sharpness,
                after five products or more. Defaults to 1e-3.

        Returns:
            `(sharpness, error_bound)`. The largest eigenvalue is no smaller
            than `sharpness`, and there is one within `error_bound` of it,
            but for rounding.
            Both NaN where the loss is not finite, or the preconditioner is
            not known.
        """
        if self._hessian is None:
            if self._preconditioner and self._preconditioner() is None:
                return math.nan, math.nan
            self._hessian = Hessian(self._objective, self._preconditioner)
        self._hessian.refresh()
        try:
            found = self._hessian.largest(
                None if self.vector is None else self.vector[np.newaxis],
                tolerance=tolerance,
                max_products=max_products,
                max_vectors=_MAX_VECTORS,
            )
        except FloatingPointError:
            self.vector = None
            return math.nan, math.nan
        self.vector = found.vectors[0]
        return float(found.values[0]), float(found.residuals[0])


#: Of the learning rate, at which `WhatIf` measures the loss.
MULTIPLES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
#: The names of these losses
LOSSES = [f"what_if/{multiple:g}" for multiple in MULTIPLES]


class WhatIf:
    """The loss after the next update, at multiples of the learning rate.

        losses[i] = loss(w + MULTIPLES[i] * update)

    `update` is what the optimizer, with its momentum, averages and clipping
    as they are, would add to the weights for the gradient of the objective's
    examples. A copy of the optimizer with weights of its own computes it, so
    that training is not changed; it takes the memory of weights and optimizer
    once more.

    Where there is no such copy, all losses are NaN, and the log ("gdtrain")
    says so once: for an optimizer that cannot be cloned from its
    configuration, and on several replicas.

    Args:
        model: A Keras model, compiled, its optimizer built.
        objective: The `Objective`, of that model.

    Example:

    >>> model = keras.Sequential([keras.Input([1]), keras.layers.Dense(1)])
    >>> model.compile(keras.optimizers.SGD(0.25), "mse")
    >>> model.set_weights([np.zeros([1, 1]), np.zeros([1])])
    >>> model.optimizer.build(model.trainable_variables)
    >>> x = np.array([[-1.0], [1.0]])
    >>> what_if = WhatIf(model, Objective(model, x, 3 * x))
    >>> what_if.losses().round(2).tolist()  # 9 * (1 - multiple / 2) ** 2
    [7.91, 6.89, 5.06, 2.25, 0.0, 9.0, 81.0]
    >>> what_if.best_multiple(what_if.losses())
    2.0
    """

    def __init__(self, model: keras.Model, objective: Objective) -> None:
        self._objective = objective
        self._optimizer = unwrapped(model.optimizer)
        self._losses: Callable[[], tf.Tensor] | None = None
        why = self._copied(model.distribute_strategy)
        if why:
            _log.warning(
                "The loss at other learning rates is not known (NaN): %s", why
            )

    def losses(self) -> np.ndarray:
        """The loss for each of `MULTIPLES`, an array `[7]`."""
        if self._losses is None:
            return np.full(len(MULTIPLES), np.nan)
        return self._losses().numpy().astype(np.float64)

    @staticmethod
    def best_multiple(losses: np.ndarray) -> float:
        """The multiple with the least loss, a `float`; NaN if none is finite.

        That is of the next step alone: over many steps, a smaller learning
        rate may be better.

        Args:
            losses: What `losses` returned.
        """
        if not np.isfinite(losses).any():
            return math.nan
        return MULTIPLES[int(np.nanargmin(losses))]

    def _copied(self, strategy: tf.distribute.Strategy) -> str | None:
        """Makes the copy of the optimizer; or returns why it cannot."""
        if strategy.num_replicas_in_sync > 1:
            return "there are several replicas."
        optimizer = self._optimizer
        try:
            copy = type(optimizer).from_config(optimizer.get_config())
            self._copy = copy
            self._weights = [_like(w) for w in self._objective.weights]
            copy.build(self._weights)
            shapes = [
                [v.shape for v in one.variables] for one in (copy, optimizer)
            ]
        except Exception as error:  # Of a class of the user's own
            return f"{type(optimizer).__name__} cannot be copied, {error}"
        if shapes[0] != shapes[1]:
            return (
                f"cloning {type(optimizer).__name__} from its config gives "
                "different variables."
            )
        self._losses = self._objective.compiled(self._after_updates)
        return None

    def _after_updates(self) -> tf.Tensor:
        """The losses, a vector."""
        objective = self._objective
        before = objective.values()
        for weight, value in zip(self._weights, before, strict=True):
            weight.assign(value)
        for ours, theirs in zip(
            self._copy.variables, self._optimizer.variables, strict=True
        ):
            ours.assign(theirs)
        _, gradient = objective.gradient(before)
        clipnorm = settings.of(objective.model).global_clipnorm
        gradient = clipping.clip(gradient, clipnorm, self._copy)
        update.apply(self._copy, gradient, self._weights)
        moves = [
            (value, tf.cast(weight, value.dtype) - value)
            for weight, value in zip(self._weights, before, strict=True)
        ]
        losses = [
            objective.loss([value + multiple * move for value, move in moves])
            for multiple in MULTIPLES
        ]
        return tf.stack(losses)


def _like(weight: keras.Variable) -> keras.Variable:
    """A weight of the same kind, for the copy to move."""
    other = keras.Variable(
        tf.zeros(weight.shape, weight.dtype),
        dtype=weight.dtype,
        name=weight.name,
    )
    other.constraint = weight.constraint
    return other
