"""The trend of a loss in a few numbers, and its noise."""

import dataclasses
import math

import numpy as np

ENOUGH = 8  # Losses: less than that have no trend

FALLS = 4.0  # Standard errors
LITTLE = 0.2  # Times the noise of a step: labels of chance are memorized
LEFT = 1e-3  # Share of the gain
ROUNDS = 1e-6  # Share of a loss; float32 rounds at 6e-8
AHEAD = 2.0  # Times as many steps: nobody trains on for much longer


@dataclasses.dataclass(frozen=True)
class Trend:
    """The course of a loss.

    The last half is divided into four equal parts; `levels` are their means.

    Args:
        start: The first loss, or mean.
        levels: Four means, the last of which is `end`.
        least: The least mean of as many neighbours as a level has.
        noise: Standard deviation of a step around the trend.
        error: Standard error of each of the levels.
        limit: The level that it approaches: the last three levels continued as
            a geometric series, but no lower than it would come in `AHEAD`
            times as many steps at the pace of the last half.
        tends_to: The same, but not below 0 (or the least loss if negative).
            For texts only: no verdict depends on where 0 is.
        quarters: Means of the second and of the last quarter.
        drift: Fall of a straight line through all of it, in standard errors.
        first: The very first loss.
        early: Mean of the first eighth of the losses.
        early_noise: Standard deviation of one of them around the trend.
        early_count: How many they are.
        mean_noise: Standard deviation of a mean, or of a step, early on.
    """

    start: float
    levels: tuple[float, ...]
    least: float
    noise: float
    error: float
    limit: float
    tends_to: float
    quarters: tuple[float, float]
    drift: float
    first: float
    early: float
    early_noise: float
    early_count: int
    mean_noise: float

    @property
    def end(self) -> float:
        """The level at the end."""
        return self.levels[-1]

    @property
    def gain(self) -> float:
        """By how much the loss fell from first to last."""
        return self.start - self.end

    @property
    def left(self) -> float:
        """Share of the possible gain that is still to come, 0 to 1."""
        whole = self.start - self.limit
        if whole <= 0:
            return 0.0
        return min(max((self.end - self.limit) / whole, 0.0), 1.0)

    @property
    def fall(self) -> float:
        """Fall over the last half, in standard errors of a difference."""
        return _over(self.levels[0] - self.end, self.error * math.sqrt(2))

    @property
    def late_fall(self) -> float:
        """The same between the last two levels."""
        return _over(self.levels[2] - self.end, self.error * math.sqrt(2))

    @property
    def long_fall(self) -> float:
        """The same from the second quarter of all to the last."""
        return _over(self.quarters[0] - self.quarters[1], self.error)

    @property
    def is_noisy(self) -> bool:
        """Whether noise is more than rounding, and than 0.1% of the gain."""
        return self.noise > max(1e-3 * abs(self.gain), self.rounding)

    @property
    def rounding(self) -> float:
        """What float32 may round a loss by."""
        return ROUNDS * max(abs(self.start), abs(self.end))

    @property
    def still_falls(self) -> bool:
        """Whether it falls beyond noise, and not by a last trifle."""
        falls = self.fall > FALLS
        if self.is_noisy:
            falls = falls or (self.long_fall > FALLS and self.fall > 0.5)
        else:
            falls = falls and self.late_fall > 0 and self.left > LEFT
        return falls and self.gain > 0

    @property
    def ends_lower(self) -> bool:
        """Whether it ends below where it began, beyond noise.

        With batches, by a fifth of the noise of a step at least.
        """
        if not self.is_noisy:
            return self.end < self.first
        if self.jumped:
            return self.first - self.end > FALLS * self.noise
        if self.first - self.end > FALLS * self.early_noise:
            return True
        error = self.early_noise / math.sqrt(self.early_count)
        least = LITTLE * self.noise
        # Means over epochs are of the same examples.
        return any(
            start - self.end > max(FALLS * math.hypot(one, self.error), least)
            for start, one in (
                (self.early, error),
                (self.start, self.mean_noise),
            )
        )

    @property
    def jumped(self) -> bool:
        """Whether the first updates threw the loss up, beyond noise.

        Then only the very first loss says where it began.
        """
        return max(self.early, self.start) - self.first > FALLS * self.noise

    @property
    def came_down(self) -> bool:
        """Whether it `jumped`, and fell from there beyond noise."""
        fall = max(self.early, self.start) - self.end
        return self.jumped and fall > FALLS * self.noise

    @property
    def numbers(self) -> dict[str, float]:
        """The evidence that verdicts on its course share."""
        return {"start": self.start, "end": self.end, "noise": self.noise}

    @property
    def rise(self) -> str:
        """Says that the loss ends higher than it began, if it does."""
        far = self.end - self.start > FALLS * max(self.noise, self.error)
        return ", higher than at the start" if far else ""


def trend(loss: np.ndarray, means: np.ndarray | None = None) -> Trend:
    """Finds the trend of a loss.

    Args:
        loss: Finite numbers, float64 `[n]`, `n` of `ENOUGH` or more.
        means: Means over equal parts of it, which vary less, float64 `[m]`,
            `m` of `ENOUGH` or more. Defaults to the losses.

    Returns:
        A `Trend`.

    Example:

    >>> found = trend(1 + 0.97 ** np.arange(200.0))
    >>> round(found.limit, 6), found.is_noisy
    (1.0, False)
    """
    means = loss if means is None else means
    quarters = last_quarters(means)
    levels = tuple(float(quarter.mean()) for quarter in quarters)
    ahead = AHEAD * (levels[0] - levels[-1]) * len(levels) * 2 / 3
    _, second, _, last = np.array_split(means, 4)
    size = len(quarters[-1])
    error = noise_of(means[len(means) // 2 :]) / math.sqrt(size)
    early = loss[: max(len(loss) // 8, 1)]
    noise = noise_of(loss[len(loss) // 2 :])
    return Trend(
        start=float(means[0]),
        levels=levels,
        least=float(moving_means(means, size).min()),
        noise=noise,
        error=max(error, 1e-7 * abs(levels[-1])),
        limit=limit_of(*levels[1:], floor=levels[-1] - max(ahead, 0.0)),
        tends_to=limit_of(*levels[1:], floor=min(0.0, float(loss.min()))),
        quarters=(float(second.mean()), float(last.mean())),
        drift=drift_of(means),
        first=float(loss[0]),
        early=float(early.mean()),
        early_noise=max(noise_of(early), noise),
        early_count=len(early),
        mean_noise=noise_of(means[: len(means) // 2]),
    )


def moving_means(values: np.ndarray, size: int) -> np.ndarray:
    """Means of so many neighbours, `[n - size + 1]`.

    Example:

    >>> moving_means(np.array([1.0, 3.0, 5.0, 9.0]), 2).tolist()
    [2.0, 4.0, 7.0]
    """
    sums = np.cumsum(values - values[0])
    sums[size:] -= sums[:-size].copy()
    return sums[size - 1 :] / size + values[0]


def last_quarters(values: np.ndarray) -> np.ndarray:
    """The last half in four equal parts, `[4, k]`, but for up to 3 values.

    Example:

    >>> last_quarters(np.arange(19)).tolist()
    [[11, 12], [13, 14], [15, 16], [17, 18]]
    """
    size = len(values) // 8
    return values[len(values) - 4 * size :].reshape(4, size)


def noise_of(values: np.ndarray) -> float:
    """Standard deviation of noise on a smooth curve.

    From second differences, which are 0 for a straight line; those of
    independent noise have sqrt(6) times its deviation.

    Example:

    >>> noise_of(np.arange(9.0))
    0.0
    """
    if len(values) < 3:
        return 0.0
    seconds = np.diff(values, 2)
    return 1.4826 * float(np.median(np.abs(seconds))) / math.sqrt(6)


def drift_of(values: np.ndarray) -> float:
    """Fall of the straight line through values, in its standard errors.

    Example:

    >>> drift_of(np.array([2.0, 1.0, 3.0, 1.0, 2.0]))
    0.0
    """
    places = np.arange(len(values)) - (len(values) - 1) / 2
    squares = float((places**2).sum())
    slope = float((places * values).sum()) / squares
    error = max(noise_of(values), 1e-7 * float(np.abs(values).mean()))
    return _over(0.0 - slope, error / math.sqrt(squares))


def limit_of(
    first: float, second: float, third: float, *, floor: float
) -> float:
    """Where a geometric approach ends, from three levels at equal distances.

        limit = third - (second - third) * q / (1 - q)
        q = (second - third) / (first - second)

    Exact for `limit + a * r ** step`. `floor` if the levels do not come closer
    together; `third` if they do not fall.

    References:
        Aitken, 1926 (the delta-squared process).

    Example:

    >>> limit_of(9.0, 5.0, 3.0, floor=0.0)
    1.0
    """
    before, now = first - second, second - third
    if now <= 0:
        return third
    if before <= now:
        return floor
    ratio = now / before
    return max(third - now * ratio / (1 - ratio), floor)


def _over(value: float, error: float) -> float:
    """A quotient; 0 / 0 is 0."""
    if error > 0:
        return value / error
    return math.copysign(math.inf, value) if value else 0.0
