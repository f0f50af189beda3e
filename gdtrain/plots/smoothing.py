"""The course of noisy numbers."""

import numpy as np

MANY = 100  # From here on, points hide their own course
PLACES = 400


def running_median(values):
    """Medians of neighbours, at some hundred places.

    A window holds about a fiftieth of the values. It narrows towards both
    ends, so that the course follows a fast fall at the start.

    Args:
        values: Finite numbers, float `[n]`.

    Returns:
        `(places, medians)`: int and float64, of one length.

    Example:

    >>> places, medians = running_median(np.array([5.0] * 50 + [9.0] * 50))
    >>> len(places), medians[[0, 48, 51, 99]].tolist()
    (100, [5.0, 5.0, 9.0, 9.0])
    """
    count = len(values)
    places = np.linspace(0, count - 1, min(count, PLACES)).round().astype(int)
    half = max(count // 100, 3)
    to_end = np.minimum(places, count - 1 - places)
    reach = np.clip(to_end, max(half // 3, 1), half)
    return places, np.array(
        [
            np.median(values[max(place - far, 0) : place + far + 1])
            for place, far in zip(places, reach, strict=True)
        ]
    )
