"""Means, minima and maxima over windows of steps."""

import dataclasses
from typing import Any

import numpy as np

from gdtrain.common import checks
from gdtrain.telemetry.step_table import StepTable
from gdtrain.writers.writer import Array, Mask, Names, Writer, restore, state_of

_BLANK = np.array([0, 0, np.inf, -np.inf]).reshape([4, 1, 1])


@dataclasses.dataclass(frozen=True)
class Windows:
    """Consecutive windows of steps, each ending at a multiple of its length.

    Args:
        names: m names.
        ends: The last step that each window can hold, int64 `[k]`.
        lasts: The last step that was seen in each, int64 `[k]`.
        sums: How many numbers were measured, their sums, minima and maxima,
            float64 `[4, k, m]`.
    """

    names: tuple[str, ...]
    ends: np.ndarray
    lasts: np.ndarray
    sums: np.ndarray

    def __getitem__(self, some: slice) -> "Windows":
        """Some of the windows."""
        return Windows(
            self.names, self.ends[some], self.lasts[some], self.sums[:, some]
        )

    def steps(self) -> np.ndarray:
        """The end of each that a later one follows; else the last step seen.

        Example:

        >>> table = StepTable([1, 4, 2, 3], ["a"], np.zeros([4, 1]))
        >>> windows_of(table, 3).steps()
        array([3, 4, 3])
        """
        over = np.append(self.ends[1:] > self.ends[:-1], False)
        return np.where(over, self.ends, self.lasts)

    def rows(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Mean, minimum and maximum by name, and which were measured.

        Returns:
            Float32 and bool `[k, 3 * m]`; `None` if all were measured.
        """
        counts, sums, minima, maxima = self.sums
        with np.errstate(invalid="ignore"):  # 0 / 0 where nothing is known
            table = np.stack([sums / counts, minima, maxima], -1)
        measured = np.repeat(counts > 0, 3, -1)
        return (
            table.astype(np.float32).reshape(measured.shape),
            None if measured.all() else measured,
        )

    def followed_by(self, later: "Windows", first_step: int) -> "Windows":
        """These windows and later ones.

        The first of the later ones continues the last of these if it is of
        the same window and its first step is no earlier.
        """
        continues = (
            later.ends[0] == self.ends[-1] and first_step >= self.lasts[-1]
        )
        names = tuple(dict.fromkeys([*self.names, *later.names]))
        left, right = self._under(names), later._under(names)
        if continues:
            right = np.copy(right)
            right[:, 0] = _together(left[:, -1], right[:, 0])
        kept = len(self.ends) - continues
        return Windows(
            names,
            np.append(self.ends[:kept], later.ends),
            np.append(self.lasts[:kept], later.lasts),
            np.concatenate([left[:, :kept], right], 1),
        )

    def _under(self, names: tuple[str, ...]) -> np.ndarray:
        """`sums` for these names, blank where a name is not known."""
        if names == self.names:
            return self.sums
        sums = np.tile(_BLANK, [1, len(self.ends), len(names)])
        sums[:, :, [names.index(name) for name in self.names]] = self.sums
        return sums


def windows_of(table: StepTable, length: int) -> Windows:
    """The windows of steps; one also ends where step numbers decrease.

    Args:
        table: At least one step.
        length: Of a window, in steps.
    """
    steps, values, measured = table.steps, table.array, table.mask
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
        table.names,
        ends[begins],
        steps[afters - 1],
        np.stack([counts, *sums]).astype(np.float64, copy=False),
    )


def _together(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Two windows' `[4, m]` as one's."""
    with np.errstate(invalid="ignore"):  # inf - inf
        return np.concatenate(
            [
                one[:2] + two[:2],
                np.minimum(one[2:3], two[2:3]),
                np.maximum(one[3:], two[3:]),
            ]
        )


class AggregatingWriter:
    """Writes one row for each window of steps, so that files stay small.

    Windows end at the multiples of `every_steps`, which are the steps of the
    rows. A row has of each name the mean, under the name itself, and
    `<name>/min` and `<name>/max`, over what was measured in the window. A NaN
    makes all three NaN, so that it is seen however long the window is.

    A window is written when its last step or a later one comes. It may span
    several writes. One that is incomplete, at `close` or where step numbers
    decrease as a new run begins, is written at the last step seen in it.

    Args:
        writer: Where to; see `gdtrain.writers.Writer`.
        every_steps: Length of a window, in steps.

    Raises:
        TypeError, ValueError: if `every_steps` is not a positive integer.

    Example:

    >>> from gdtrain.writers.memory import MemoryWriter
    >>> memory = MemoryWriter()
    >>> writer = AggregatingWriter(memory, every_steps=2)
    >>> writer.write([1, 2, 3], ["loss"], [[5.0], [3.0], [1.0]])
    >>> writer.close()
    >>> memory.steps.tolist(), memory["loss"].tolist()
    ([2, 3], [4.0, 1.0])
    >>> memory["loss/min"].tolist(), memory["loss/max"].tolist()
    ([3.0, 1.0], [5.0, 1.0])
    """

    def __init__(self, writer: Writer, every_steps: int) -> None:
        self._writer = writer
        self._length = checks.positive_integer("every_steps", every_steps)
        self._open: Windows | None = None  # The window that is incomplete

    def write(
        self, steps: Array, names: Names, values: Array, measured: Mask = None
    ) -> None:
        """Adds steps. See `gdtrain.writers.Writer`."""
        table = StepTable(steps, names, values, measured)
        if not len(table):
            return
        windows = windows_of(table, self._length)
        if self._open is not None:
            windows = self._open.followed_by(windows, table.first_step)
        is_complete = windows.lasts[-1] == windows.ends[-1]
        count = len(windows.ends) - (not is_complete)
        self._open = None if is_complete else windows[count:]
        if count:
            self._write(windows.steps()[:count], windows[:count])

    def flush(self) -> None:
        """Makes what was written readable; an open window stays open."""
        self._writer.flush()

    def get_state(self) -> dict[str, Any]:
        """The open window, and the state of the writer."""
        return {
            "open": None if self._open is None else vars(self._open),
            "writer": state_of(self._writer),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Continues from what `get_state` returned."""
        window = state["open"]
        self._open = None if window is None else Windows(**window)
        restore(self._writer, state["writer"])

    def close(self) -> None:
        """Writes the open window, and closes the writer."""
        if self._open is not None:
            window, self._open = self._open, None
            self._write(window.lasts, window)
        self._writer.close()

    def _write(self, steps: np.ndarray, windows: Windows) -> None:
        """Writes windows, a row each."""
        names = [
            name + suffix
            for name in windows.names
            for suffix in ("", "/min", "/max")
        ]
        self._writer.write(steps, names, *windows.rows())
