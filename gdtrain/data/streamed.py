"""Arrays too large for the device: batches are gathered on the host."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from gdtrain.data import data_fingerprint
from gdtrain.data.arrays import ArrayLeaves, as_float
from gdtrain.data.iterators import IteratorSource
from gdtrain.data.order import Order
from gdtrain.data.protocols import Position, Structure

_AHEAD = 2  # Batches that are gathered while a step runs


class HostArrays(IteratorSource):
    """A `DataSource` of arrays that stay in place, a memory map for example.

    Its batches are those of `DeviceArrays` of the same order. Beside the
    arrays, it needs memory for a few batches and the order of one epoch.

    Args:
        arrays: A structure of NumPy arrays of the same length; `None` stays.
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
        self._dtypes = [as_float(a.dtype) for a in self._leaves.all]
        self._examples = len(self._leaves)
        self._batch_size = min(batch_size, self._examples)
        self._batches = math.ceil(self._examples / self._batch_size)
        self._order = order
        self._indices = np.arange(self._examples)
        self._strategy = strategy
        spec = self._parts(0, 1, 1).element_spec
        super().__init__(self._distributed(), spec, self._batches)

    def array_at(self, path: Sequence[Any]) -> Any:
        return self._leaves.at(path)

    def fingerprint(self) -> dict[str, Any]:
        arrays = self._leaves.pack(self._leaves.all)
        return data_fingerprint.of(arrays, self._batch_size)

    def batch(self, epoch: int, step: int) -> tuple[Structure, np.ndarray]:
        indices = self._order.of_batch(epoch, step)
        parts = map(tf.constant, self._gathered(indices))
        return self._leaves.pack(parts), indices

    def position(self) -> Position:
        return {
            "order": self._order.state(),
            "seen": self._seen,
            "ran_out": self._ran_out,
        }

    def go_to(self, epoch: int, step: int, position: Position | None) -> None:
        if position is not None:
            self._order.set_state(position["order"])
        super().go_to(epoch, step, position)

    def _iterator_at(self, position: Position) -> Iterator | None:
        seen = position["seen"]
        if seen in (0, self._batches):
            return None
        return iter(self._distributed(seen))

    def _begin_pass(self) -> int:
        return self._batches

    def _on_epoch_begin(self, epoch: int) -> None:
        if self._order.shuffle:
            self._indices = self._order.of_epochs(epoch, 1)[0]

    def _distributed(self, start: int = 0) -> Any:
        # Each worker gathers what its own replicas take, and no more.
        replicas = self._strategy.num_replicas_in_sync
        if replicas == 1:
            return self._parts(0, 1, 1, start)
        return self._strategy.distribute_datasets_from_function(
            lambda context: self._parts(
                context.input_pipeline_id,
                replicas // context.num_input_pipelines,
                replicas,
                start,
            )
        )

    def _parts(
        self, worker: int, local: int, replicas: int, start: int = 0
    ) -> tf.data.Dataset:
        """The parts of batches that one worker takes, one after another.

        Args:
            worker: Which one, from 0.
            local: How many replicas it has.
            replicas: How many there are in all.
            start: The first batch.
        """
        even = self._examples % self._batch_size == 0
        length = self._batch_size if even and replicas == 1 else None

        def gather(count: tf.Tensor) -> list[np.ndarray]:
            step, replica = divmod(int(count), local)
            replica += worker * local
            batch = self._indices[step * self._batch_size :]
            batch = batch[: self._batch_size]
            begin = len(batch) * replica // replicas
            end = len(batch) * (replica + 1) // replicas
            return self._gathered(batch[begin:end])

        def packed(count: tf.Tensor) -> Structure:
            parts = tf.numpy_function(gather, [count], self._dtypes)
            return self._leaves.pack(
                tf.ensure_shape(part, [length, *array.shape[1:]])
                for part, array in zip(parts, self._leaves.all, strict=True)
            )

        counts = tf.data.Dataset.range(start * local, self._batches * local)
        return counts.map(packed).prefetch(_AHEAD)

    def _gathered(self, indices: np.ndarray) -> list[np.ndarray]:
        """Some examples of each array."""
        return [
            np.asarray(array[indices], dtype.as_numpy_dtype)
            for array, dtype in zip(self._leaves.all, self._dtypes, strict=True)
        ]
