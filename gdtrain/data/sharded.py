"""Examples in shards, in an order that no number of workers changes."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from gdtrain.common import checks
from gdtrain.common.explained import more
from gdtrain.data import data_fingerprint, plans, shard_order
from gdtrain.data.iterators import IteratorSource, untuned
from gdtrain.data.protocols import Position, Structure
from gdtrain.data.shard_order import ShardOrder
from gdtrain.data.shards import Shard, ShardError
from gdtrain.distributed.workers import Workers
from gdtrain.keras_bridge import data

_SAMPLED = 16  # Shards whose first example is part of the fingerprint
_AHEAD = 2  # Batches that are made while a step runs


class ShardedDataset:
    """Examples in shards, each of them once an epoch, for any workers.

    A fixed number of readers take equal parts of each batch. Each of several
    workers runs as many of them, and reads what they read and no more. So a
    batch has the same examples whatever the number of workers, and a run that
    was saved by 8 continues with 4, 2 or 1.

    Shuffling is a pure function of seed and epoch: each reader reads
    stretches of its examples in a new order, and permutes them within
    windows. A run that resumes reads nothing before the windows that it stands
    in. Memory is needed for two windows of each reader of a worker, as readers
    work ahead on threads. `evaluate` and `predict` have the order of the
    shards.

    Args:
        shards: `TFRecordShards`, or a list of `ArrayShard` or other `Shard`.
        batch_size: How many examples a batch of all workers has, a multiple of
            `readers`. The last may have fewer.
        readers: How many readers there are; workers must divide it. Defaults
            to 8.
        window: How many examples of a reader are permuted together. Defaults
            to 512.
        stretch: How many consecutive examples are read together. Defaults to
            32. More for small examples and slow disks; fewer shuffle better.

    Raises:
        ValueError: if an argument cannot be used, or there is no example.

    Example:

    >>> import gdtrain
    >>> x = np.ones([20, 1], "float32")
    >>> shards = [gdtrain.data.ArrayShard((x, x), name) for name in "abc"]
    >>> dataset = gdtrain.data.ShardedDataset(shards, batch_size=8)
    >>> dataset.examples, dataset.steps_per_epoch
    (60, 8)
    >>> model = gdtrain.Sequential([keras.Input([1]), keras.layers.Dense(1)])
    >>> model.compile(gdtrain.GradientDescent(0.1), loss="mse")
    >>> history = model.fit(dataset, verbose=0)
    """

    def __init__(
        self,
        shards: Sequence[Shard],
        batch_size: int,
        readers: int = 8,
        window: int = 512,
        stretch: int = 32,
    ) -> None:
        shard_order.check_sizes(batch_size, readers)
        self.batch_size, self.readers = batch_size, readers
        self.window = checks.positive_integer("window", window)
        self.stretch = checks.positive_integer("stretch", stretch)
        self.shards = [shard for shard in shards if len(shard)]
        self._ends = np.cumsum([len(shard) for shard in self.shards])
        if not self.shards:
            raise ValueError(
                "A `ShardedDataset` must have at least one example. Received: "
                f"{len(shards)} shards without any."
            )
        self.examples = int(self._ends[-1])
        first = self.shards[0].read(0, 1)
        self.structure = keras.tree.lists_to_tuples(first)
        floatx = np.dtype(keras.config.floatx())
        self.leaves = [
            array.astype(floatx) if array.dtype.kind == "f" else array
            for array in map(np.asarray, plans.leaves(self.structure))
        ]

    @property
    def steps_per_epoch(self) -> int:
        """How many batches an epoch has."""
        return self.order(shuffle=True, seed=0).steps

    def order(self, shuffle: bool, seed: int) -> ShardOrder:
        """The order of the examples."""
        return ShardOrder(
            self.examples,
            self.batch_size,
            self.readers,
            self.window,
            self.stretch,
            shuffle,
            seed,
        )

    def fingerprint(self) -> dict[str, Any]:
        """What other data differ in: shards, lengths, first examples."""
        places = np.linspace(0, len(self.shards) - 1, _SAMPLED).astype(int)
        firsts = [self.read(self.shards[i], 0, 1) for i in sorted({*places})]
        content = repr(data_fingerprint.contents("", firsts)).encode()
        listed = [(os.path.basename(s.name), len(s)) for s in self.shards]
        label = f"{len(listed)} shards of {self.examples} examples"
        return {
            "kind": "a ShardedDataset",
            "x": data_fingerprint.digest("data", label, repr(listed).encode()),
            "the first examples": data_fingerprint.digest(
                "data", f"{len(firsts)} shards", content
            ),
            "batch_size": self.batch_size,
            "readers": self.readers,
            "window": self.window,
            "stretch": self.stretch,
        }

    def read(self, shard: Shard, begin: int, end: int) -> list[np.ndarray]:
        """Examples of one shard, a list of arrays as of the first example."""
        try:
            given = plans.leaves(shard.read(begin, end))
        except ShardError:
            raise
        except Exception as error:  # A shard's class may be the user's own.
            raise ShardError(
                f"Examples {begin} to {end - 1} of {shard.name!r} must be "
                f"readable. Received: {type(error).__name__}: {error}. See "
                f"`read` of {type(shard).__name__}." + more("record-files")
            ) from error
        found = [np.asarray(array) for array in given]
        expected = [(end - begin, *leaf.shape[1:]) for leaf in self.leaves]
        if [array.shape for array in found] != expected:
            raise ShardError(
                "All examples must have arrays of the shapes of the first. "
                f"Received: shapes {[a.shape for a in found]} for examples "
                f"{begin} to {end - 1} of {shard.name!r}, where {expected} was "
                "expected." + more("record-files")
            )
        return [
            np.asarray(array, leaf.dtype)
            for array, leaf in zip(found, self.leaves, strict=True)
        ]

    def window_of(
        self, order: ShardOrder, epoch: int, reader: int, number: int
    ) -> list[np.ndarray]:
        """The examples of one window of a reader, in their order."""
        begin = number * order.window
        end = min(begin + order.window, order.lengths[reader])
        parts = []
        segments = order.segments(epoch, reader, begin, end)
        for start, length in zip(
            *map(np.ndarray.tolist, segments), strict=True
        ):
            while length:
                index = int(np.searchsorted(self._ends, start, "right"))
                shard = self.shards[index]
                first = start - int(self._ends[index]) + len(shard)
                count = min(length, len(shard) - first)
                parts.append(self.read(shard, first, first + count))
                start, length = start + count, length - count
        arrays = list(map(np.concatenate, zip(*parts, strict=True)))
        permuted = order.window_order(epoch, reader, number, end - begin)
        return arrays if permuted is None else [a[permuted] for a in arrays]


class Reader:
    """Reads the sequence of one reader in an epoch, a window ahead.

    Args:
        dataset, order, epoch: What to read.
        number: Which reader.
        pool: Where windows are read.
        begin: The first place in its sequence.
    """

    def __init__(
        self,
        dataset: ShardedDataset,
        order: ShardOrder,
        epoch: int,
        number: int,
        pool: ThreadPoolExecutor,
        begin: int = 0,
    ) -> None:
        self._read = lambda window: pool.submit(
            dataset.window_of, order, epoch, number, window
        )
        self._length = order.lengths[number]
        self._size = order.window
        self._place = begin
        self._window: list[np.ndarray] = []
        self._next: Future | None = None
        self._begin = -1  # Of the window at hand
        if begin < self._length:
            self._next = self._read(begin // self._size)

    def take(self, count: int) -> list[list[np.ndarray]]:
        """The next examples, in pieces; fewer at the end."""
        pieces = []
        end = min(self._place + count, self._length)
        while self._place < end:
            begin = self._place // self._size * self._size
            if begin != self._begin:
                assert self._next is not None
                self._window, self._begin = self._next.result(), begin
                follows = begin + self._size < self._length
                number = begin // self._size + 1
                self._next = self._read(number) if follows else None
            stop = min(end, begin + self._size)
            part = slice(self._place - begin, stop - begin)
            pieces.append([array[part] for array in self._window])
            self._place = stop
        return pieces


class ShardedSource(IteratorSource):
    """A `DataSource` of a `ShardedDataset`.

    Args:
        dataset: The dataset.
        strategy: The `tf.distribute.Strategy` to train under.
        steps_per_epoch: As in `IteratorSource`. A pass over the data then has
            the order of the epoch in which it begins.
        shuffle: Whether examples are shuffled.
        seed: A non-negative integer below 2 ** 63.
        class_weight: As in `keras.Model.fit`.

    Raises:
        ValueError: if workers cannot have equally many readers.
    """

    def __init__(
        self,
        dataset: ShardedDataset,
        strategy: tf.distribute.Strategy,
        steps_per_epoch: int | None = None,
        shuffle: bool = False,
        seed: int = 0,
        class_weight: dict[int, float] | None = None,
    ) -> None:
        workers = Workers(strategy)
        shard_order.check_workers(dataset.readers, workers.count)
        self._given = dataset
        self._order = dataset.order(shuffle, seed)
        self._strategy = strategy
        self._class_weight = class_weight
        self._pool = ThreadPoolExecutor(dataset.readers // workers.count)
        self._pass_epoch = 0  # The epoch in which the pass began
        self._is_new_pass = False
        self._error: ShardError | None = None  # By which reading has ended
        spec = self._parts(tf.distribute.InputContext(), 0).element_spec
        steps = self._order.steps
        super().__init__(self._distributed(0), spec, steps, steps_per_epoch)

    def fingerprint(self) -> dict[str, Any]:
        return self._given.fingerprint()

    def position(self) -> Position:
        return super().position() | {
            "pass_epoch": self._pass_epoch,
            "order": {"seed": self._order.seed},
        }

    def go_to(self, epoch: int, step: int, position: Position | None) -> None:
        if position is not None:
            self._order.seed = position["order"]["seed"]
        super().go_to(epoch, step, position)

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        self._error = None
        try:
            yield
        except tf.errors.OpError as error:
            # It may have been read ahead of a step that failed by itself.
            if not self._error or ShardError.__name__ not in str(error):
                raise
        else:
            return
        raise self._error

    def _iterator_at(self, position: Position) -> Iterator | None:
        seen = position["seen"]
        if seen == 0 or seen == self._order.steps and not self._wanted:
            return None
        self._pass_epoch = position["pass_epoch"]
        return iter(self._distributed(seen))

    def _begin_pass(self) -> int:
        self._is_new_pass = True
        return self._order.steps

    def _on_epoch_begin(self, epoch: int) -> None:
        if self._is_new_pass or not self._wanted:
            self._pass_epoch = epoch
        self._is_new_pass = False

    def _make_iterator(self) -> None:
        self._iterator, self._taken = iter(self._distributed(0)), None

    def _distributed(self, start: int) -> Any:
        """The rest of a pass, with readers of its own."""
        if self._strategy.num_replicas_in_sync == 1:
            return self._parts(tf.distribute.InputContext(), start)
        return self._strategy.distribute_datasets_from_function(
            lambda context: self._parts(context, start)
        )

    def _parts(
        self, context: tf.distribute.InputContext, start: int
    ) -> tf.data.Dataset:
        """The parts of batches that one worker takes, from a first batch on."""
        workers = context.num_input_pipelines
        local = context.num_replicas_in_sync // workers
        given, dtypes = self._given, [leaf.dtype for leaf in self._given.leaves]
        batches = self._batches(
            context.input_pipeline_id, workers, start, self._pass_epoch
        )
        batch: list[np.ndarray] = []

        def part(count: np.ndarray) -> list[np.ndarray]:
            nonlocal batch
            replica = int(count) % local
            if replica == 0:
                try:
                    batch = next(batches)
                except ShardError as error:
                    self._error = error
                    raise
            size = len(batch[0])
            begin, end = size * replica // local, size * (replica + 1) // local
            return [array[begin:end] for array in batch]

        def packed(count: tf.Tensor) -> Structure:
            arrays = tf.numpy_function(part, [count], dtypes)
            return plans.pack(
                given.structure,
                [
                    tf.ensure_shape(array, [None, *leaf.shape[1:]])
                    for array, leaf in zip(arrays, given.leaves, strict=True)
                ],
            )

        counts = tf.data.Dataset.range(start * local, self._order.steps * local)
        parts = counts.map(packed)
        if self._class_weight:
            parts = data.data_adapter(
                parts, class_weight=self._class_weight
            ).get_tf_dataset()
        return untuned(parts.prefetch(_AHEAD))

    def _batches(
        self, worker: int, workers: int, start: int, epoch: int
    ) -> Iterator[list[np.ndarray]]:
        """A worker's parts of batches, from a step on."""
        order, count = self._order, self._given.readers // workers
        readers = [
            Reader(
                self._given,
                order,
                epoch,
                number,
                self._pool,
                start * order.part,
            )
            for number in range(worker * count, (worker + 1) * count)
        ]
        nothing = [leaf[:0] for leaf in self._given.leaves]
        for _ in range(start, order.steps):
            pieces = [p for reader in readers for p in reader.take(order.part)]
            yield list(map(np.concatenate, zip(nothing, *pieces, strict=True)))
