"""Sources of one iterator an epoch, and the positions of iterators."""

import abc
import os
import re
import tempfile
import time
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from gdtrain.common.explained import more
from gdtrain.data import pipeline
from gdtrain.data.plans import IteratorInputs, IteratorPlan
from gdtrain.data.protocols import DataSource, Position, Structure


class IteratorSource(DataSource):
    """A `DataSource` of one iterator an epoch.

    Args:
        dataset: The dataset, distributed over replicas.
        batch_spec: That of a batch before it is distributed.
        batches: How many batches there are; `None` if unknown.
        steps_per_epoch: How many steps the user wants; `None` for all that
            there are. Then each epoch continues where the last one ended.
    """

    def __init__(
        self,
        dataset: Any,
        batch_spec: Structure,
        batches: int | None,
        steps_per_epoch: int | None = None,
    ) -> None:
        self._dataset = dataset
        self.batch_spec = batch_spec
        self._wanted = steps_per_epoch
        self._known = batches
        self._seen = 0  # Steps since the iterator was made
        self._iterator: Any = None
        self._taken: Any = None  # Its next batch, if it was taken already
        self._waited = 0.0  # Seconds that taking it took
        self._ran_out = False
        self._within = False  # An epoch that has begun
        spec = dataset.element_spec
        self._plans = IteratorPlan(spec, False), IteratorPlan(spec, True)

    # What the kinds of data differ in

    @abc.abstractmethod
    def _iterator_at(self, position: Position) -> Iterator | None:
        """The iterator at a position; `None` if the next epoch makes one."""

    @abc.abstractmethod
    def _begin_pass(self) -> int | None:
        """Called before each new iterator; returns the number of batches."""

    # Notifications of the data, which may need none

    def _on_epoch_begin(self, epoch: int) -> None:
        pass

    def _on_epoch_end(self, abandoned: bool) -> None:
        pass

    # What they have in common

    def position(self) -> Position:
        return {"seen": self._seen, "ran_out": self._ran_out}

    @property
    def steps_per_epoch(self) -> int | None:
        return self._wanted or self._known

    @property
    def plan(self) -> IteratorPlan:
        return self._plans[self._taken is not None]

    def begin_epoch(self, epoch: int, step: int) -> None:
        """The number of batches may differ when data are read again."""
        if step == 0 and not self._within:
            is_new = self._is_used_up()
            if is_new:
                self._seen, self._ran_out = 0, False
                self._known = self._begin_pass()
            self._enter(epoch)
            if is_new:
                self._make_iterator()

    def has_batch(self, epoch: int, step: int) -> bool:
        """If the number of batches is unknown, the batch is taken and kept."""
        self.begin_epoch(epoch, step)
        if self._known is not None and self._seen < self._known:
            return True
        if self._taken is None:
            is_one = isinstance(self._iterator, tf.data.Iterator)
            start = time.perf_counter()
            self._taken = (_next if is_one else _next_of_any_size)(
                self._iterator
            )
            self._waited = time.perf_counter() - start
        return bool(self._taken.has_value())

    def block_inputs(
        self, epoch: int, step: int, steps: int, room: int | None = None
    ) -> IteratorInputs:
        if not steps:  # Nothing is taken: any iterator will do.
            iterator = self._iterator or iter(self._dataset)
            return self._inputs(iterator)
        self.begin_epoch(epoch, step)
        self._seen += steps
        inputs, self._taken = self._inputs(self._iterator), None
        return inputs

    def _inputs(self, iterator: Any) -> IteratorInputs:
        """Those of an iterator, with the batch that was taken already."""
        if self._taken is None:
            return IteratorInputs(iterator)
        waited = tf.constant(self._waited, tf.float32)
        return IteratorInputs(iterator, self._taken, waited)

    def go_to(self, epoch: int, step: int, position: Position | None) -> None:
        self._leave(abandoned=True)
        if step:
            self._enter(epoch)
        self._iterator = self._taken = None
        self._seen, self._ran_out = 0, False
        if position is not None:
            self._iterator = self._iterator_at(position)
            self._seen = position["seen"]
            self._ran_out = position["ran_out"]
        elif step:
            raise NoPosition(
                "the data cannot be set back to the middle of an epoch"
            )

    def end_epoch(self, steps: int, ran_out: bool) -> None:
        if ran_out and (self._wanted or not steps):
            warnings.warn(
                f"Your input ran out of data after {steps} steps of an epoch"
                + (f" of {self._wanted}" if self._wanted else "")
                + ". Give `fit` a dataset that has steps_per_epoch * epochs "
                "batches, for example by `.repeat()`, or a smaller "
                "`steps_per_epoch`." + more("data-ran-out"),
                stacklevel=2,
            )
        self._ran_out = ran_out
        self._leave(abandoned=False)

    def _make_iterator(self) -> None:
        self._iterator, self._taken = iter(self._dataset), None

    def _is_used_up(self) -> bool:
        """Whether the next epoch needs a new iterator."""
        if self._iterator is None or self._ran_out:
            return True
        if self._known is not None and self._seen >= self._known:
            return True
        return not self._wanted and self._seen > 0

    def _enter(self, epoch: int) -> None:
        self._within = True
        self._on_epoch_begin(epoch)

    def _leave(self, abandoned: bool) -> None:
        """Ends or abandons an epoch, if one has begun."""
        if self._within:  # Not if there was no step
            self._within = False
            self._on_epoch_end(abandoned)


def untuned(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """A dataset whose iterators have no thread that tunes them.

    Freeing an iterator waits for that thread, which may miss that it is to end
    and then sleeps on: up to as long as the iterator has been there, a minute
    at most (TensorFlow 2.21): an epoch of half a second may take twice as
    long. A pipeline whose work is done in Python needs none, nor does one
    without `AUTOTUNE`.

    Example:

    >>> untuned(tf.data.Dataset.range(3)).options().autotune.enabled
    False
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


def _next(iterator: Any) -> tf.experimental.Optional:
    return iterator.get_next_as_optional()


# Of a distributed iterator, TensorFlow gives the sizes of this very batch as
# those of all, unless the program is to serve all.
_next_of_any_size = tf.function(_next, autograph=False)


class NoPosition(ValueError):
    """Why the position of data cannot be restored.

    Example:

    >>> str(NoPosition("a generator has no positions"))
    'a generator has no positions'
    """


Files = dict[str, np.ndarray]  # uint8 contents by name

_NAME = "iterator"
_PLACES = re.compile(r"\{\{[^}]*\}\} | \[Op:.*")  # In TensorFlow's messages


def of(iterator: Iterator) -> Files:
    """The files of its checkpoint.

    They contain what the pipeline buffers, for a shuffle for example.

    Raises:
        NoPosition: if TensorFlow cannot save it.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, _NAME)
        try:
            tf.train.Checkpoint(iterator=iterator).write(path)
        except (ValueError, tf.errors.OpError) as error:
            why = _PLACES.sub("", str(error).partition("\n")[0]).rstrip(". ")
            raise NoPosition(
                f"TensorFlow cannot save the position of its iterator ({why})"
            ) from error
        return {
            name: np.fromfile(os.path.join(folder, name), np.uint8)
            for name in sorted(os.listdir(folder))
        }


def restore(iterator: Iterator, files: Files) -> None:
    """Sets an iterator of the same pipeline to the position in `files`."""
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            content.tofile(os.path.join(folder, os.path.basename(name)))
        path = os.path.join(folder, _NAME)
        tf.train.Checkpoint(iterator=iterator).read(path).assert_consumed()


def check(dataset: tf.data.Dataset) -> None:
    """Raises `NoPosition` if a pipeline shuffles twice.

    The first shuffle begins its pass only with the first batch, and may have
    ended then: no checkpoint says which pass it was.
    """
    graph = pipeline.graph(dataset)
    most = 0
    shuffles: dict[str, int] = {}  # Up to a node, which come in order
    for node in graph.node:
        before = [shuffles.get(name.split(":")[0], 0) for name in node.input]
        shuffles[node.name] = max(before, default=0) + (
            node.op.startswith("Shuffle")
        )
        most = max(most, shuffles[node.name])
    if most > 1:
        raise NoPosition("the pipeline shuffles twice, one after the other")
