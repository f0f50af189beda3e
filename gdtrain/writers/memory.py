"""Numbers kept in memory."""

import math
import os

import numpy as np


class MemoryWriter:
    """Keeps what is written, by name.

    Example:

    >>> writer = MemoryWriter()
    >>> writer.write([1, 2], ["loss"], [[0.5], [0.25]])
    >>> writer.write([3], ["loss", "kl"], [[0.125, 7.0]])
    >>> writer.steps.tolist(), writer.names
    ([1, 2, 3], ['loss', 'kl'])
    >>> writer["kl"].tolist()
    [nan, nan, 7.0]
    >>> steps, values = writer.measured("kl")
    >>> steps.tolist(), values.tolist()
    ([3], [7.0])
    """

    def __init__(self):
        self._parts = []

    def write(self, steps, names, values, measured=None):
        """Adds steps. See `gdtrain.writers`."""
        values = np.asarray(values, np.float32)
        if measured is not None:
            measured = np.asarray(measured, bool)
            values = np.where(measured, values, np.float32(np.nan))
        self._parts.append(
            (np.asarray(steps, np.int64), tuple(names), values, measured)
        )

    def flush(self):
        """Nothing to do: memory can always be read."""

    def close(self):
        """Nothing to do: what was written stays."""

    @property
    def steps(self):
        """Step numbers, int64 `[n]`."""
        self._join()
        return np.concatenate(
            [np.empty(0, np.int64), *(part[0] for part in self._parts)]
        )

    @property
    def names(self):
        """Names in the order in which they came, a list."""
        return list(
            dict.fromkeys(name for part in self._parts for name in part[1])
        )

    def __getitem__(self, name):
        """Values of one name, float32 `[n]`; NaN where it was not measured.

        Raises:
            KeyError: if nothing was written under that name.
        """
        self._check(name)
        self._join()
        return np.concatenate(
            [
                values[:, names.index(name)]
                if name in names
                else np.full(len(steps), np.nan, np.float32)
                for steps, names, values, _ in self._parts
            ]
        )

    def measured(self, name):
        """What was measured of one name, without the gaps.

        Returns:
            `(steps, values)`: int64 `[k]`, float32 `[k]`. A NaN is one that
            was measured.

        Raises:
            KeyError: if nothing was written under that name.
        """
        self._check(name)
        self._join()
        known = np.concatenate(
            [
                _known(measured, names.index(name), len(steps))
                if name in names
                else np.zeros(len(steps), bool)
                for steps, names, _, measured in self._parts
            ]
        )
        return self.steps[known], self[name][known]

    def get_state(self):
        """All that was written, in arrays."""
        self._join()
        return [
            {"steps": s, "names": list(n), "values": v, "measured": m}
            for s, n, v, m in self._parts
        ]

    def set_state(self, state):
        """Holds what `get_state` gave, and nothing else."""
        self._parts = [
            (p["steps"], tuple(p["names"]), p["values"], p["measured"])
            for p in state
        ]

    def save(self, path):
        """Writes an `.npz` file: `steps`, `names`, and `values` `[n, m]`.

        The file is there whole or not at all.

        Args:
            path: Where to; overwritten if it exists.
        """
        values = [self[name] for name in self.names]
        part = f"{os.fspath(path)}.part"
        with open(part, "wb") as file:
            np.savez_compressed(
                file,
                steps=self.steps,
                names=np.array(self.names, dtype=np.str_),
                values=np.stack(values, 1)
                if values
                else np.empty([0, 0], np.float32),
            )
        os.replace(part, path)

    def _check(self, name):
        """Raises if nothing was written under a name."""
        if name not in self.names:
            raise KeyError(
                f"Nothing is known under the name {name!r}. "
                f"Known names: {self.names}."
            )

    def _join(self):
        """Joins neighbouring parts of the same names, to be read quickly."""
        joined: list = []
        for part in self._parts:
            if joined and joined[-1][0][1] == part[1]:
                joined[-1].append(part)
            else:
                joined.append([part])
        self._parts = [_one(group) for group in joined]


def _one(parts):
    """Parts of the same names as one; a mask only if one has a mask."""
    if len(parts) == 1:
        return parts[0]
    steps, names, values, masks = zip(*parts, strict=True)
    masked = any(mask is not None for mask in masks)
    return (
        np.concatenate(steps),
        names[0],
        np.concatenate(values),
        np.concatenate(
            [
                np.ones(part.shape, bool) if mask is None else mask
                for part, mask in zip(values, masks, strict=True)
            ]
        )
        if masked
        else None,
    )


def _known(measured, column, rows):
    """A column of a mask, bool `[rows]`; all of it if there is no mask."""
    return np.ones(rows, bool) if measured is None else measured[:, column]


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
