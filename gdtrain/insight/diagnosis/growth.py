"""How fast a loss grows, and which limit of the learning rate follows."""

import dataclasses
import math

import numpy as np


@dataclasses.dataclass(frozen=True)
class Growth:
    """The rise of a loss from its lowest to its highest.

    Args:
        rows: `(first, last)` row of the rise.
        total: By what factor it rose.
        factor: By what factor a step, late in the rise.
    """

    rows: tuple[int, int]
    total: float
    factor: float


def growth(loss, steps):
    """The largest rise, or `None` if there is none.

    Args:
        loss: Finite numbers above 0, float64 `[n]`.
        steps: Their steps, int64 `[n]`.

    Returns:
        A `Growth`. Its factor is of the last half of the rise, where what
        grows fastest prevails; steps in between are shared evenly.

    Example:

    >>> found = growth(5 + 2.25 ** np.arange(40.0), np.arange(40))
    >>> found.rows, round(found.factor, 4)
    ((0, 39), 2.25)
    """
    if len(loss) < 2 or loss.min() <= 0:
        return None
    lowest = np.minimum.accumulate(loss)
    last = int(np.argmax(loss / lowest))
    if loss[last] <= lowest[last]:
        return None
    first = int(np.flatnonzero(loss[: last + 1] == lowest[last])[-1])
    middle = (first + last) // 2
    logs = np.log(loss[[middle, last]])
    factor = math.exp((logs[1] - logs[0]) / (steps[last] - steps[middle]))
    return Growth((first, last), float(loss[last] / lowest[last]), factor)


def stable_limit(learning_rate, factor):
    """The limit of plain descent whose loss grows by a factor a step.

        error:  |1 - learning_rate * sharpness| a step; loss: its square
        sharpness = (1 + sqrt(factor)) / learning_rate
        limit = 2 / sharpness

    Exact for a quadratic loss.

    Example:

    >>> stable_limit(3.0, 4.0)  # sharpness 1: the error grows by 1 - 3
    2.0
    """
    return 2 * learning_rate / (1 + math.sqrt(factor))
