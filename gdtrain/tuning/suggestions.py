"""Which learning rate a range test suggests, by several methods.

Each takes `rates`, rising, and `losses`, smoothed, float64 `[n]`, and returns
the place of its suggestion.
"""

import math

import numpy as np

DECADES = 1 / 3  # Of rates that the smoothing looks back over
_RISE = 3  # Times the loss at the start: so much more has blown up
_ROUNDING = 1e-6  # Of a float32 loss, relative
_NOISE = 4  # Times: of what is noise alone, one in 100 falls by more


def smooth(losses, per_decade):
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


def blow_up(smoothed):
    """The place of the first smoothed loss that has blown up, or `None`.

        loss > start + 3 * max(abs(start), start - lowest before)

    For losses above 0, that is four times the loss at the start. What is not
    finite has blown up as well.

    Example:

    >>> blow_up(np.array([2.0, 0.1, 7.9])), blow_up(np.array([2.0, 0.1, 8.1]))
    (None, 2)
    """
    start, lowest = smoothed[0], np.fmin.accumulate(smoothed)
    with np.errstate(invalid="ignore"):  # Infinite from the start
        rise = _RISE * np.maximum(abs(start), start - lowest)
    over = ~(smoothed <= start + rise)
    return int(np.argmax(over)) if over.any() else None


def noise(losses):
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


def falls(losses, per_decade):
    """Whether losses fall by more than noise would let them seem to fall.

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


def start(losses):
    """The median of the losses at the first quarter of the rates."""
    return float(np.median(losses[: _few(losses)]))


def least_fall(losses, per_decade):
    """The least fall that is told from noise.

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


def _few(losses):
    """How many losses a quarter of the rates has."""
    return max(1, len(losses) // 4)


def _decay(per_decade):
    """How much of the mean is kept at each rate."""
    return max(0.0, 1 - 1 / (DECADES * per_decade))


def steepest(rates, losses):
    """Where the loss falls most for a given factor of the rate.

    Looked for until the lowest loss: what comes after it is blowing up; and
    not in the first eighth, whose means are of few losses.

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


def minimum_tenth(rates, losses):
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


def valley(rates, losses):
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
