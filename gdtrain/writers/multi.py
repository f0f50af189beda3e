"""Several writers as one."""

import functools
from collections.abc import Callable, Iterable
from typing import Any

from gdtrain.common import failures
from gdtrain.writers.writer import Array, Mask, Names, Writer, restore, state_of


class MultiWriter:
    """Passes everything to each of several writers.

    If one raises, a warning says so once, it gets nothing more, and the
    others continue.

    Args:
        writers: Writers; see `gdtrain.writers.Writer`.

    Example:

    >>> from gdtrain.writers.memory import MemoryWriter
    >>> one, two = MemoryWriter(), MemoryWriter()
    >>> writer = MultiWriter([one, two])
    >>> writer.write([1], ["loss"], [[0.5]])
    >>> one["loss"].tolist(), two["loss"].tolist()
    ([0.5], [0.5])
    """

    def __init__(self, writers: Iterable[Writer]) -> None:
        self._writers = list(writers)
        self._failed: set[int] = set()  # Places of those that have raised

    def write(
        self, steps: Array, names: Names, values: Array, measured: Mask = None
    ) -> None:
        """Adds steps to each. See `gdtrain.writers.Writer`."""
        self._each(lambda writer: writer.write(steps, names, values, measured))

    def flush(self) -> None:
        """Flushes each."""
        self._each(lambda writer: writer.flush())

    def close(self) -> None:
        """Closes each."""
        self._each(lambda writer: writer.close())

    def get_state(self) -> list[Any]:
        """The state of each; `None` for one that has none or raises."""
        return [
            self._attempt(index, state_of)
            for index in range(len(self._writers))
        ]

    def set_state(self, state: list[Any]) -> None:
        """Sets the state of each."""
        for index, one in enumerate(state):
            self._attempt(index, functools.partial(restore, state=one))

    def _each(self, do: Callable[[Writer], Any]) -> None:
        """Calls a function with each writer that has not raised."""
        for index in range(len(self._writers)):
            if index not in self._failed:
                self._attempt(index, do)

    def _attempt(self, index: int, do: Callable[[Writer], Any]) -> Any:
        """Calls a function with a writer; returns `None` if it raises."""
        try:
            return do(self._writers[index])
        except Exception as error:
            if index not in self._failed:
                self._failed.add(index)
                failures.warn(
                    f"`{type(self._writers[index]).__name__}` is skipped "
                    "from here on",
                    error,
                    "The other writers and training continue.",
                )
            return None
