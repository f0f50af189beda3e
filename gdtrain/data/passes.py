"""Passes over a user's data, and positions within them."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from gdtrain.data import iterators, pipeline
from gdtrain.data.iterators import NoPosition
from gdtrain.data.protocols import Position


class Passes(Protocol):
    """Makes iterators over data, one a pass, and restores their positions."""

    def begin(self) -> Iterator:
        """The iterator of a new pass."""

    def position(self, iterator: Iterator, read: int) -> Position:
        """The position of an iterator that has given `read` batches.

        Raises:
            NoPosition: if it could not be restored.
        """

    def at(self, position: Position, read: int) -> Iterator:
        """The iterator at a position that `position` returned."""


class PipelinePasses(Passes):
    """Passes over a `tf.data` pipeline.

    A pipeline counts its passes, and shuffles by that count. The checkpoint of
    an iterator sets the count, too, unless the iterator had read ahead to the
    end of the data. Then iterators that are made after it depend on what was
    before, as two restored ones show, and such a pass is read again from where
    its iterator was at first.

    Args:
        given: The pipeline.
        dataset: What iterators are made of: the pipeline, or the dataset that
            distributes it.
    """

    def __init__(self, given: tf.data.Dataset, dataset: Any) -> None:
        self._given = given
        self._dataset = dataset
        self._start: Any = None  # Where it was before its first batch
        self._keeps_start = False

    def begin(self) -> Iterator:
        iterator = iter(self._dataset)
        if self._keeps_start:
            self._start = iterators.of(iterator)
        return iterator

    def position(self, iterator: Iterator, read: int) -> Position:
        try:
            files = iterators.of(iterator)
        except NoPosition as error:
            names = pipeline.impure_operations(self._given)
            uses = f"maps of the pipeline use {', '.join(names)}: "
            raise NoPosition(f"{uses if names else ''}{error}") from error
        if not self._keeps_start:
            iterators.check(self._given)
            self._start = None if read else files
            self._keeps_start = True
        return {"iterator": files, "start": self._start}

    def at(self, position: Position, read: int) -> Iterator:
        self._start = position["start"]
        iterator = iter(self._dataset)
        iterators.restore(iterator, position["iterator"])
        once = iterators.of(iter(self._dataset))
        iterators.restore(iterator, position["iterator"])
        twice = iterators.of(iter(self._dataset))
        same = all(map(np.array_equal, once.values(), twice.values()))
        if self._start is None or same:
            iterators.restore(iterator, position["iterator"])
        else:
            iterators.restore(iterator, self._start)
            for _ in range(read):
                next(iterator, None)
        return iterator


class PythonPasses(Passes):
    """Passes over what Python iterates over.

    Iterators with `get_state()` and `set_state(state)`, as Grain's, have
    positions.

    Args:
        make: Returns what the iterator of a pass is made of.
    """

    def __init__(self, make: Callable[[], Iterable]) -> None:
        self._make = make

    def begin(self) -> Iterator:
        return iter(self._make())

    def position(self, iterator: Iterator, read: int) -> Position:
        if not hasattr(iterator, "get_state"):  # The user's, or a library's
            raise NoPosition(
                f"a {type(iterator).__name__} has no `get_state()` and "
                "`set_state(state)`"
            )
        state = iterator.get_state()
        if isinstance(state, bytes):
            return {"bytes": np.frombuffer(state, np.uint8)}
        return {"state": state}

    def at(self, position: Position, read: int) -> Iterator:
        iterator: Any = self.begin()
        is_bytes = "bytes" in position
        iterator.set_state(
            position["bytes"].tobytes() if is_bytes else position["state"]
        )
        return iterator
