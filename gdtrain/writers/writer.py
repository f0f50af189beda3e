"""The interface of writers, and several writers as one."""

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from gdtrain.common import failures
from gdtrain.common.explained import more
from gdtrain.telemetry.step_table import StepTable

Array = npt.ArrayLike
Mask = npt.ArrayLike | None  # `None`: all was measured
Names = Sequence[str]


class Writer(Protocol):
    """Where the numbers of steps go: the interface of a writer.

    Any object with these methods is a writer. One that cannot write raises;
    its caller decides what happens then.

    Example:

    >>> class Printer:
    ...     def write(self, steps, names, values, measured=None):
    ...         for step, row in zip(steps, values):
    ...             print(step, dict(zip(names, row)))
    ...
    ...     def flush(self):
    ...         pass
    ...
    ...     def close(self):
    ...         pass
    >>> writer: Writer = Printer()
    >>> writer.write([1, 2], ["loss"], [[0.5], [0.25]])
    1 {'loss': 0.5}
    2 {'loss': 0.25}
    """

    def write(
        self, steps: Array, names: Names, values: Array, measured: Mask = None
    ) -> None:
        """Adds n steps of m names.

        Args:
            steps: Step numbers, int64 `[n]`.
            names: m names.
            values: Float32 `[n, m]`.
            measured: Bool `[n, m]`, or `None` for all. A number where it is
                `False` was not measured at that step, and is not written; a
                NaN where it is `True` is.
        """

    def flush(self) -> None:
        """After it, all that was written can be read."""

    def close(self) -> None:
        """Flushes, and closes files; a later `write` continues there."""


@runtime_checkable
class StatefulWriter(Writer, Protocol):
    """A writer that can continue exactly where a run was interrupted.

    Example:

    >>> from gdtrain.writers.memory import MemoryWriter
    >>> isinstance(MemoryWriter(), StatefulWriter)
    True
    """

    def get_state(self) -> Any:
        """What was written, or how far: numbers, strings and arrays.

        Returns:
            A dict or list, nested if need be, that a checkpoint can hold.
        """

    def set_state(self, state: Any) -> None:
        """Continues from a state, and drops what was written after it.

        Args:
            state: What `get_state` returned.
        """


def in_parts(
    steps: Array, names: Names, values: Array, measured: Mask, numbers: int
) -> Iterator[StepTable]:
    """Yields what `write` was given, at most so many numbers at a time.

    Example:

    >>> parts = in_parts([1, 2, 3], ["a", "b"], np.zeros([3, 2]), None, 4)
    >>> [part.steps.tolist() for part in parts]
    [[1, 2], [3]]
    """
    with np.errstate(over="ignore"):  # What is too large is infinite.
        table = StepTable(steps, names, values, measured)
    count = max(1, numbers // max(1, len(table.names)))
    for start in range(0, len(table), count):
        yield table[start : start + count]


def state_of(writer: Writer) -> Any:
    """The state of a writer; `None` if it has none."""
    return writer.get_state() if isinstance(writer, StatefulWriter) else None


def restore(writer: Writer, state: Any) -> None:
    """Sets the state of a writer, if it has one.

    Args:
        writer: A writer.
        state: What `state_of` returned.

    Example:

    >>> from gdtrain.writers.memory import MemoryWriter
    >>> one, other = MemoryWriter(), MemoryWriter()
    >>> one.write([1], ["loss"], [[0.5]])
    >>> restore(other, state_of(one))
    >>> other["loss"].tolist()
    [0.5]
    """
    if state is not None and isinstance(writer, StatefulWriter):
        writer.set_state(state)


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
                    "The other writers and training continue."
                    + more("writing-stopped"),
                )
            return None
