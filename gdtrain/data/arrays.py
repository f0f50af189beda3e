"""Arrays, kept on the device or gathered into batches on the host."""

import abc
import math
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from gdtrain.data import data_fingerprint, plans
from gdtrain.data.iterators import IteratorSource, untuned
from gdtrain.data.order import Order
from gdtrain.data.plans import ArrayInputs, ArrayPlan
from gdtrain.data.protocols import DataSource, Position, Structure

_LARGEST_ORDER = 2**18  # Indices passed to a block: 2 MiB
_AHEAD = 2  # Batches that are gathered on the host while a step runs


class ArraySource(DataSource):
    """What sources of arrays have in common.

    Floats are trained on as Keras's `floatx`.

    Args:
        arrays: A structure of arrays of the same length; `None` stays.
        order: The `Order` of the examples.
        strategy: The `tf.distribute.Strategy` to train under.
    """

    def __init__(
        self, arrays: Structure, order: Order, strategy: tf.distribute.Strategy
    ) -> None:
        self._given = arrays
        self._leaves = plans.leaves(arrays)
        self._order = order
        self._strategy = strategy
        floatx = tf.as_dtype(keras.config.floatx())
        dtypes = [tf.as_dtype(leaf.dtype) for leaf in self._leaves]
        self._dtypes = [floatx if d.is_floating else d for d in dtypes]

    @property
    def steps_per_epoch(self) -> int:
        return self._order.batches

    @abc.abstractmethod
    def _local(self) -> list[Any]:
        """The arrays, as they are here."""

    @abc.abstractmethod
    def _tensors_of(self, indices: np.ndarray) -> list[tf.Tensor]:
        """Some examples of each array."""

    def array_at(self, path: Sequence[Any]) -> Any:
        found = self._given
        for step in path:
            try:
                found = found[step]
            except (KeyError, IndexError, TypeError):
                return None
        return found if any(found is leaf for leaf in self._leaves) else None

    def fingerprint(self) -> dict[str, Any]:
        arrays = plans.pack(self._given, self._local())
        return data_fingerprint.of(arrays, self._order.batch_size)

    def batch(
        self, epoch: int, step: int
    ) -> tuple[Structure, np.ndarray] | None:
        indices = self._order.of_batch(epoch, step)
        return plans.pack(self._given, self._tensors_of(indices)), indices

    def position(self) -> Position:
        return {"order": self._order.state()}

    def go_to(self, epoch: int, step: int, position: Position | None) -> None:
        if position is not None:
            self._order.set_state(position["order"])
        super().go_to(epoch, step, position)


class DeviceArrays(ArraySource):
    """A `DataSource` of arrays that are on the device: see `ArraySource`."""

    def __init__(
        self, arrays: Structure, order: Order, strategy: tf.distribute.Strategy
    ) -> None:
        super().__init__(arrays, order, strategy)
        tensors = list(map(tf.cast, self._leaves, self._dtypes))
        self._arrays: list[Any] = tensors
        if strategy.num_replicas_in_sync > 1:  # A copy on the device of each
            copies = strategy.experimental_distribute_values_from_function
            self._arrays = [
                copies(lambda _, t=t: tf.identity(t)) for t in tensors
            ]
        # A batch of everything needs no order.
        self._shuffled = bool(order.shuffle) and order.batches > 1
        specs = [tf.TensorSpec(t.shape, t.dtype) for t in tensors]
        self._plan = ArrayPlan(
            plans.pack(arrays, specs),
            order.batch_size,
            self._shuffled,
            strategy.num_replicas_in_sync,
        )
        self.batch_spec = self._plan.batch_spec

    @property
    def plan(self) -> ArrayPlan:
        return self._plan

    @property
    def most_steps(self) -> float:
        """So many that the order of a block stays small."""
        if not self._shuffled:
            return math.inf
        return max(1, _LARGEST_ORDER // self._order.batch_size)

    def block_inputs(
        self, epoch: int, step: int, steps: int, room: int | None = None
    ) -> ArrayInputs:
        size = self._order.batch_size
        length = (room or steps) * size if self._shuffled else 0
        numbers = np.zeros([2 + length], np.int64)
        numbers[:2] = self._order.examples, step
        if self._shuffled:
            epochs = math.ceil((step + steps) / self._order.batches)
            order = self._order.of_epochs(epoch, epochs).ravel()
            order = order[step * size :][: steps * size]
            numbers[2 : 2 + len(order)] = order
        return ArrayInputs(self._arrays, tf.constant(numbers))

    def _local(self) -> list[Any]:
        copies = self._strategy.experimental_local_results
        return [copies(array)[0] for array in self._arrays]

    def _tensors_of(self, indices: np.ndarray) -> list[tf.Tensor]:
        return [tf.gather(array, indices) for array in self._local()]


class HostArrays(ArraySource, IteratorSource):
    """A `DataSource` of arrays that stay in place, a memory map for example.

    Its batches are those of `DeviceArrays` of the same order. Beside the
    arrays, it needs memory for a few batches and the order of one epoch.

    Args:
        arrays, order, strategy: As in `ArraySource`.
        steps_per_epoch: As in `IteratorSource`. A pass over the data then has
            the order of the epoch in which it begins.
    """

    def __init__(
        self,
        arrays: Structure,
        order: Order,
        strategy: tf.distribute.Strategy,
        steps_per_epoch: int | None = None,
    ) -> None:
        ArraySource.__init__(self, arrays, order, strategy)
        self._indices = np.arange(order.examples)
        self._pass_epoch = 0  # The epoch in which the pass began
        self._is_new_pass = False
        spec = self._parts(tf.distribute.InputContext()).element_spec
        IteratorSource.__init__(
            self, self._distributed(), spec, order.batches, steps_per_epoch
        )

    @property
    def steps_per_epoch(self) -> int:
        return self._wanted or self._order.batches

    def batch(
        self, epoch: int, step: int
    ) -> tuple[Structure, np.ndarray] | None:
        # Which batch a step had depends on where the passes began.
        return None if self._wanted else ArraySource.batch(self, epoch, step)

    def _local(self) -> list[Any]:
        return self._leaves

    def _tensors_of(self, indices: np.ndarray) -> list[tf.Tensor]:
        return [tf.constant(part) for part in self._gathered(indices)]

    def position(self) -> Position:
        own = {"pass_epoch": self._pass_epoch}
        return super().position() | IteratorSource.position(self) | own

    def _iterator_at(self, position: Position) -> Iterator | None:
        seen = position["seen"]
        if seen == 0 or seen == self._order.batches and not self._wanted:
            return None
        self._shuffle(position["pass_epoch"])
        return iter(self._distributed(seen))

    def _begin_pass(self) -> int:
        self._is_new_pass = True
        return self._order.batches

    def _on_epoch_begin(self, epoch: int) -> None:
        if self._is_new_pass or not self._wanted:
            self._shuffle(epoch)
        self._is_new_pass = False

    def _shuffle(self, epoch: int) -> None:
        """Takes the order of an epoch."""
        self._pass_epoch = epoch
        if self._order.shuffle:
            self._indices = self._order.of_epochs(epoch, 1)[0]

    def _distributed(self, start: int = 0) -> Any:
        # Each worker gathers what its own replicas take, and no more.
        if self._strategy.num_replicas_in_sync == 1:
            return self._parts(tf.distribute.InputContext(), start)
        return self._strategy.distribute_datasets_from_function(
            lambda context: self._parts(context, start)
        )

    def _parts(
        self, context: tf.distribute.InputContext, start: int = 0
    ) -> tf.data.Dataset:
        """The parts of batches that one worker takes, from a first batch on."""
        replicas = context.num_replicas_in_sync
        local = replicas // context.num_input_pipelines
        size = self._order.batch_size
        even = self._order.examples % size == 0
        length = size if even and replicas == 1 else None

        def gather(count: tf.Tensor) -> list[np.ndarray]:
            step, replica = divmod(int(count), local)
            replica += context.input_pipeline_id * local
            batch = self._indices[step * size :][:size]
            begin = len(batch) * replica // replicas
            end = len(batch) * (replica + 1) // replicas
            return self._gathered(batch[begin:end])

        def packed(count: tf.Tensor) -> Structure:
            parts = tf.numpy_function(gather, [count], self._dtypes)
            whole = zip(parts, self._leaves, strict=True)
            return plans.pack(
                self._given,
                [tf.ensure_shape(p, [length, *a.shape[1:]]) for p, a in whole],
            )

        batches = self._order.batches
        counts = tf.data.Dataset.range(start * local, batches * local)
        return untuned(counts.map(packed).prefetch(_AHEAD))

    def _gathered(self, indices: np.ndarray) -> list[np.ndarray]:
        """Some examples of each array."""
        return [
            np.asarray(array[indices], dtype.as_numpy_dtype)
            for array, dtype in zip(self._leaves, self._dtypes, strict=True)
        ]
