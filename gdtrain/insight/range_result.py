"""What a range test found."""

import dataclasses
from typing import Any

import numpy as np

from gdtrain.insight import suggestions

SHARE = 0.5  # Of the stable limit: leaves room for it to sink in training

# The most careful of those that are not far from the best; see
# tests/insight/test_useful_suggestions.py.
RECOMMENDED = "minimum_tenth"


@dataclasses.dataclass(frozen=True)
class RangeTest:
    """The losses of a range test, and what they suggest.

    Attributes:
        learning_rates: Those that were tried, float64 `[n]`.
        losses: The loss of the batch before each update, float64 `[n]`; the
            last may not be finite.
        smoothed: Their exponential mean; see
            `gdtrain.insight.suggestions.smooth`.
        blew_up: Whether it ended as the loss blew up.
        suggestions: A dict from the name of a method to a learning rate;
            empty if the loss fell by no more than noise, but for
            `"curvature"`.
        method: Which of them is recommended, or `None`.
        stable_learning_rate: The limit that curvature sets at the start, or
            `None` if it is not known.
    """

    learning_rates: Any
    losses: Any
    smoothed: Any
    blew_up: bool
    suggestions: dict[str, float]
    method: str | None
    stable_learning_rate: float | None

    @property
    def suggestion(self):
        """The learning rate that is recommended, or `None`.

        A tenth of that of the lowest loss; half the stable limit, if that is
        known and smaller, or if the loss never fell.
        """
        return None if self.method is None else self.suggestions[self.method]

    def __str__(self):
        rates = self.learning_rates
        tried = f"{len(rates)} rates from {rates[0]:.2g} to {rates[-1]:.2g}"
        if self.blew_up:
            tried += ", where the loss blew up"
        limit = "not known"
        if self.stable_learning_rate is not None:
            limit = f"{self.stable_learning_rate:.2g}"
        if self.method is None:
            return (
                f"No learning rate stands out among {tried}: the loss never "
                "fell by more than its noise. Give more `steps`, a larger "
                f"`batch_size` or `to_rate`. Stable limit: {limit}."
            )
        others = ", ".join(
            f"{name} {rate:.2g}"
            for name, rate in self.suggestions.items()
            if name != self.method
        )
        return (
            f"Try learning_rate={self.suggestion:.2g} ({self.method}), of "
            f"{tried}. Others: {others or 'none'}. Stable limit: {limit}."
        )


def conclude(rates, losses, smoothed, blew_up, stable_learning_rate=None):
    """The `RangeTest` of what was measured; arguments as its attributes."""
    finite = np.isfinite(smoothed)
    seen = rates[finite], smoothed[finite]
    suggested = {}
    if finite.any() and suggestions.falls(losses[finite], seen[1]):
        suggested = {
            name: float(seen[0][find(*seen)])
            for name, find in suggestions.METHODS.items()
        }
    if stable_learning_rate is not None:
        suggested["curvature"] = SHARE * stable_learning_rate
    careful = [n for n in (RECOMMENDED, "curvature") if n in suggested]
    return RangeTest(
        rates,
        losses,
        smoothed,
        blew_up,
        suggested,
        min(careful, key=lambda name: suggested[name], default=None),
        stable_learning_rate,
    )
