"""Many steps in the width of a page: columns of means, a running median."""

import dataclasses

import numpy as np

MAX_COLUMNS = 400  # More could not be distinguished on a page
MANY = 100  # From here on, points hide their own course
MAX_MEDIANS = 400


@dataclasses.dataclass(frozen=True)
class Columns:
    """Steps in columns of equal width.

    Args:
        edges: Where the columns begin and end, in steps, float64 `[c + 1]`.
        index: The column of each step, int `[n]`.
    """

    edges: np.ndarray
    index: np.ndarray

    @property
    def centers(self) -> np.ndarray:
        """The middles of the columns, float64 `[c]`."""
        return (self.edges[1:] + self.edges[:-1]) / 2

    def log_means(self, values: np.ndarray) -> np.ndarray:
        """Common logarithms of geometric means, column by column.

        Args:
            values: Float `[n]`, at least 0; what is not finite is ignored,
                and so is 0 unless a column has nothing else.

        Returns:
            Float64 `[c]`: minus infinity where all is 0, NaN where there is
            nothing.

        Example:

        >>> columns = into_columns(np.arange(4), max_columns=2)
        >>> columns.log_means(np.array([1.0, 100.0, 0.0, 1000.0])).tolist()
        [1.0, 3.0]
        """
        positive = np.isfinite(values) & (values > 0)
        logs = np.log10(values[positive])
        sums = np.bincount(self.index[positive], logs, len(self.edges) - 1)
        counts = self._count(positive)
        return np.where(
            counts > 0,
            sums / np.maximum(counts, 1),
            np.where(self.any(values == 0), -np.inf, np.nan),
        )

    def any(self, marks: np.ndarray) -> np.ndarray:
        """In which columns a mark is set, from bool `[n]` to bool `[c]`."""
        return self._count(marks) > 0

    def _count(self, marks: np.ndarray) -> np.ndarray:
        """How many marks are set in each column."""
        return np.bincount(self.index[marks], minlength=len(self.edges) - 1)


def into_columns(steps: np.ndarray, max_columns: int = MAX_COLUMNS) -> Columns:
    """Sorts steps into columns: one a step, unless there are many.

    Args:
        steps: Step numbers, int64 `[n]`, at least one.
        max_columns: How many columns there may be.

    Example:

    >>> columns = into_columns(np.array([10, 20, 30]))
    >>> columns.edges.tolist(), columns.index.tolist()
    ([5.0, 15.0, 25.0, 35.0], [0, 1, 2])
    """
    first, last = steps.min(), steps.max()
    count = min(len(np.unique(steps)), max_columns)
    half = 0.5
    if 1 < count < max_columns:
        half = (last - first) / (count - 1) / 2
    edges = np.linspace(first - half, last + half, count + 1)
    index = np.searchsorted(edges, steps, side="right") - 1
    return Columns(edges, index)


def running_median(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Medians of neighbors, at some hundred places.

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
    places = np.linspace(0, count - 1, min(count, MAX_MEDIANS))
    places = places.round().astype(int)
    half = max(count // 100, 3)
    to_end = np.minimum(places, count - 1 - places)
    reach = np.clip(to_end, max(half // 3, 1), half)
    return places, np.array(
        [
            np.median(values[max(place - far, 0) : place + far + 1])
            for place, far in zip(places, reach, strict=True)
        ]
    )
