"""What windows of steps come to: counts, sums, minima and maxima."""

import dataclasses

import numpy as np

_BLANK = np.array([0, 0, np.inf, -np.inf]).reshape([4, 1, 1])


@dataclasses.dataclass(frozen=True)
class Windows:
    """Consecutive windows of steps, each ending at a multiple of its length.

    Args:
        names: A tuple of m names.
        ends: The last step that each window can hold, int64 `[k]`.
        lasts: The last step that was seen in each, int64 `[k]`.
        sums: How many were measured, their sums, minima and maxima, float64
            `[4, k, m]`.
    """

    names: tuple[str, ...]
    ends: np.ndarray
    lasts: np.ndarray
    sums: np.ndarray

    def __getitem__(self, picked):
        """Some of the windows, by a slice."""
        return Windows(
            self.names,
            self.ends[picked],
            self.lasts[picked],
            self.sums[:, picked],
        )

    def steps(self):
        """The end of each that a later one follows; of others, the last seen.

        Example:

        >>> values = np.zeros([4, 1])
        >>> windows_of(np.array([1, 4, 2, 3]), ["a"], values, None, 3).steps()
        array([3, 4, 3])
        """
        over = np.append(self.ends[1:] > self.ends[:-1], False)
        return np.where(over, self.ends, self.lasts)

    def values(self):
        """Mean, minimum and maximum, float32 `[k, m, 3]`, and if measured."""
        counts, sums, minima, maxima = self.sums
        with np.errstate(invalid="ignore"):  # 0 / 0 where nothing is known
            table = np.stack([sums / counts, minima, maxima], -1)
        measured = np.repeat(counts[..., np.newaxis] > 0, 3, -1)
        return table.astype(np.float32), measured

    def followed_by(self, later, goes_on):
        """These and `later` ones.

        Args:
            later: `Windows`.
            goes_on: Whether the first of `later` is more of the last of these.
        """
        names = tuple(dict.fromkeys([*self.names, *later.names]))
        left, right = self._under(names), later._under(names)
        if goes_on:
            right = np.copy(right)
            right[:, 0] = _together(left[:, -1], right[:, 0])
        kept = len(self.ends) - goes_on
        return Windows(
            names,
            np.append(self.ends[:kept], later.ends),
            np.append(self.lasts[:kept], later.lasts),
            np.concatenate([left[:, :kept], right], 1),
        )

    def _under(self, names):
        """`sums` for these names, blank where a name is not known."""
        if names == self.names:
            return self.sums
        sums = np.tile(_BLANK, [1, len(self.ends), len(names)])
        sums[:, :, [names.index(name) for name in self.names]] = self.sums
        return sums


def windows_of(steps, names, values, measured, length):
    """Windows of what a writer is given; one ends where steps go back.

    Args:
        steps, names, values, measured: As in `gdtrain.writers`, at least one
            step.
        length: Of a window, in steps.
    """
    ends = -(-steps // length) * length
    broken = (np.diff(ends) != 0) | (np.diff(steps) < 0)
    begins = np.append(0, np.flatnonzero(broken) + 1)
    afters = np.append(begins[1:], len(steps))
    if measured is None:
        filled = [values] * 3
        counts = np.repeat((afters - begins)[:, None], values.shape[1], 1)
    else:
        filled = [np.where(measured, values, x) for x in (0, np.inf, -np.inf)]
        counts = np.add.reduceat(measured, begins, 0, np.int64)
    with np.errstate(invalid="ignore"):  # inf - inf
        sums = [
            reduce.reduceat(numbers, begins, 0, np.float64)
            for reduce, numbers in zip(
                (np.add, np.minimum, np.maximum), filled, strict=True
            )
        ]
    return Windows(
        tuple(names),
        ends[begins],
        steps[afters - 1],
        np.stack([counts, *sums]).astype(np.float64, copy=False),
    )


def _together(one, two):
    """Two windows' `[4, m]` as one's."""
    with np.errstate(invalid="ignore"):  # inf - inf
        return np.concatenate(
            [
                one[:2] + two[:2],
                np.minimum(one[2:3], two[2:3]),
                np.maximum(one[3:], two[3:]),
            ]
        )
