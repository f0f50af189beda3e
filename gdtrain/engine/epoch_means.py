"""Means over an epoch of the scalars that a step returned."""

import numpy as np


class EpochMeans:
    """Example-weighted means of scalars, without waiting for the device.

        mean = sum over steps (examples * value) / sum (examples)

    in float64. Steps are only added to a list; the list is added up when it
    grows long, or when somebody asks.

    Example:

    >>> means = EpochMeans()
    >>> means.add(["loss"], np.array([[4, 1.0]]))
    >>> means.add(["loss"], np.array([[2, 4.0]]))
    >>> means.take()
    {'loss': 2.0}
    >>> means.take()
    {}
    """

    _LONG = 256

    def __init__(self):
        self._pending = []
        self._sums = {}

    def add(self, names, rows):
        """Adds steps.

        Args:
            names: Names of the scalars, a sequence of m.
            rows: Of shape `[steps, 1 + m or more]`: the number of examples
                of each step, its scalars, and others. A tensor or array.
        """
        self._pending.append((names, rows))
        if len(self._pending) >= self._LONG:
            self._add_up()

    def take(self):
        """The means since the last call, a dict; starts anew."""
        self._add_up()
        sums, self._sums = self._sums, {}
        return {
            name: float(total / examples) if examples else float("nan")
            for name, (total, examples) in sums.items()
        }

    def _add_up(self):
        pending, self._pending = self._pending, []
        for names, rows in pending:
            rows = np.asarray(rows, np.float64)
            examples = rows[:, 0]
            for name, values in zip(names, rows[:, 1:].T):
                total, count = self._sums.get(name, (0.0, 0.0))
                self._sums[name] = (
                    total + float(examples @ values),
                    count + float(examples.sum()),
                )
