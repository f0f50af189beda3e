"""A bounded number of steps, kept in memory."""

import math

import numpy as np

from gdtrain.writers.memory import MemoryWriter

# Uneven, so that what changes from step to step, back and forth, still does
_FACTOR = 3


class SampledMemory(MemoryWriter):
    """Keeps every step as long as there are few, else every n-th.

    Args:
        most_steps: More than that are thinned to a third.
        most_numbers: Steps times names: the same.

    Example:

    >>> memory = SampledMemory(most_steps=5)
    >>> memory.write(range(1, 12), ["loss"], np.arange(11.0)[:, None])
    >>> memory.steps.tolist(), memory["loss"].tolist()
    ([1, 4, 7, 10], [0.0, 3.0, 6.0, 9.0])
    >>> memory.write([12, 13, 14], ["loss"], [[11.0], [12.0], [13.0]])
    >>> memory.steps.tolist()
    [1, 4, 7, 10, 13]
    """

    def __init__(
        self, most_steps: int = 3_000, most_numbers: int = 2**22
    ) -> None:
        super().__init__()
        self._most_steps = most_steps
        self._most_numbers = most_numbers
        self._seen = self._kept = 0  # Steps
        self._every = 1

    def write(self, steps, names, values, measured=None):
        """Adds steps. See `gdtrain.writers`."""
        rows = slice(-self._seen % self._every, None, self._every)
        self._seen += len(steps)
        kept = np.asarray(steps)[rows]
        self._kept += len(kept)
        super().write(
            kept,
            names,
            np.asarray(values)[rows],
            None if measured is None else np.asarray(measured)[rows],
        )
        most = min(self._most_steps, self._most_numbers // max(len(names), 1))
        while self._kept > max(most, 1):
            self._thin()

    def _thin(self):
        """Keeps a third."""
        parts, self._parts = self._parts, []
        seen = 0
        for steps, names, values, measured in parts:
            rows = slice(-seen % _FACTOR, None, _FACTOR)
            seen += len(steps)
            # A copy, as a view would keep all of it.
            self._parts.append(
                (
                    steps[rows].copy(),
                    names,
                    values[rows].copy(),
                    None if measured is None else measured[rows].copy(),
                )
            )
        self._kept = math.ceil(seen / _FACTOR)
        self._every *= _FACTOR
