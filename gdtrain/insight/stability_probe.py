"""How near training is to the edge of stability, at one moment."""

import math

from gdtrain.insight import preconditioner
from gdtrain.insight.sharpness import Sharpness
from gdtrain.insight.what_if import MULTIPLES, WhatIf
from gdtrain.telemetry import record

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
            self._sharpness.update(
                _FIRST_PRODUCTS, tolerance=_FIRST_TOLERANCE
            )
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
