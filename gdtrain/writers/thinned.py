"""Many steps as one row: mean, minimum and maximum."""

from typing import Any

import numpy as np

from gdtrain import checks
from gdtrain.writers import states
from gdtrain.writers.windows import Windows, windows_of


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
            "writer": states.get(self._writer),
        }

    def set_state(self, state):
        """Goes on from what `get_state` gave."""
        left = state["open"]
        self._open = None if left is None else Windows(**left)
        states.put(self._writer, state["writer"])

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
