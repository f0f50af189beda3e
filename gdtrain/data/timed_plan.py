"""Batches of an iterator, with the time that they are waited for.

In each step, TensorFlow asks all of several workers whether any has a batch.
That is where they wait for one whose data are slow.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import tensorflow as tf

from gdtrain.data.plans import IteratorInputs, IteratorPlan
from gdtrain.data.protocols import BatchPlan, Structure


class TimedCursor(NamedTuple):
    """The next batch of an `IteratorPlan`.

    Args:
        next: The batch, if there is one.
        input_wait: Seconds until this worker had it, float32.
        waited: Seconds from when this worker knew it until all did, float32.
    """

    next: Any
    input_wait: tf.Tensor
    waited: tf.Tensor


class TimedPlan(BatchPlan):
    """An `IteratorPlan` whose cursors say how long they took. Traced.

    Args:
        plan: The plan.
    """

    def __init__(self, plan: IteratorPlan) -> None:
        self._plan = plan
        self.family, self.key = plan.family, plan.key

    def first(self, opened: IteratorInputs) -> TimedCursor:
        begin = tf.timestamp()
        with tf.control_dependencies([begin]), _reductions_timed() as reduced:
            batch = self._plan.first(opened)
            waited = reduced()
        if opened.waited is not None:  # Python took it.
            return TimedCursor(batch, opened.waited, waited)
        known = [*tf.nest.flatten(batch, expand_composites=True), waited]
        with tf.control_dependencies(known):
            seconds = tf.cast(tf.timestamp() - begin, tf.float32)
        return TimedCursor(batch, seconds - waited, waited)

    def has_batch(
        self, opened: IteratorInputs, cursor: TimedCursor
    ) -> tf.Tensor:
        return self._plan.has_batch(opened, cursor.next)

    def advance(
        self, opened: IteratorInputs, cursor: TimedCursor, wanted: Any
    ) -> TimedCursor:
        return tf.cond(
            wanted,
            lambda: self.first(IteratorInputs(opened.iterator)),
            lambda: cursor,
        )

    def fetch(
        self, opened: IteratorInputs, cursor: TimedCursor, last: bool = False
    ) -> Structure:
        return self._plan.fetch(opened, cursor.next, last)


@contextlib.contextmanager
def _reductions_timed() -> Iterator[Callable[[], tf.Tensor]]:
    """Times what workers reduce outside of replicas, while it is traced.

    Yields:
        A function that gives the seconds, a float32 scalar.
    """
    kind = tf.distribute.MultiWorkerMirroredStrategy
    reduce, found = kind.reduce, [tf.zeros(())]

    def timed(self: Any, reduce_op: Any, value: Any, axis: Any) -> Any:
        with tf.control_dependencies([value]):
            begin = tf.timestamp()
        with tf.control_dependencies([begin]):
            value = tf.identity(value)
        reduced = reduce(self, reduce_op, value, axis)
        with tf.control_dependencies([reduced]):
            found.append(tf.cast(tf.timestamp() - begin, tf.float32))
        return reduced

    inherits = "reduce" not in vars(kind)
    kind.reduce = timed
    try:
        yield lambda: tf.add_n(found)
    finally:
        if inherits:
            del kind.reduce
        else:
            kind.reduce = reduce
