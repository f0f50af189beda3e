"""The scale of inputs and targets, and whether examples come sorted."""

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

_MOST_NUMBERS = 2**22  # Of an array: more tell its scale no better


class Scale(NamedTuple):
    """The scale of each feature of one array of examples.

    Args:
        name: Of the array, such as `"x"` or `"x['age']"`.
        mean: Float64 `[features]`.
        deviation: Standard deviations, float64 `[features]`.
        matters: Whether another scale would change training: not of class
            numbers, nor of what an embedding looks up or the model itself
            normalizes first.

    Example:

    >>> found = scale("x", tf.constant([[0.0, 30.0], [2.0, 50.0]]))
    >>> found.mean.tolist(), found.deviation.tolist(), found.share_over(30)
    ([1.0, 40.0], [1.0, 10.0], 0.5)
    """

    name: str
    mean: np.ndarray
    deviation: np.ndarray
    matters: bool = True

    @property
    def size(self) -> np.ndarray:
        """The root of the mean square of each feature, `[features]`."""
        return np.hypot(self.mean, self.deviation)

    def share_over(self, size: float) -> float:
        """The share of features that are larger than `size`."""
        return float(np.mean(self.size > size)) if len(self.mean) else 0.0

    @property
    def unit(self) -> np.ndarray:
        """What to divide by to standardize: 1 for constant features."""
        return np.where(self.deviation > 0, self.deviation, 1.0)


def scale(name: str, array: tf.Tensor, matters: bool = True) -> Scale:
    """The scale of an array `[n, ..., features]`, or `[n]` of one feature.

    Text has no features.
    """
    if not (array.dtype.is_floating or array.dtype.is_integer):
        return Scale(name, np.empty(0), np.empty(0), False)
    values = _numbers(array)
    values = values.reshape(-1, values.shape[-1] if values.ndim > 1 else 1)
    return Scale(name, values.mean(0), values.std(0), matters)


def _numbers(array: tf.Tensor) -> np.ndarray:
    """An array as float64; of a long one, examples that are spread evenly."""
    a_row = max(math.prod(array.shape[1:]), 1)
    taken = min(len(array), max(_MOST_NUMBERS // a_row, 1))
    rows = np.arange(taken) * len(array) // taken
    return np.asarray(array)[rows].astype(np.float64)


class Order(NamedTuple):
    """Whether examples come in the order of their targets.

    Args:
        sortedness: 1 if neighbours are equal, 0 for a random order, down to
            -1 if they alternate.
        error: The standard error of a random order.

    Example:

    >>> order(tf.repeat([0, 1, 2], 100)).sortedness.__round__(2)
    0.99
    >>> float(order(tf.zeros(5)).sortedness)
    0.0
    """

    sortedness: float
    error: float


def order(targets: tf.Tensor) -> Order:
    """How far examples are sorted by their targets.

    Ranks r of targets, which are the same in any unit, are compared with
    those of the next example, by von Neumann's ratio:

        sortedness = 1 - sum (r[i + 1] - r[i])**2 / (2 sum (r[i] - mean)**2)

    summed over the numbers of a target. Of equal targets it is 0.

    Args:
        targets: `[n, ...]`, in the order in which they come.

    References:
        Bartels, The Rank Version of von Neumann's Ratio Test for Randomness,
        Journal of the American Statistical Association, 1982.
    """
    count = len(targets)
    if count < 2 or not (targets.dtype.is_floating or targets.dtype.is_integer):
        return Order(0.0, math.inf)
    values = np.asarray(targets, np.float64).reshape(count, -1)
    if values.shape[1] > 64:  # Of pictures a mean tells as much
        values = values.mean(1, keepdims=True)
    ranks = np.stack([_ranks(column) for column in values.T], 1)
    spread = np.sum((ranks - ranks.mean(0)) ** 2)
    if not spread:
        return Order(0.0, math.inf)
    moved = np.sum(np.diff(ranks, axis=0) ** 2)
    return Order(float(1 - moved / (2 * spread)), 1 / math.sqrt(count))


def _ranks(values: np.ndarray) -> np.ndarray:
    """The rank of each number, equal ones sharing theirs."""
    _, place, counts = np.unique(
        values, return_inverse=True, return_counts=True
    )
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[place]
