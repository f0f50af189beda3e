"""Batch plans: how a program makes batches of arrays, or of an iterator."""

from collections.abc import Iterable
from typing import Any, NamedTuple, TypeAlias

import keras
import tensorflow as tf

from gdtrain.data.protocols import BatchPlan, Structure


def leaves(structure: Structure) -> list[Any]:
    """The leaves of a structure that are there."""
    return [leaf for leaf in keras.tree.flatten(structure) if leaf is not None]


def pack(structure: Structure, given: Iterable[Any]) -> Structure:
    """A structure with other leaves; `None` stays.

    Example:

    >>> pack((0, None, 0), ["x", "weights"])
    ('x', None, 'weights')
    """
    rest = iter(given)
    return keras.tree.map_structure(
        lambda leaf: None if leaf is None else next(rest), structure
    )


class ArrayInputs(NamedTuple):
    """What a block of steps makes its batches from.

    Args:
        arrays: On several replicas a copy on each.
        numbers: An int64 vector, since each argument of a program costs time:
            how many examples there are; the step of its epoch that the block
            begins with; and, if they are shuffled, the indices of examples
            in their order, from that step on.
    """

    arrays: list
    numbers: tf.Tensor


class OpenedArrays(NamedTuple):
    """What stays the same from step to step of a block.

    Args:
        arrays, numbers: Those of the `ArrayInputs`.
        examples: How many examples there are.
        steps: How many steps an epoch has.
        uneven: Whether the last of them is fetched separately.
    """

    arrays: list
    numbers: tf.Tensor
    examples: int | tf.Tensor
    steps: int | tf.Tensor
    uneven: bool


class ArrayCursor(NamedTuple):
    """The position of a block.

    Args:
        step: The step of its epoch, int64.
        place: Where in `numbers` the indices of its batch begin, int64.
    """

    step: tf.Tensor
    place: tf.Tensor


class ArrayPlan(BatchPlan):
    """Makes batches of `DeviceArrays`; knows where epochs start and end.

    Args:
        specs: A structure of `tf.TensorSpec`, of all examples.
        batch_size: How many examples are in a batch.
        shuffled: Whether there is an order.
        replicas: How many replicas share a batch.

    Attributes:
        has_one_batch: Whether an epoch is one batch of everything.
    """

    epochs_can_follow = True

    def __init__(
        self,
        specs: Structure,
        batch_size: int,
        shuffled: bool,
        replicas: int,
    ) -> None:
        whole = leaves(specs)
        self._batch_size = batch_size
        self._shuffled = shuffled
        self._replicas = replicas
        self.examples: int = whole[0].shape[0]
        self._even = self.examples % batch_size == 0
        self.has_one_batch = self.examples == batch_size
        self.is_whole = self.has_one_batch and replicas == 1
        any_size = [tf.TensorSpec([None, *s.shape[1:]], s.dtype) for s in whole]
        self.batch_spec = pack(specs, any_size)
        # Programs for a batch of everything are made for its size until
        # `take_any_size`; other batches have one size, or an uneven last one.
        self._specs = whole if self.has_one_batch else any_size
        self.family = repr(
            ("arrays", self.batch_spec, self._even, shuffled, replicas)
            + (self.has_one_batch or batch_size,)
        )
        self.key = repr((self.family, self._specs))

    def take_any_size(self) -> None:
        """Changes the key to that of programs for data of any size."""
        self._specs = leaves(self.batch_spec)
        self.key = repr((self.family, self._specs))

    def signature(self, block_inputs: ArrayInputs, static: bool) -> ArrayInputs:
        if static:
            return block_inputs
        arrays = map(_for_each_replica, self._specs, block_inputs.arrays)
        return ArrayInputs(list(arrays), tf.TensorSpec([None], tf.int64))

    # What follows is traced. It depends on the size of the data only where
    # `static` says that it may.

    def open(self, block_inputs: ArrayInputs, static: bool) -> OpenedArrays:
        """XLA must know how many examples a batch has.

        There, the last batch of an epoch is fetched separately unless it is
        as large as the others.
        """
        examples = self.examples if static else block_inputs.numbers[0]
        steps = 1 if self.has_one_batch else -(-examples // self._batch_size)
        uneven = static and not self._even
        return OpenedArrays(
            block_inputs.arrays, block_inputs.numbers, examples, steps, uneven
        )

    def first(self, opened: OpenedArrays) -> ArrayCursor:
        # The place is part of the cursor as XLA would otherwise compile the
        # program for each of its values: it needs the place of a slice that
        # does not change within a loop to be known (TensorFlow 2.21).
        return ArrayCursor(opened.numbers[1], tf.constant(2, tf.int64))

    def has_batch(self, opened: OpenedArrays, cursor: ArrayCursor) -> tf.Tensor:
        return tf.greater(self.batches_left(opened, cursor), 0)

    def batches_left(
        self, opened: OpenedArrays, cursor: ArrayCursor
    ) -> tf.Tensor:
        """How many batches an epoch still has, but for an uneven last."""
        return opened.steps - int(opened.uneven) - cursor.step

    def advance(
        self, opened: OpenedArrays, cursor: ArrayCursor, wanted: Any
    ) -> ArrayCursor:
        return ArrayCursor(cursor.step + 1, cursor.place + self._batch_size)

    def starts_epoch(self, cursor: ArrayCursor) -> bool | tf.Tensor:
        """Whether a step is the first of its epoch."""
        return self.has_one_batch or tf.equal(cursor.step, 0)

    def ends_epoch(
        self, opened: OpenedArrays, cursor: ArrayCursor
    ) -> bool | tf.Tensor:
        """Whether all steps of an epoch are done."""
        return self.has_one_batch or tf.equal(cursor.step, opened.steps)

    def next_epoch(
        self, opened: OpenedArrays, cursor: ArrayCursor
    ) -> ArrayCursor:
        """The cursor at the first step of the next epoch."""
        missing = opened.steps * self._batch_size - opened.examples
        return ArrayCursor(tf.constant(0, tf.int64), cursor.place - missing)

    def fetch(
        self, opened: OpenedArrays, cursor: ArrayCursor, last: bool = False
    ) -> tuple[list, tf.Tensor | None]:
        """`(arrays, indices)`; `None` for all examples."""
        if self.is_whole:
            return opened.arrays, None
        begin = cursor.step * self._batch_size
        size = self._size(opened, begin, last)
        if not self._shuffled:
            return opened.arrays, begin + tf.range(size, dtype=tf.int64)
        return opened.arrays, tf.slice(opened.numbers, [cursor.place], [size])

    def _size(
        self, opened: OpenedArrays, begin: tf.Tensor, last: bool
    ) -> int | tf.Tensor:
        """How many examples a batch has; a Python number if it can be."""
        if last:
            return self.examples % self._batch_size
        if self.has_one_batch:
            return opened.examples
        if self._even or opened.uneven:
            return self._batch_size
        batch_size = tf.cast(self._batch_size, tf.int64)
        return tf.minimum(batch_size, opened.examples - begin)

    def take(self, fetched: tuple[list, tf.Tensor | None]) -> Structure:
        arrays, indices = fetched
        if indices is not None:
            indices = _share(indices) if self._replicas > 1 else indices
            arrays = [tf.gather(array, indices) for array in arrays]
        return pack(self.batch_spec, arrays)


def _for_each_replica(spec: tf.TensorSpec, array: Any) -> Any:
    """A spec for an array, or for its copies on each replica."""
    copies = tf.nest.flatten(array, expand_composites=True)
    if copies[0] is array:
        return spec
    return type(tf.type_spec_from_value(array))(*[spec] * len(copies))


def _share(indices: tf.Tensor) -> tf.Tensor:
    """This replica's part of a batch; they differ by at most one example."""
    context = tf.distribute.get_replica_context()
    replica = tf.cast(context.replica_id_in_sync_group, tf.int64)
    replicas = context.num_replicas_in_sync
    size = indices.shape[0]
    if size is not None and size % replicas == 0:
        part = size // replicas
        return tf.slice(indices, [replica * part], [part])
    size = tf.size(indices, tf.int64)
    begin, end = size * replica // replicas, size * (replica + 1) // replicas
    return tf.slice(indices, [begin], [end - begin])


_Next: TypeAlias = tf.experimental.Optional  # The next batch, if there is one


class IteratorInputs(NamedTuple):
    """What a block of steps takes its batches from.

    Args:
        iterator: The iterator.
        taken: The next batch, a `tf.experimental.Optional`, if it was taken
            from the iterator already, to see whether there is one.
        waited: How many seconds that took, a float32 scalar; `None` if it was
            not taken.
    """

    iterator: Any
    taken: Any = None
    waited: Any = None


class IteratorPlan(BatchPlan):
    """Takes the batches of an `IteratorSource`.

    The cursor is the next batch, if there is one.

    Args:
        element_spec: That of the dataset.
        is_taken: Whether inputs have the next batch separately.
    """

    def __init__(self, element_spec: Structure, is_taken: bool) -> None:
        self.family = self.key = repr(("dataset", element_spec, is_taken))

    def first(self, opened: IteratorInputs) -> _Next:
        if opened.taken is not None:
            return opened.taken
        return opened.iterator.get_next_as_optional()

    def has_batch(self, opened: IteratorInputs, cursor: _Next) -> tf.Tensor:
        return cursor.has_value()

    def advance(
        self, opened: IteratorInputs, cursor: _Next, wanted: Any
    ) -> _Next:
        """A batch is taken from the iterator only if `wanted`."""
        return tf.cond(
            wanted, opened.iterator.get_next_as_optional, lambda: cursor
        )

    def fetch(
        self, opened: IteratorInputs, cursor: _Next, last: bool = False
    ) -> Structure:
        return cursor.get_value()
