"""Standardized features in their principal axes, and folds of photos."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

ROWS = 1024  # Photos that are computed in float64 at a time

# A feature that varies less than this share of its size is constant: what is
# left is rounding of float32.
_CONSTANT = 1e-6

# Axes of less than this share of the largest variance are rounding.
_NO_VARIANCE = 1e-10


class Standardization(NamedTuple):
    """Mean and standard deviation of features: standardized, they are 0 and 1.

    A constant feature has a `deviation` of infinity, so that it becomes 0.

    Args:
        mean: Float64 `[features]`.
        deviation: Float64 `[features]`.

    Example:

    >>> found = standardization(np.array([[1.0, 7.0], [3.0, 7.0]]))
    >>> found(np.array([[5.0, 9.0]])).tolist()
    [[3.0, 0.0]]
    """

    mean: np.ndarray
    deviation: np.ndarray

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Features in standard deviations from the mean, float64."""
        return (np.asarray(features, np.float64) - self.mean) / self.deviation


def standardization(features: np.ndarray) -> Standardization:
    """The `Standardization` of features `[photos, features]`."""
    mean = np.asarray(np.mean(features, axis=0, dtype=np.float64))
    squares = np.zeros_like(mean)
    for start in range(0, len(features), ROWS):
        squares += np.sum((features[start : start + ROWS] - mean) ** 2, axis=0)
    deviation = np.sqrt(squares / len(features))
    varies = deviation > _CONSTANT * np.abs(mean)
    return Standardization(mean, np.where(varies, deviation, np.inf))


class PrincipalAxes(NamedTuple):
    """Standardized features, turned so that they are uncorrelated.

        coordinates = standardized features @ axes

    Only axes along which the photos vary: fewer than there are photos, and at
    most as many as features. A kernel outside of them changes no answer to
    these photos, and L2 is the same in turned coordinates: nothing is lost.

    Args:
        standardize: What standardized them.
        axes: Orthonormal columns, float64 `[features, axes]`.
        variances: Of the coordinates, the largest first, float64 `[axes]`.
        coordinates: Float32 `[photos, axes]`.
    """

    standardize: Standardization
    axes: np.ndarray
    variances: np.ndarray
    coordinates: np.ndarray

    def unturned(
        self, kernel: np.ndarray, bias: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The kernel and bias for features, of those for coordinates.

        Args:
            kernel: `[axes, classes]`.
            bias: `[classes]`.

        Returns:
            `(kernel, bias)`: `[features, classes]` and `[classes]`.
        """
        scale = self.standardize.deviation[:, np.newaxis]
        kernel = self.axes @ kernel / scale
        return kernel, bias - self.standardize.mean @ kernel


def principal_axes(features: np.ndarray) -> PrincipalAxes:
    """The `PrincipalAxes` of features `[photos, features]`.

    Beside the features, it needs memory for the coordinates and for some
    matrices as wide as there are axes.

    Example:

    >>> found = principal_axes(np.array([[1.0, 1.0], [2.0, 2.0], [3.0, 2.0]]))
    >>> found.variances.round(3).tolist()
    [1.866, 0.134]
    """
    standardize = standardization(features)

    def rows(part: slice) -> np.ndarray:
        return standardize(features[part])

    variances, axes = uncorrelated(rows, *features.shape)
    coordinates = np.empty([len(features), len(variances)], np.float32)
    for part in parts(len(features)):
        coordinates[part] = rows(part) @ axes
    return PrincipalAxes(standardize, axes, variances, coordinates)


def uncorrelated(
    rows: Callable[[slice], np.ndarray], photos: int, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """The axes along which rows vary, and how much.

    Args:
        rows: Given a slice of photos, returns float64 `[photos, width]`.
        photos: How many there are.
        width: How many numbers each has.

    Returns:
        `(variances, axes)`: mean squares, the largest first, `[axes]`, and
        orthonormal columns `[width, axes]`.
    """
    if photos < width:
        every = rows(slice(None))
        variances, directions = _largest_first(every @ every.T / photos)
        return variances, every.T @ directions / np.sqrt(photos * variances)
    gram = np.zeros([width, width])
    for part in parts(photos):
        some = rows(part)
        gram += some.T @ some
    return _largest_first(gram / photos)


def _largest_first(gram: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues above rounding, and their eigenvectors as columns."""
    values, vectors = np.linalg.eigh(gram)
    kept = values > max(_NO_VARIANCE * values[-1], 0)
    return values[kept][::-1], vectors[:, kept][:, ::-1]


def parts(photos: int) -> list[slice]:
    """Slices of at most `ROWS` photos each."""
    return [slice(start, start + ROWS) for start in range(0, photos, ROWS)]


def stratified_folds(
    standardize: Standardization,
    features: np.ndarray,
    labels: np.ndarray,
    *,
    folds: int,
    seed: int,
) -> np.ndarray:
    """In which fold each photo is held out, with each class spread evenly.

    It depends on the photos themselves, not on their order nor on the scale
    of features: photos are ranked by a random function of their features, and
    each fold takes a share of each class in that order. Copies of a photo are
    neighbours, so that they are mostly in the same fold, and none is judged
    by a model that has seen the other.

    Args:
        standardize: What standardizes features.
        features: `[photos, features]`.
        labels: Integers `[photos]`.
        folds: How many folds.
        seed: Draws the function.

    Returns:
        Integers from 0 to below `folds`, `[photos]`.

    Example:

    >>> features = np.random.default_rng(0).normal(size=[10, 3])
    >>> labels = np.arange(10) % 2
    >>> found = stratified_folds(
    ...     standardization(features), features, labels, folds=5, seed=0
    ... )
    >>> [sorted(labels[found == fold].tolist()) for fold in range(5)]
    [[0, 1], [0, 1], [0, 1], [0, 1], [0, 1]]
    """
    direction = np.random.default_rng(seed).normal(size=features.shape[1])
    projected = np.concatenate(
        [standardize(features[part]) @ direction for part in parts(len(labels))]
    )
    spread = np.std(projected) or 1.0
    # Several times around a circle: similar photos alone are neighbours.
    places = (8 * projected / spread) % 1
    found = np.empty(len(labels), int)
    for label in np.unique(labels):
        photos = np.flatnonzero(labels == label)
        ranked = photos[np.argsort(places[photos], kind="stable")]
        # Small classes begin in different folds.
        shares = np.arange(len(ranked)) * folds // max(folds, len(ranked))
        found[ranked] = (shares + label) % folds
    return found
