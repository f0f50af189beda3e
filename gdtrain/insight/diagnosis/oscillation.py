"""Whether descent jumps from side to side."""

import numpy as np


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
