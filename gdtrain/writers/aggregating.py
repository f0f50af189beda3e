"""Means, minima and maxima over windows of steps."""

from typing import Any, NamedTuple

import numpy as np

from gdtrain.common import checks
from gdtrain.telemetry.step_table import StepTable
from gdtrain.writers.writer import Array, Mask, Names, Writer, restore, state_of

_BLANK = np.array([0, 0, np.inf, -np.inf]).reshape([4, 1, 1])


class _Windows(NamedTuple):
    """Consecutive windows of steps, or parts of them.

    Args:
        names: m names.
        lasts: The last step that was seen in each, int64 `[k]`.
        sums: How many numbers were measured, their sums, minima and maxima,
            float64 `[4, k, m]`.
    """

    names: tuple[str, ...] = ()
    lasts: np.ndarray = np.zeros(0, np.int64)
    sums: np.ndarray = np.zeros([4, 0, 0])

    def followed_by(self, table: StepTable) -> "_Windows":
        """The same, and each later step as a part of a window."""
        names = tuple(dict.fromkeys([*self.names, *table.names]))
        lasts = np.append(self.lasts, table.steps)
        values = table.array.astype(np.float64)
        known: Any = True if table.mask is None else table.mask
        sums = np.tile(_BLANK, [1, len(lasts), len(names)])
        columns = [names.index(name) for name in self.names]
        sums[:, : len(self.lasts), columns] = self.sums
        columns = [names.index(name) for name in table.names]
        rows = [known, *(np.where(known, values, x) for x in _BLANK[1:])]
        for number, row in zip(sums, rows, strict=True):
            number[len(self.lasts) :, columns] = row
        return _Windows(names, lasts, sums)

    def merged(self, length: int) -> "_Windows":
        """Each window as one; it ends at a multiple of its length.

        A window also ends where step numbers decrease.
        """
        broken = np.diff(_ends(self.lasts, length)) != 0
        broken |= np.diff(self.lasts) < 0
        begins = np.append(0, np.flatnonzero(broken) + 1)
        with np.errstate(invalid="ignore"):  # inf - inf
            sums = [
                reduce.reduceat(numbers, begins)
                for reduce, numbers in zip(
                    (np.add, np.add, np.minimum, np.maximum),
                    self.sums,
                    strict=True,
                )
            ]
        lasts = self.lasts[np.append(begins[1:], len(self.lasts)) - 1]
        return _Windows(self.names, lasts, np.stack(sums))


def _ends(steps: np.ndarray, length: int) -> np.ndarray:
    """The multiples at which the windows of some steps end."""
    return -(-steps // length) * length


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
        self._open = _Windows()  # The window that is incomplete, if any

    def write(
        self, steps: Array, names: Names, values: Array, measured: Mask = None
    ) -> None:
        """Adds steps. See `gdtrain.writers.Writer`."""
        table = StepTable(steps, names, values, measured)
        if not len(table):
            return
        windows = self._open.followed_by(table).merged(self._length)
        ends = _ends(windows.lasts, self._length)
        # One that is broken off by a new run ends at the last step seen.
        is_complete = windows.lasts[-1] == ends[-1]
        is_whole = np.append(ends[1:] > ends[:-1], is_complete)
        at = np.where(is_whole, ends, windows.lasts)
        count = len(ends) - (not is_complete)
        self._open = _Windows()
        if not is_complete:
            self._open = _Windows(
                windows.names, windows.lasts[-1:], windows.sums[:, -1:]
            )
        if count:
            self._write(at[:count], windows.names, windows.sums[:, :count])

    def flush(self) -> None:
        """Makes what was written readable; an open window stays open."""
        self._writer.flush()

    def get_state(self) -> dict[str, Any]:
        """The open window, and the state of the writer."""
        return {
            "open": self._open._asdict() if len(self._open.lasts) else None,
            "writer": state_of(self._writer),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Continues from what `get_state` returned."""
        self._open = _Windows(**(state["open"] or {}))
        restore(self._writer, state["writer"])

    def close(self) -> None:
        """Writes the open window, and closes the writer."""
        window, self._open = self._open, _Windows()
        if len(window.lasts):
            self._write(window.lasts, window.names, window.sums)
        self._writer.close()

    def _write(
        self, steps: np.ndarray, names: tuple[str, ...], sums: np.ndarray
    ) -> None:
        """Writes mean, minimum and maximum of windows, a row each."""
        counts, totals, minima, maxima = sums
        with np.errstate(invalid="ignore"):  # 0 / 0 where nothing is known
            table = np.stack([totals / counts, minima, maxima], -1)
        measured = np.repeat(counts > 0, 3, -1)
        self._writer.write(
            steps,
            [name + end for name in names for end in ("", "/min", "/max")],
            table.astype(np.float32).reshape(measured.shape),
            None if measured.all() else measured,
        )
