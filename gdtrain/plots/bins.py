"""Many steps in the width of a page."""

import dataclasses
from typing import Any

import numpy as np

MOST = 400  # Columns; more could not be told apart on a page


@dataclasses.dataclass(frozen=True)
class Bins:
    """Steps in columns of equal width.

    Args:
        edges: Where the columns begin and end, in steps, float64 `[c + 1]`.
        index: The column of each step, int `[n]`.
    """

    edges: Any
    index: Any

    @property
    def centres(self):
        """The middles of the columns, float64 `[c]`."""
        return (self.edges[1:] + self.edges[:-1]) / 2

    def means(self, values):
        """Common logarithms of geometric means, column by column.

        Args:
            values: Float `[n]`, at least 0; what is not finite is left out,
                and so is 0 unless a column has nothing else.

        Returns:
            Float64 `[c]`: minus infinity where all is 0, NaN where there is
            nothing.

        Example:

        >>> bins = into_columns(np.arange(4), most=2)
        >>> bins.means(np.array([1.0, 100.0, 0.0, 1000.0])).tolist()
        [1.0, 3.0]
        """
        positive = np.isfinite(values) & (values > 0)
        logs = np.log10(values[positive])
        sums = np.bincount(self.index[positive], logs, len(self.edges) - 1)
        counts = self._count(positive)
        return np.where(
            counts > 0,
            sums / np.maximum(counts, 1),
            np.where(self._count(values == 0) > 0, -np.inf, np.nan),
        )

    def any(self, marks):
        """In which columns a mark is set, from bool `[n]` to bool `[c]`."""
        return self._count(marks) > 0

    def _count(self, marks):
        """How many marks are set in each column."""
        return np.bincount(self.index[marks], minlength=len(self.edges) - 1)


def into_columns(steps, most=MOST):
    """Sorts steps into columns: one a step, unless there are many.

    Args:
        steps: Step numbers, int64 `[n]`, at least one.
        most: How many columns there may be.

    Returns:
        `Bins`.

    Example:

    >>> bins = into_columns(np.array([10, 20, 30]))
    >>> bins.edges.tolist(), bins.index.tolist()
    ([5.0, 15.0, 25.0, 35.0], [0, 1, 2])
    """
    first, last = steps.min(), steps.max()
    count = min(len(np.unique(steps)), most)
    half = (last - first) / (count - 1) / 2 if 1 < count < most else 0.5
    edges = np.linspace(first - half, last + half, count + 1)
    index = np.searchsorted(edges, steps, side="right") - 1
    return Bins(edges, index)
