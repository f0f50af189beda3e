"""Whether descent jumps from side to side."""

import numpy as np

from gdtrain.insight.diagnosis.trend import noise_of


def alternation(values):
    """Share of neighbouring differences that have opposite signs.

    1 for jumps to and fro, 2/3 for independent noise, 1/2 for a random walk,
    0 for a smooth course.

    Args:
        values: Float64 `[n]`.

    Returns:
        A float; 0.0 for less than three values.

    Example:

    >>> alternation(np.array([5.0, 1.0, 4.0, 2.0, 3.0]))
    1.0
    """
    differences = np.diff(values)
    if len(differences) < 2:
        return 0.0
    return float(np.mean(differences[1:] * differences[:-1] < 0))


def swing(values):
    """How far the jumps to and fro go, as a share of the values.

    Half the median second difference is the distance of two sides.

    Example:

    >>> swing(np.array([11.0, 9.0, 11.0, 9.0]))
    0.2
    """
    if len(values) < 3:
        return 0.0
    jumps = np.median(np.abs(np.diff(values, 2))) / 2
    return float(jumps / max(np.mean(np.abs(values)), 1e-300))


def rebound(values):
    """How far the last half rises above the least before, as a share.

    Of the fall from the first to the least of all; 0 for a descent that is
    monotone, and 0 if it is within 30 standard deviations of noise.

    Example:

    >>> rebound(np.array([9.0, 7.0, 5.0, 3.0, 1.0, 2.0, 3.0, 4.0]))
    0.375
    """
    lowest = np.minimum.accumulate(values)
    half = len(values) // 2
    rise = float(np.max(values[half:] - lowest[half:]))
    whole = float(values[0] - values.min())
    if whole <= 0 or rise < 30 * noise_of(values[half:]):
        return 0.0
    return rise / whole
