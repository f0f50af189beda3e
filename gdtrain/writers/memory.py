"""Numbers kept in memory."""

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
    """

    def __init__(self):
        self._parts = []

    def write(self, steps, names, values):
        """Adds steps. See `gdtrain.writers`."""
        self._parts.append(
            (
                np.asarray(steps, np.int64),
                tuple(names),
                np.asarray(values, np.float32),
            )
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
            [np.empty(0, np.int64), *(steps for steps, _, _ in self._parts)]
        )

    @property
    def names(self):
        """Names in the order in which they came, a list."""
        return list(
            dict.fromkeys(name for _, names, _ in self._parts for name in names)
        )

    def __getitem__(self, name):
        """Values of one name, float32 `[n]`; NaN where it was not written.

        Raises:
            KeyError: if nothing was written under that name.
        """
        if name not in self.names:
            raise KeyError(
                f"Nothing is known under the name {name!r}. "
                f"Known names: {self.names}."
            )
        self._join()
        return np.concatenate(
            [
                values[:, names.index(name)]
                if name in names
                else np.full(len(steps), np.nan, np.float32)
                for steps, names, values in self._parts
            ]
        )

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

    def _join(self):
        """Joins neighbouring parts of the same names, to be read quickly."""
        joined: list = []
        for part in self._parts:
            if joined and joined[-1][0][1] == part[1]:
                joined[-1].append(part)
            else:
                joined.append([part])
        self._parts = [
            (
                np.concatenate([steps for steps, _, _ in group]),
                group[0][1],
                np.concatenate([values for _, _, values in group]),
            )
            for group in joined
        ]
