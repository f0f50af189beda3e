"""Probabilities that can be believed: temperature, intervals, none of these."""

import math
from collections.abc import Callable

import numpy as np

from gdtrain.common import checks
from gdtrain.images.axes import (
    Standardization,
    parts,
    standardization,
    stratified_folds,
    uncorrelated,
)
from gdtrain.images.cross_entropy import log_softmax

_TEMPERATURES = 1e-3, 1e3
_FOLDS = 5


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


class NoneOfThese:
    """Finds photos that are like nothing learned.

    The score of a photo is the squared distance of its standardized features
    from the mean of the nearest class, in the units in which classes vary
    (Mahalanobis's), divided by the number of features. The covariance is one
    for all classes, mixed with a multiple of the unit matrix as far as its
    error asks for (Ledoit and Wolf).

    The threshold is set by scores of photos that were held out in turn, so
    that a photo of a learned class is refused with the chance `refused`, or
    less. How often a photo of something else is accepted depends on what it
    is, and cannot be known from these photos: noise is refused, but most of
    what looks like a learned class, as one digit like another, is not.

    Args:
        features: Float `[photos, features]`.
        labels: Integers `[photos]`.
        refused: The share of photos of learned classes that may be refused,
            above 0 and below 1. Defaults to 0.02.
        seed: Draws the folds.

    Attributes:
        threshold: The score above which a photo is none of these; infinite
            where there are fewer than 1 / refused - 1 photos.
        cross_validated: The score of each photo, of classes that are known
            without it, float64 `[photos]`.
        refused_of_held_out: How many of them are above the threshold.

    Raises:
        TypeError, ValueError: if an argument cannot be used.

    Example:

    >>> random = np.random.default_rng(0)
    >>> labels = np.arange(200) % 2
    >>> features = random.normal(size=[200, 4]) + 5 * labels[:, np.newaxis]
    >>> none_of_these = NoneOfThese(features, labels)
    >>> none_of_these.is_none(np.array([[0.0] * 4, [0.0, 5.0, 0.0, 5.0]]))
    array([False,  True])

    References:
        Lee et al., NeurIPS 2018, arXiv:1807.03888 (distance from class means
        with a shared covariance); Ledoit and Wolf, 2004 (mixing); Vovk et
        al., 2005 (the rank of the threshold).
    """

    def __init__(
        self,
        features: np.ndarray,
        labels: np.ndarray,
        refused: float = 0.02,
        seed: int = 0,
    ) -> None:
        refused = checks.positive_number("refused", refused, "Write 0.02.")
        if refused >= 1:
            raise ValueError(
                f"`refused` must be below 1. Received: refused={refused}."
            )
        features, labels = np.asarray(features), np.asarray(labels)
        check_pairs(features, labels, "features")
        self._fit(features, labels)
        folds = stratified_folds(
            standardization(features), features, labels, folds=_FOLDS, seed=seed
        )
        self.cross_validated = np.zeros(len(labels))
        for fold in np.unique(folds):
            held_out = folds == fold
            others = object.__new__(NoneOfThese)
            others._fit(features[~held_out], labels[~held_out])
            self.cross_validated[held_out] = others.score(features[held_out])
        ranked = np.sort(self.cross_validated)
        rank = math.ceil((len(ranked) + 1) * (1 - refused))
        self.threshold = (
            float(ranked[rank - 1]) if rank <= len(ranked) else math.inf
        )
        self.refused_of_held_out = int(
            np.sum(self.cross_validated > self.threshold)
        )

    def score(self, features: np.ndarray) -> np.ndarray:
        """How far photos are from all that was learned.

        Args:
            features: `[photos, features]`.

        Returns:
            Float64 `[photos]`, at least 0.
        """
        standardize = Standardization(self._mean, self._deviation)
        found = np.empty(len(features))
        for part in parts(len(features)):
            rows = standardize(features[part])
            turned = rows @ self._axes
            # Along the axes, by their variances; what is outside, by the rest.
            along = _squared_distances(
                turned / self._scales, self._centers @ self._axes / self._scales
            )
            outside = _squared_distances(rows, self._centers)
            outside -= _squared_distances(turned, self._centers @ self._axes)
            if self._outside > 0:
                along += np.maximum(outside, 0) / self._outside
            found[part] = np.min(along, axis=1) / rows.shape[1]
        return found

    def is_none(self, features: np.ndarray) -> np.ndarray:
        """Whether photos are like nothing learned, bool `[photos]`."""
        return self.score(features) > self.threshold

    @property
    def refusal_interval(self) -> tuple[float, float]:
        """How many photos of learned classes are refused: see `wilson`."""
        return wilson(self.refused_of_held_out, len(self.cross_validated))

    def _fit(self, features: np.ndarray, labels: np.ndarray) -> None:
        """Finds the means of classes and the covariance around them."""
        standardize = standardization(features)
        names, labels = np.unique(labels, return_inverse=True)
        centers = np.zeros([len(names), features.shape[1]])
        for part in parts(len(labels)):
            np.add.at(centers, labels[part], standardize(features[part]))
        centers /= np.bincount(labels)[:, np.newaxis]

        def rows(part: slice) -> np.ndarray:
            return standardize(features[part]) - centers[labels[part]]

        photos, width = features.shape
        variances, axes = uncorrelated(rows, photos, width)
        fourth = sum(
            float(np.sum(np.sum(np.square(rows(part)), axis=1) ** 2))
            for part in parts(photos)
        )
        share = shrinkage(variances, fourth / photos, photos, width)
        # Of photos that do not vary within a class, that of all of them
        mean = np.sum(variances) / width or 1.0
        self._mean, self._deviation = standardize
        self._centers, self._axes = centers, axes
        self._outside = share * mean
        self._scales = np.sqrt((1 - share) * variances + share * mean)


def shrinkage(
    variances: np.ndarray, fourth_moment: float, n: int, width: int
) -> float:
    """How much of the unit matrix to mix into a covariance.

        covariance = (1 - share) * sample covariance
                     + share * mean variance * unit matrix

    Args:
        variances: The eigenvalues of the sample covariance, `[any]`; others
            are 0.
        fourth_moment: The mean of the fourth power of the length of examples.
        n: How many examples.
        width: How many numbers each has.

    Returns:
        The share with the least expected error, from 0 to 1.

    References:
        Ledoit and Wolf, Journal of Multivariate Analysis, 2004, section 3.
    """
    squares = float(np.sum(np.square(variances)))
    spread = squares - float(np.sum(variances)) ** 2 / width
    error = (fourth_moment - squares) / n
    return 1.0 if spread <= error else max(error / spread, 0.0)


def _squared_distances(rows: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Between each row and each center, `[rows, centers]`."""
    products = rows @ centers.T
    lengths = np.sum(np.square(rows), axis=1)[:, np.newaxis]
    return lengths - 2 * products + np.sum(np.square(centers), axis=1)


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
