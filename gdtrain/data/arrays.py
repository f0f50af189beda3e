"""Arrays on the device, gathered into batches within the program."""

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from gdtrain.data import data_fingerprint
from gdtrain.data.order import Order
from gdtrain.data.protocols import Position, Structure


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


class ArrayPlan:
    """Makes batches of `DeviceArrays`; an `EpochPlan`.

    Args:
        arrays: A structure of which that of a batch is one; `None` stays.
        specs: A `tf.TensorSpec` for each array.
        batch_size: How many examples are in a batch.
        shuffled: Whether there is an order.
        replicas: How many replicas share a batch.
    """

    epochs_can_follow = True

    def __init__(
        self,
        arrays: "ArrayLeaves",
        specs: list[tf.TensorSpec],
        batch_size: int,
        shuffled: bool,
        replicas: int,
    ) -> None:
        self._leaves = arrays
        self._batch_size = batch_size
        self._shuffled = shuffled
        self._replicas = replicas
        self.examples: int = specs[0].shape[0]
        self._even = self.examples % batch_size == 0
        self.has_one_batch = self.examples == batch_size
        any_size = [tf.TensorSpec([None, *s.shape[1:]], s.dtype) for s in specs]
        self.batch_spec = arrays.pack(any_size)
        # Programs for a batch of everything are made for its size until
        # `take_any_size`; other batches have one size, or an uneven last one.
        self._specs = specs if self.has_one_batch else any_size
        self._any_size = any_size
        self.family = repr(
            ("arrays", arrays.names, any_size, self._even, shuffled, replicas)
            + (self.has_one_batch or batch_size,)
        )
        self.key = repr((self.family, self._specs))

    def take_any_size(self) -> None:
        self._specs = self._any_size
        self.key = repr((self.family, self._specs))

    def signature(self, block_inputs: ArrayInputs, static: bool) -> ArrayInputs:
        if static:
            return block_inputs
        arrays = [
            _for_each_replica(spec, array)
            for spec, array in zip(
                self._specs, block_inputs.arrays, strict=True
            )
        ]
        return ArrayInputs(arrays, tf.TensorSpec([None], tf.int64))

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

    def has_uneven_last(self, opened: OpenedArrays) -> bool:
        return opened.uneven

    def first(self, opened: OpenedArrays) -> ArrayCursor:
        # The place is part of the cursor as XLA would otherwise compile the
        # program for each of its values: it needs the place of a slice that
        # does not change within a loop to be known (TensorFlow 2.21).
        return ArrayCursor(opened.numbers[1], tf.constant(2, tf.int64))

    def has_batch(self, opened: OpenedArrays, cursor: ArrayCursor) -> tf.Tensor:
        return tf.less(cursor.step, opened.steps - int(opened.uneven))

    def advance(
        self, opened: OpenedArrays, cursor: ArrayCursor, wanted: Any
    ) -> ArrayCursor:
        return ArrayCursor(cursor.step + 1, cursor.place + self._batch_size)

    def starts_epoch(self, cursor: ArrayCursor) -> bool | tf.Tensor:
        return self.has_one_batch or tf.equal(cursor.step, 0)

    def ends_epoch(
        self, opened: OpenedArrays, cursor: ArrayCursor
    ) -> bool | tf.Tensor:
        return self.has_one_batch or tf.equal(cursor.step, opened.steps)

    def next_epoch(
        self, opened: OpenedArrays, cursor: ArrayCursor
    ) -> ArrayCursor:
        missing = opened.steps * self._batch_size - opened.examples
        return ArrayCursor(tf.constant(0, tf.int64), cursor.place - missing)

    def fetch(
        self, opened: OpenedArrays, cursor: ArrayCursor, last: bool = False
    ) -> tuple[list, tf.Tensor | None]:
        """`(arrays, indices)`; `None` for all examples."""
        if self.has_one_batch and self._replicas == 1:
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
        return self._leaves.pack(arrays)


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


class ArrayLeaves:
    """The arrays in a structure, and the structure without them.

    Args:
        arrays: A structure of arrays of the same length; `None` stays.

    Example:

    >>> arrays = ArrayLeaves((np.zeros([4, 2]), None, np.ones([4])))
    >>> len(arrays), arrays.pack(["x", "weights"])
    (4, ('x', None, 'weights'))
    """

    def __init__(self, arrays: Structure) -> None:
        self.given = arrays
        self.all = [a for a in keras.tree.flatten(arrays) if a is not None]
        #: The structure with 0 in the place of arrays
        self.names = keras.tree.map_structure(
            lambda leaf: None if leaf is None else 0, arrays
        )

    def __len__(self) -> int:
        return int(self.all[0].shape[0])

    def pack(self, leaves: Iterable) -> Structure:
        """One leaf for each array, in the structure."""
        rest = iter(leaves)
        return keras.tree.map_structure(
            lambda leaf: None if leaf is None else next(rest), self.names
        )

    def at(self, path: Sequence[Any]) -> Any:
        """The array at a path of the structure; `None` if there is none."""
        found = self.given
        for step in path:
            try:
                found = found[step]
            except (KeyError, IndexError, TypeError):
                return None
        return found if hasattr(found, "shape") else None


def as_float(dtype: Any) -> tf.DType:
    """The dtype that data is trained on: of floats, Keras's `floatx`."""
    dtype = tf.as_dtype(dtype)
    return tf.as_dtype(keras.config.floatx()) if dtype.is_floating else dtype


_LARGEST_ORDER = 2**18  # Indices passed to a block: 2 MiB


class DeviceArrays:
    """A `DataSource` of arrays that are on the device.

    Args:
        arrays: A structure of arrays of the same length; `None` stays.
        batch_size: How many examples are in a batch; the last may have fewer.
        order: The `Order` of the examples.
        strategy: The `tf.distribute.Strategy` to train under.
    """

    def __init__(
        self,
        arrays: Structure,
        batch_size: int,
        order: Order,
        strategy: tf.distribute.Strategy,
    ) -> None:
        self._leaves = ArrayLeaves(arrays)
        tensors = [tf.cast(a, as_float(a.dtype)) for a in self._leaves.all]
        self._arrays = [_on_each_replica(t, strategy) for t in tensors]
        self._batch_size = min(batch_size, len(self._leaves))
        self.steps_per_epoch = math.ceil(len(self._leaves) / self._batch_size)
        self._order = order
        self._strategy = strategy
        # A batch of everything needs no order.
        self._shuffled = bool(order.shuffle) and self.steps_per_epoch > 1
        self.plan = ArrayPlan(
            self._leaves,
            [tf.TensorSpec(t.shape, t.dtype) for t in tensors],
            self._batch_size,
            self._shuffled,
            strategy.num_replicas_in_sync,
        )
        self.batch_spec = self.plan.batch_spec

    @property
    def most_steps(self) -> float:
        """So many that the order of a block stays small."""
        if not self._shuffled:
            return math.inf
        return max(1, _LARGEST_ORDER // self._batch_size)

    def block_inputs(
        self, epoch: int, step: int, steps: int, room: int | None = None
    ) -> ArrayInputs:
        length = (room or steps) * self._batch_size if self._shuffled else 0
        numbers = np.zeros([2 + length], np.int64)
        numbers[:2] = len(self._leaves), step
        if self._shuffled:
            epochs = math.ceil((step + steps) / self.steps_per_epoch)
            order = self._order.of_epochs(epoch, epochs).ravel()
            order = order[step * self._batch_size :][: steps * self._batch_size]
            numbers[2 : 2 + len(order)] = order
        return ArrayInputs(self._arrays, tf.constant(numbers))

    def array_at(self, path: Sequence[Any]) -> Any:
        return self._leaves.at(path)

    def fingerprint(self) -> dict[str, Any]:
        arrays = self._leaves.pack(self._on_first_replica())
        return data_fingerprint.of(arrays, self._batch_size)

    def batch(self, epoch: int, step: int) -> tuple[Structure, np.ndarray]:
        indices = self._order.of_batch(epoch, step)
        arrays = [tf.gather(a, indices) for a in self._on_first_replica()]
        return self._leaves.pack(arrays), indices

    def _on_first_replica(self) -> list[tf.Tensor]:
        copies = self._strategy.experimental_local_results
        return [copies(array)[0] for array in self._arrays]

    def position(self) -> Position:
        return {"order": self._order.state()}

    def go_to(self, epoch: int, step: int, position: Position | None) -> None:
        if position is not None:
            self._order.set_state(position["order"])

    # Each epoch has all batches, wherever it begins.

    def has_batch(self, epoch: int, step: int) -> bool:
        return True

    def begin_epoch(self, epoch: int, step: int) -> None:
        pass

    def end_epoch(self, steps: int, ran_out: bool) -> None:
        pass

    def rewind(self) -> None:
        pass


def _on_each_replica(
    tensor: tf.Tensor, strategy: tf.distribute.Strategy
) -> Any:
    """A copy of a tensor on the device of each replica."""
    if strategy.num_replicas_in_sync == 1:
        return tensor
    return strategy.experimental_distribute_values_from_function(
        lambda _: tf.identity(tensor)
    )
