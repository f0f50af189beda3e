"""How near training is to the edge of stability."""

import logging
import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from gdtrain.curvature import preconditioner
from gdtrain.curvature.sharpness import Sharpness
from gdtrain.descent import clipping, update
from gdtrain.telemetry import record

_log = logging.getLogger("gdtrain")

MULTIPLES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)


class WhatIf:
    """The loss after the next update, at multiples of the learning rate.

        losses[i] = loss(w + MULTIPLES[i] * update)

    `update` is what the optimizer, with its momentum, averages and clipping
    as they are, would add to the weights for the gradient of the objective's
    examples. It is worked out by a copy of the optimizer with weights of its
    own, so that nothing of the run is touched; memory for both is taken once
    more.

    Where there is no such copy, all is NaN, and the log ("gdtrain") says so
    once: for an optimizer that cannot be made again from its configuration,
    and on several replicas.

    Args:
        model: A Keras model, compiled, its optimizer built.
        objective: The `Objective`, of that model.

    Example:

    >>> from gdtrain.curvature.objective import Objective
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

    def __init__(self, model, objective):
        self._model = model
        self._objective = objective
        optimizer = model.optimizer
        self._optimizer = getattr(optimizer, "inner_optimizer", optimizer)
        self._copy: Any = None
        why = self._copied()
        if why:
            _log.warning(
                "The loss at other learning rates is not known (NaN): %s", why
            )

    def losses(self):
        """The loss for each of `MULTIPLES`, an array `[7]`."""
        if self._copy is None:
            return np.full(len(MULTIPLES), np.nan)
        return self._losses().numpy().astype(np.float64)

    @staticmethod
    def best_multiple(losses):
        """The multiple with the least loss, a `float`; NaN if none is finite.

        1 says that the learning rate is right for the next step alone; 8,
        that it could be at least 8 times as large there. (Over many steps,
        smaller multiples may serve better: the one best step is greedy.)

        Args:
            losses: What `losses` returned.
        """
        if not np.isfinite(losses).any():
            return math.nan
        return MULTIPLES[int(np.nanargmin(losses))]

    def _copied(self):
        """Makes the copy of the optimizer; or returns why it cannot."""
        if self._model.distribute_strategy.num_replicas_in_sync > 1:
            return "there are several replicas."
        optimizer = self._optimizer
        try:
            copy = type(optimizer).from_config(optimizer.get_config())
            self._weights = [
                _like(weight) for weight in self._objective.weights
            ]
            copy.build(self._weights)
            same = [v.shape for v in copy.variables] == [
                v.shape for v in optimizer.variables
            ]
        except Exception as error:  # Of a class of the user's own
            return f"{type(optimizer).__name__} cannot be copied, {error}"
        if not same:
            return f"a copy of {type(optimizer).__name__} is another."
        self._copy = copy
        self._losses = self._after_updates
        if not self._objective.run_eagerly:
            self._losses = tf.function(self._after_updates, autograph=False)
        return None

    def _after_updates(self):
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
        clipnorm = getattr(self._model, "global_clipnorm", None)
        gradient = clipping.clip(gradient, clipnorm, self._copy)
        update.apply(self._copy, gradient, self._weights)
        moves = [
            tf.cast(weight, value.dtype) - value
            for weight, value in zip(self._weights, before, strict=True)
        ]
        return tf.stack(
            [
                objective.loss(
                    [
                        value + multiple * move
                        for value, move in zip(before, moves, strict=True)
                    ]
                )
                for multiple in MULTIPLES
            ]
        )


def _like(weight):
    """A weight of the same kind, for the copy to move."""
    other = keras.Variable(
        tf.zeros(weight.shape, weight.dtype),
        dtype=weight.dtype,
        name=weight.name,
    )
    other.constraint = weight.constraint
    return other


NAMES = ["sharpness", "stable_learning_rate", "stability"]
LOSSES = [f"what_if/{multiple:g}" for multiple in MULTIPLES]

# From a random vector, the second largest eigenvalue may look like the answer
# for a while: its error bound is small before the largest one is in sight.
_FIRST_PRODUCTS, _FIRST_TOLERANCE = 80, 1e-3
_TOLERANCE = 0.1  # The error is about its square.


class StabilityProbe:
    """Measures sharpness, its limit, and the loss at other learning rates.

    Args:
        model: A Keras model, compiled and built.
        objective: The `Objective` of that model.
        limit: The `Limit` of its optimizer.
        what_if: Whether to look at other learning rates.
    """

    def __init__(self, model, objective, limit, *, what_if=True):
        self._model = model
        self._limit = limit
        weights, strategy = objective.weights, model.distribute_strategy
        self._sharpness = Sharpness(
            objective,
            (lambda: preconditioner.of(model.optimizer, weights, strategy))
            if limit.is_preconditioned
            else None,
        )
        self._what_if = WhatIf(model, objective) if what_if else None

    def measure(self, products):
        """Numbers by name: `NAMES`, `"best_multiple"` and `LOSSES`.

        Args:
            products: Most Hessian-vector products, but for the first time.
        """
        if not self._sharpness.is_warm:
            self._sharpness.update(_FIRST_PRODUCTS, tolerance=_FIRST_TOLERANCE)
        value, _ = self._sharpness.update(products, tolerance=_TOLERANCE)
        stable = self._limit.learning_rate(value)
        stable = math.nan if stable is None else stable
        found = {
            "sharpness": value,
            "stable_learning_rate": stable,
            "stability": self._learning_rate() / stable,
        }
        if self._what_if is not None:
            losses = self._what_if.losses()
            found["best_multiple"] = self._what_if.best_multiple(losses)
            found |= dict(zip(LOSSES, losses.tolist(), strict=True))
        return found

    def get_state(self):
        """What it goes on from; see `Sharpness`."""
        return self._sharpness.get_state()

    def set_state(self, state):
        """Goes on from what `get_state` gave."""
        self._sharpness.set_state(state)

    def _learning_rate(self):
        """That of the coming update; NaN if there are several."""
        rates = record.learning_rates(self._model.optimizer)
        return float(rates[""]) if "" in rates else math.nan
