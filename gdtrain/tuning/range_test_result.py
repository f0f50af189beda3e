"""What a range test found."""

import dataclasses
from typing import Any

import numpy as np

from gdtrain.common import notebook
from gdtrain.tuning import suggestions

SHARE = 0.5  # Of the stable limit, which may sink while a model trains

_CLEAR = 0.05  # Of the loss: a fall that is seen, in spite of noise
_SOON = 10  # Rates: a loss that blows up within them began too high

# Why this one: see `gdtrain.find_learning_rate`.
RECOMMENDED = "minimum_tenth"


@dataclasses.dataclass(frozen=True, eq=False)
class FoundRates:
    """The losses of a range test, and what they suggest. Prints as a line.

    Args:
        learning_rates: Those that were tried, float64 `[n]`.
        losses: The loss of the batch before the update by each, float64
            `[n]`; the last may not be finite.
        smoothed: Their exponential mean; see
            `gdtrain.tuning.suggestions.smooth`.
        blew_up: Whether the test ended as the loss blew up.
        suggestions: A dict from the name of a method to a learning rate, one
            to train with from then on: with momentum it is smaller than the
            one that was tried (`gdtrain.tuning.range_test`). Without those
            from losses, if these fell by no more than noise, and without
            `"curvature"`, if no limit is known.
        method: Which of them is recommended, or `None`.
        stable_learning_rate: The stable limit at the start, a `float`:
            infinite if nothing is limited, `None` if it is not known.
        limit: How it is known, or why not, in words.
        steps_before: How many steps the optimizer had made before the test.

    Example:

    >>> import gdtrain, keras, numpy as np
    >>> model = gdtrain.Sequential([keras.Input([1]), keras.layers.Dense(1)])
    >>> model.compile(gdtrain.GradientDescent(), loss="mse")
    >>> x = np.linspace(-1, 1, 50)[:, np.newaxis]
    >>> found = gdtrain.find_learning_rate(model, x, 3 * x, verbose=0)
    >>> found.limit, round(found.suggestions["curvature"], 3)
    ('2 / sharpness, for GradientDescent', 0.5)
    """

    learning_rates: Any
    losses: Any
    smoothed: Any
    blew_up: bool
    suggestions: dict[str, float]
    method: str | None
    stable_learning_rate: float | None
    limit: str
    steps_before: int = 0

    @property
    def suggestion(self):
        """The learning rate that is recommended, or `None`.

        A tenth of that of the lowest loss, or half the stable limit if that
        is smaller. `None` if the loss fell by no more than noise: the limit
        alone says how large a rate must not be.
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
                f"No learning rate stands out of {tried}: the loss never fell "
                f"by more than its noise. {self._why_none()} Stable limit: "
                f"{limit}."
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

    def _repr_html_(self) -> str:
        """The result, what each method suggests, and a picture."""
        return notebook.show(
            self,
            lambda: notebook.paragraph(str(self)),
            lambda: notebook.table(
                ["method", "learning_rate", ""],
                [
                    (
                        name,
                        f"{rate:.2g}",
                        "recommended" if name == self.method else "",
                    )
                    for name, rate in self.suggestions.items()
                ],
            ),
            lambda: notebook.picture("learning_rate_range", self),
        )

    def _why_none(self):
        """Why no rate lowered the loss, as far as it can be known."""
        if self.blew_up and len(self.losses) <= _SOON:
            return "Give a smaller `from_rate`."
        limit = self.stable_learning_rate
        reached = limit is not None and self.learning_rates[-1] > limit
        if not (self.blew_up or reached):
            more = "Give more `steps`, a larger `batch_size` or `to_rate`."
            if self.steps_before:
                more += (
                    f" The model has made {self.steps_before:,} steps before: "
                    "it may be trained already."
                )
            return more
        losses = self.losses[np.isfinite(self.losses)]
        decades = np.log10(self.learning_rates[-1] / self.learning_rates[0])
        per_decade = (len(self.learning_rates) - 1) / decades
        start = suggestions.start(losses)
        least = suggestions.least_fall(losses, per_decade)
        is_clear = least < _CLEAR * abs(start)
        seen = f"a fall by {least:.2g}, of {start:.3g}, would have been seen."
        if not is_clear:
            seen = (
                f"of the loss, {start:.3g}, only a fall by {least:.2g} would "
                "be told from the noise of the batches. A larger "
                "`batch_size` shows more."
            )
        if self.steps_before:
            return (
                f"The model has made {self.steps_before:,} steps before, and "
                f"is probably trained already: {seen}"
            )
        if is_clear:
            return (
                "From these weights the loss cannot fall much further; they "
                f"are probably trained already: {seen}"
            )
        return f"Perhaps the weights are trained already; but {seen}"


def conclude(test, stable_learning_rate, limit):
    """What a range test says.

    Args:
        test: The `gdtrain.tuning.range_test.Recorder`, or whatever has its
            attributes.
        stable_learning_rate, limit: As in `FoundRates`.

    Returns:
        A `FoundRates`.
    """
    finite = np.isfinite(test.smoothed)
    rates, smoothed = test.learning_rates[finite], test.smoothed[finite]
    suggested = {}
    if suggestions.falls(test.losses[finite], test.per_decade):
        suggested = {
            name: test.constant_share * float(rates[find(rates, smoothed)])
            for name, find in suggestions.METHODS.items()
        }
    if stable_learning_rate is not None and np.isfinite(stable_learning_rate):
        suggested["curvature"] = SHARE * stable_learning_rate
    return FoundRates(
        test.learning_rates,
        test.losses,
        test.smoothed,
        test.blew_up,
        suggested,
        _recommended(suggested),
        stable_learning_rate,
        limit,
        test.steps_before,
    )


def _recommended(suggested):
    """The method to go by, or `None`."""
    if RECOMMENDED not in suggested:
        return None
    if suggested.get("curvature", np.inf) < suggested[RECOMMENDED]:
        return "curvature"
    return RECOMMENDED
