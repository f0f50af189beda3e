"""Which learning rate a range test suggests, by several methods.

Each takes `rates`, rising, and `losses`, smoothed, float64 `[n]`, and returns
the place of its suggestion.
"""

import dataclasses
import math

import numpy as np

from gdtrain.common import notebook

DECADES = 1 / 3  # Of rates: the window of the smoothing
_RISE = 3  # Times the loss at the start: a loss that rises by more blew up
_ROUNDING = 1e-6  # Of a float32 loss, relative
_NOISE = 4  # Times: of pure noise, one in 100 falls by more
_CLEAR = 0.05  # Of the loss: a fall that is seen, in spite of noise
_SOON = 10  # Rates: a loss that blows up within them began too high


def smooth(losses: np.ndarray, per_decade: float) -> np.ndarray:
    """The exponential mean of losses, corrected for its start.

        mean <- decay * mean + (1 - decay) * loss
        smoothed = mean / (1 - decay ** count)
        decay = 1 - 1 / (rates in a third of a decade)

    A third of a decade is a factor of 2.2: so far the smoothed loss lags
    behind. Losses of two rates a third of a decade apart are left as they
    are.

    Args:
        losses: Float `[n]`. From the first that is not finite, the mean is
            not finite either.
        per_decade: How many rates there are in a decade.

    Returns:
        Float64 `[n]`.

    Example:

    >>> smooth([4.0, 4.0, 7.0], per_decade=6).tolist()  # decay = 1 / 2
    [4.0, 4.0, 5.71...]
    """
    decay = _decay(per_decade)
    mean, smoothed = 0.0, []
    for count, loss in enumerate(np.asarray(losses, np.float64).tolist(), 1):
        mean = decay * mean + (1 - decay) * loss
        smoothed.append(mean / (1 - decay**count))
    return np.array(smoothed)


def blow_up(smoothed: np.ndarray) -> int | None:
    """The place of the first smoothed loss that has blown up, or `None`.

        loss > start + 3 * max(abs(start), start - lowest before)

    For losses above 0, that is four times the loss at the start. Infinity and
    NaN have blown up as well.

    Example:

    >>> blow_up(np.array([2.0, 0.1, 7.9])), blow_up(np.array([2.0, 0.1, 8.1]))
    (None, 2)
    """
    start, lowest = smoothed[0], np.fmin.accumulate(smoothed)
    with np.errstate(invalid="ignore"):  # Infinite from the start
        rise = _RISE * np.maximum(abs(start), start - lowest)
    over = ~(smoothed <= start + rise)
    return int(np.argmax(over)) if over.any() else None


def noise(losses: np.ndarray) -> float:
    """The standard deviation of the noise of a step, from second differences.

    Their median, so that neither a course that falls or rises slowly nor the
    end, where the loss blows up, counts much.

    Example:

    >>> noise(np.array([4.0, 3.0, 2.0, 1.0]))
    0.0
    """
    if len(losses) < 3:
        return 0.0
    # Of a normal distribution, by its quartiles; 6 = 1 + 2 * 2 + 1
    width = np.median(np.abs(np.diff(losses, 2)))
    return float(width / (0.6745 * math.sqrt(6)))


def falls(losses: np.ndarray, per_decade: float) -> bool:
    """Whether losses fall by more than noise.

        start - lowest smoothed loss > least_fall
        start = median of the losses at the first quarter of the rates

    The lowest is that after the start.

    Args:
        losses: Float64 `[n]`, finite.
        per_decade: As in `smooth`.

    Example:

    >>> falls(np.array([3.0, 3.0, 2.0, 1.0]), per_decade=3)
    True
    """
    few = _few(losses)
    later = smooth(losses, per_decade)[few:]
    fall = start(losses) - later.min(initial=np.inf)
    return bool(fall > least_fall(losses, per_decade))


def start(losses: np.ndarray) -> float:
    """The median of the losses at the first quarter of the rates."""
    return float(np.median(losses[: _few(losses)]))


def least_fall(losses: np.ndarray, per_decade: float) -> float:
    """The least fall that is distinct from noise.

        4 * (noise of the difference of the start and a smoothed loss)

    A median of n losses has pi / (2 n) of the variance of a loss, a smoothed
    one (1 - decay) / (1 + decay).

    Args:
        losses: Float64 `[n]`, finite.
        per_decade: As in `smooth`.

    Example:

    >>> least_fall(np.array([3.0, 3.0, 3.0, 3.0]), per_decade=3)  # Rounding
    3e-06
    """
    decay = _decay(per_decade)
    share = math.sqrt((1 - decay) / (1 + decay) + math.pi / (2 * _few(losses)))
    rounding = _ROUNDING * abs(start(losses))
    return max(_NOISE * noise(losses) * share, rounding)


def _few(losses: np.ndarray) -> int:
    """How many losses a quarter of the rates has."""
    return max(1, len(losses) // 4)


def _decay(per_decade: float) -> float:
    """The share of the mean that is kept at each rate."""
    return max(0.0, 1 - 1 / (DECADES * per_decade))


def steepest(rates: np.ndarray, losses: np.ndarray) -> int:
    """Where the loss falls most for a given factor of the rate.

    Before the lowest loss, after which it blows up, and not in the first
    eighth, whose means are of few losses.

    Reference:
        Gugger, "How do you find a good learning rate", 2018.

    Example:

    >>> steepest(np.array([1.0, 10, 100, 1000]), np.array([5.0, 4.5, 1, 9]))
    1
    """
    last = int(np.argmin(losses))
    if last == 0:
        return 0
    slopes = np.gradient(losses, np.log(rates))
    first = min(len(losses) // 8, last)
    return first + int(np.argmin(slopes[first : last + 1]))


def minimum_tenth(rates: np.ndarray, losses: np.ndarray) -> int:
    """The largest rate of at most a tenth of that of the lowest loss.

    Reference:
        Howard and Gugger, "Deep Learning for Coders", 2020, chapter 5.

    Example:

    >>> rates = np.array([1.0, 10.0, 100.0, 1000.0])
    >>> minimum_tenth(rates, np.array([5.0, 4.0, 1.0, 9.0]))
    1
    """
    tenth = rates[np.argmin(losses)] / 10
    # Rates are rounded to float32.
    return max(0, int(np.searchsorted(rates, tenth * (1 + 1e-6), "right")) - 1)


def valley(rates: np.ndarray, losses: np.ndarray) -> int:
    """The middle of the longest valley.

    The longest sequence of losses, each lower than the one before it, gaps
    allowed; taken as if it had no gaps, back from its end.

    Reference:
        fastai, `callback/schedule.py`, `valley`, 2021 (by ESRI).

    Example:

    >>> valley(np.geomspace(1, 1e4, 5), np.array([3.0, 3.0, 2.0, 1.0, 9.0]))
    2
    """
    lengths = np.ones(len(losses), int)
    for place in range(1, len(losses)):
        higher = lengths[:place][losses[:place] > losses[place]]
        lengths[place] += higher.max(initial=0)
    end = int(np.argmax(lengths))
    return end - int(lengths[end]) // 2


METHODS = {
    "minimum_tenth": minimum_tenth,
    "steepest": steepest,
    "valley": valley,
}


@dataclasses.dataclass(frozen=True, eq=False)
class RangeTestResult:
    """The result of `gdtrain.find_learning_rate`. Prints as a line.

    Args:
        learning_rates: The learning rates of the test, float64 `[n]`.
        losses: The loss of the batch before the update by each, float64
            `[n]`; the last may not be finite.
        smoothed: Their exponential mean; see
            `gdtrain.tuning.suggestions.smooth`.
        blew_up: Whether the test ended as the loss blew up.
        suggestions: By method, a learning rate to train with: with momentum
            it is smaller than the one of the test
            (`gdtrain.tuning.range_test`). Without those from losses, if these
            fell by no more than noise, and without `"curvature"`, if no limit
            is known.
        method: Which of them is recommended, or `None`.
        stable_learning_rate: The stable limit at the start, a `float`:
            infinite if nothing is limited, `None` if it is not known.
        limit: How it was computed, or why it is not known, in words.
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

    learning_rates: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray
    blew_up: bool
    suggestions: dict[str, float]
    method: str | None
    stable_learning_rate: float | None
    limit: str
    steps_before: int = 0

    @property
    def suggestion(self) -> float | None:
        """The learning rate that is recommended, or `None`.

        A tenth of that of the lowest loss, or half the stable limit if that
        is smaller. `None` if the loss fell by no more than noise: the limit
        alone says how large a rate must not be.
        """
        return None if self.method is None else self.suggestions[self.method]

    def __str__(self) -> str:
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
        rows = [
            (name, f"{rate:.2g}", "recommended" if name == self.method else "")
            for name, rate in self.suggestions.items()
        ]
        return notebook.show(
            self,
            lambda: notebook.paragraph(str(self)),
            lambda: notebook.table(["method", "learning_rate", ""], rows),
            lambda: notebook.picture("learning_rate_range", self),
        )

    def _why_none(self) -> str:
        """Why no rate lowered the loss, as far as it can be known."""
        if self.blew_up and len(self.losses) <= _SOON:
            return "Give a smaller `min_learning_rate`."
        before = ""
        if self.steps_before:
            before = f"The model has made {self.steps_before:,} steps before"
        limit = self.stable_learning_rate
        reached = limit is not None and self.learning_rates[-1] > limit
        if not (self.blew_up or reached):
            more = (
                "Give more `steps`, a larger `batch_size` or "
                "`max_learning_rate`."
            )
            if before:
                more += f" {before}: it may be trained already."
            return more
        losses = self.losses[np.isfinite(self.losses)]
        decades = np.log10(self.learning_rates[-1] / self.learning_rates[0])
        per_decade = (len(self.learning_rates) - 1) / decades
        first = start(losses)
        least = least_fall(losses, per_decade)
        is_clear = least < _CLEAR * abs(first)
        seen = f"a fall by {least:.2g}, of {first:.3g}, would have been seen."
        if not is_clear:
            seen = (
                f"of the loss, {first:.3g}, only a fall by {least:.2g} would "
                "be distinct from the noise of the batches. A larger "
                "`batch_size` shows more."
            )
        if before:
            return f"{before}, and is probably trained already: {seen}"
        if is_clear:
            return (
                "From these weights the loss cannot fall much further; they "
                f"are probably trained already: {seen}"
            )
        return f"Perhaps the weights are trained already; but {seen}"
