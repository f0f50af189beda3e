"""Probabilities that can be believed: temperature, error, intervals."""

import math
from collections.abc import Callable

import numpy as np

from gdtrain.common import checks
from gdtrain.images.cross_entropy import log_softmax

_TEMPERATURES = 1e-3, 1e3


def temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature that makes probabilities right on average.

        probabilities = softmax(logits / temperature)

    It has the least cross-entropy, which is convex in 1 / temperature: above
    1 for logits that are too sure. One number does not change which class is
    the most probable.

    One photo of n + 1 is taken to be of a random class, as n photos that are
    all right do not show that the next one will be. Without that, the
    temperature of answers that are all right would be 0.

    Args:
        logits: Of photos that were not learned from, `[photos, classes]`.
        labels: Integers `[photos]`.

    Returns:
        A number from 0.001 to 1,000; 1.0 if logits do not depend on the
        class.

    Raises:
        ValueError: if shapes or labels do not match.

    Example:

    >>> logits = np.array([[4.0, 0.0]] * 10)
    >>> labels = np.array([0] * 8 + [1] * 2)
    >>> chosen = temperature(logits, labels)  # 8 of 10 are right.
    >>> float(np.exp(log_softmax(logits / chosen))[0, 0].round(2))
    0.77

    References:
        Guo et al., On Calibration of Modern Neural Networks, ICML 2017,
        arXiv:1706.04599; Platt, 1999 (the photo of a random class).
    """
    logits, labels = _checked(logits, labels, "logits")
    photos, classes = logits.shape
    logits = logits - np.mean(logits, axis=1, keepdims=True)
    if not np.any(logits):
        return 1.0
    targets = np.full(logits.shape, 1 / ((photos + 1) * classes))
    targets[np.arange(photos), labels] += photos / (photos + 1)
    wanted = np.mean(np.sum(targets * logits, axis=1))

    def derivatives(inverse: float) -> tuple[float, float]:
        """Of the cross-entropy by 1 / temperature: first and second."""
        chances = np.exp(log_softmax(inverse * logits))
        means = np.sum(chances * logits, axis=1)
        squares = np.sum(chances * np.square(logits), axis=1)
        variances = squares - np.square(means)
        return float(np.mean(means) - wanted), float(np.mean(variances))

    return 1 / _root(derivatives, 1 / _TEMPERATURES[1], 1 / _TEMPERATURES[0])


def _root(
    derivatives: Callable[[float], tuple[float, float]],
    low: float,
    high: float,
) -> float:
    """Where the first of two derivatives, which grows, is 0; or an end."""
    if derivatives(low)[0] >= 0:
        return low
    if derivatives(high)[0] <= 0:
        return high
    at = 1.0
    for _ in range(200):
        first, second = derivatives(at)
        low, high = (at, high) if first < 0 else (low, at)
        step = first / second if second > 0 else math.inf
        newton = at - step
        # Halved in logarithms where Newton's method would leave the interval.
        following = newton if low < newton < high else math.sqrt(low * high)
        if abs(following - at) <= 1e-12 * at:
            break
        at = following
    return at


def expected_calibration_error(
    probabilities: np.ndarray, labels: np.ndarray, bins: int = 15
) -> float:
    """How far probabilities are from how often they are right.

        sum over bins of (photos in bin / photos)
            * |share of right answers - mean probability|

    with the probability of the most probable class, in bins of equal width.
    Of few photos it is above 0 even if all probabilities are true: about 0.015
    for 400 photos of which 98% are right.

    Args:
        probabilities: `[photos, classes]`.
        labels: Integers `[photos]`.
        bins: How many bins. Defaults to 15.

    Returns:
        A number from 0 to 1.

    Raises:
        TypeError, ValueError: if an argument cannot be used.

    Example:

    >>> probabilities = np.array([[0.75, 0.25]] * 4)
    >>> expected_calibration_error(probabilities, np.array([0, 0, 0, 1]))
    0.0

    References:
        Naeini et al., AAAI 2015; Guo et al., ICML 2017, arXiv:1706.04599.
    """
    bins = checks.positive_integer("bins", bins)
    probabilities, labels = _checked(probabilities, labels, "probabilities")
    surest = np.max(probabilities, axis=1)
    right = np.argmax(probabilities, axis=1) == labels
    # A bin has its upper end, as in the paper.
    places = np.clip(np.ceil(surest * bins).astype(int) - 1, 0, bins - 1)
    differences = np.bincount(places, right - surest, minlength=bins)
    return float(np.sum(np.abs(differences)) / len(labels))


def wilson(
    right: int, n: int, quantile: float = 1.959963984540054
) -> tuple[float, float]:
    """The interval of a share, by Wilson's score.

    Args:
        right: How many were right.
        n: How many there were.
        quantile: Of the normal distribution. Defaults to 1.96, an interval
            that has the true share in 95% of cases.

    Returns:
        `(low, high)`; `(0.0, 1.0)` for none.

    Raises:
        ValueError: if `right` is not from 0 to `n`.

    Example:

    >>> [round(end, 3) for end in wilson(37, 40)]
    [0.801, 0.974]

    References:
        Wilson, Journal of the American Statistical Association, 1927.
    """
    if not 0 <= right <= n:
        raise ValueError(
            f"`right` must be from 0 to n. Received: right={right}, n={n}."
        )
    if not n:
        return 0.0, 1.0
    share, square = right / n, quantile**2
    middle = (share + square / (2 * n)) / (1 + square / n)
    half = quantile * math.sqrt(share * (1 - share) / n + square / (4 * n * n))
    half /= 1 + square / n
    return max(0.0, middle - half), min(1.0, middle + half)


def check_pairs(values: np.ndarray, labels: np.ndarray, name: str) -> None:
    """Refuses what are not some finite numbers for each of some photos.

    Raises:
        ValueError: if shapes do not match, there are no photos, numbers are
            not finite or labels are not integers.
    """
    if values.ndim != 2 or labels.shape != values.shape[:1] or not len(labels):
        raise ValueError(
            f"`{name}` must be two-dimensional, with a label for each row. "
            f"Received: {name} of shape {values.shape}, labels of shape "
            f"{labels.shape}."
        )
    if not np.all(np.isfinite(values)):
        raise ValueError(
            f"`{name}` must be finite. Received: NaN or infinity, in "
            f"{np.sum(~np.isfinite(values).all(axis=1))} of {len(values)} rows."
        )
    if labels.dtype.kind not in "iu":
        raise ValueError(
            f"`labels` must be integers. Received: {labels.dtype}."
        )


def _checked(
    values: np.ndarray, labels: np.ndarray, name: str
) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of each class in float64, and labels, if they can be used."""
    values, labels = np.asarray(values, np.float64), np.asarray(labels)
    check_pairs(values, labels, name)
    classes = values.shape[1]
    if np.any(labels < 0) or np.any(labels >= classes):
        raise ValueError(
            f"`labels` must be from 0 to {classes - 1}. Received: from "
            f"{labels.min()} to {labels.max()}."
        )
    return values, labels
