"""Means, least and greatest over windows of steps."""

import dataclasses
from typing import Any

import numpy as np

from gdtrain.common import checks
from gdtrain.writers import several

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


class Thinned:
    """Passes on one row for each window of steps, so that files stay small.

    Windows end at the multiples of `every_steps`; a row has that multiple as
    its step. It holds of each name the mean, under the name itself, and
    `<name>/min` and `<name>/max`, over what was measured in the window. A NaN
    makes all three NaN: it is seen however long the window is.

    A window is passed on when its last step or a later one comes. It may
    span several writes. One that is not complete, at `close` or where step
    numbers go back as a new run begins, is passed on with the last step that
    was seen in it.

    Args:
        writer: Where to; see `gdtrain.writers`.
        every_steps: Length of a window, in steps.

    Raises:
        TypeError, ValueError: if `every_steps` is not a positive integer.

    Example:

    >>> from gdtrain.writers.memory import MemoryWriter
    >>> memory = MemoryWriter()
    >>> writer = Thinned(memory, every_steps=2)
    >>> writer.write([1, 2, 3], ["loss"], [[5.0], [3.0], [1.0]])
    >>> writer.close()
    >>> memory.steps.tolist(), memory["loss"].tolist()
    ([2, 3], [4.0, 1.0])
    >>> memory["loss/min"].tolist(), memory["loss/max"].tolist()
    ([3.0, 1.0], [5.0, 1.0])
    """

    def __init__(self, writer, every_steps):
        self._writer = writer
        self._length = checks.positive_integer("every_steps", every_steps)
        self._open: Any = None  # The window that is not complete

    def write(self, steps, names, values, measured=None):
        """Adds steps. See `gdtrain.writers`."""
        steps = np.asarray(steps, np.int64)
        values = np.asarray(values, np.float32)
        if not len(steps):
            return
        if measured is not None:
            measured = np.asarray(measured, bool)
        windows = windows_of(steps, names, values, measured, self._length)
        if self._open is not None:
            goes_on = (
                windows.ends[0] == self._open.ends[0]
                and steps[0] >= self._open.lasts[0]
            )
            windows = self._open.followed_by(windows, goes_on)
        complete = windows.lasts[-1] == windows.ends[-1]
        count = len(windows.ends) - (not complete)
        self._open = None if complete else windows[count:]
        if count:
            self._pass_on(windows.steps()[:count], windows[:count])

    def flush(self):
        """Makes what was passed on readable; an open window stays open."""
        self._writer.flush()

    def get_state(self):
        """The window that is open, and what the writer says of itself."""
        return {
            "open": None if self._open is None else vars(self._open),
            "writer": several.state_of(self._writer),
        }

    def set_state(self, state):
        """Goes on from what `get_state` gave."""
        left = state["open"]
        self._open = None if left is None else Windows(**left)
        several.put_state(self._writer, state["writer"])

    def close(self):
        """Passes on what is left, and closes the writer."""
        if self._open is not None:
            left, self._open = self._open, None
            self._pass_on(left.lasts, left)
        self._writer.close()

    def _pass_on(self, steps, windows):
        """Writes windows, a row each."""
        values, measured = windows.values()
        self._writer.write(
            steps,
            [
                name + what
                for name in windows.names
                for what in ("", "/min", "/max")
            ],
            values.reshape([len(steps), -1]),
            None if measured.all() else measured.reshape([len(steps), -1]),
        )
