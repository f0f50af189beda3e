"""NaN that was measured, and NaN where nothing was."""

import numpy as np


def was_measured(values):
    """Tells where a number was measured, from the numbers alone.

    Some quantities are measured at every few steps, and are NaN between. A
    NaN counts as measured if it stands where the usual spacing of the others
    has one due.

    Args:
        values: Float `[n]`.

    Returns:
        Bool `[n]`.

    Example:

    >>> nan = np.nan
    >>> was_measured(np.array([5.0, 4.0, nan, nan])).tolist()
    [True, True, True, True]
    >>> was_measured(np.array([5.0, nan, 4.0, nan, nan])).tolist()
    [True, False, True, False, True]
    """
    numbers = ~np.isnan(values)
    places = np.arange(len(values))
    known = places[numbers]
    if len(known) < 2:
        return np.ones(len(values), bool)
    spacing = max(int(np.median(np.diff(known))), 1)
    latest = np.maximum.accumulate(np.where(numbers, places, known[0]))
    return numbers | ((places - latest) % spacing == 0)


def first_nonfinite(values):
    """The place of the first measured NaN or infinity, or `None`.

    Example:

    >>> first_nonfinite(np.array([5.0, np.inf, np.nan]))
    1
    """
    found = np.flatnonzero(~np.isfinite(values) & was_measured(values))
    return int(found[0]) if len(found) else None
