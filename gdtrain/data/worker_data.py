"""Data of which each worker has its own part already."""

import collections
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from gdtrain.common.explained import more
from gdtrain.data import pipeline
from gdtrain.data.adapted import first_batches
from gdtrain.data.iterators import IteratorSource, NoPosition, untuned
from gdtrain.data.passes import Passes, PipelinePasses, PythonPasses
from gdtrain.data.protocols import Position, Structure
from gdtrain.distributed.workers import Workers
from gdtrain.keras_bridge import data

# Batches that are kept once they are read: more than are read ahead
_KEPT = 8


class WorkerData:
    """Marks data that are this worker's own part already.

    `fit` then neither shards nor rebatches them: in each step, every worker
    takes its next batch, and the batch that the model is updated with is the
    batches of all workers together, each example with the same weight. A
    worker's batch is split among its own replicas. Workers may run out at
    different steps; the epoch ends when all have.

    Of one process, the data are as without the mark. The position within an
    epoch is saved by each worker for itself (see
    `gdtrain.callbacks.BackupAndRestore`) for `tf.data`, and for data whose
    iterators have `get_state()` and `set_state(state)`, as those of Grain
    have. A run is resumed by as many workers as it was saved by, since nobody
    else knows the parts; `ShardedDataset` has no such limit.

    Args:
        data: A `tf.data.Dataset`; a Grain `MapDataset`, `IterDataset` or
            `DataLoader`; any other object that can be iterated over once an
            epoch; or a function without arguments that returns one, or a
            generator. Each element is a batch: `(x, y)`, `(x, y,
            sample_weight)` or `(x,)`, of arrays or structures of arrays.

    Raises:
        TypeError: if the data are none of these.

    Example:

    >>> import gdtrain
    >>> batches = [(np.ones([4, 1]), np.ones([4, 1])) for _ in range(3)]
    >>> model = gdtrain.Sequential([keras.Input([1]), keras.layers.Dense(1)])
    >>> model.compile(gdtrain.GradientDescent(0.1), loss="mse")
    >>> worker, workers = 0, 1  # Of TF_CONFIG, Ray, Slurm, ...
    >>> part = gdtrain.data.WorkerData(batches[worker::workers])
    >>> history = model.fit(part, epochs=2, verbose=0)
    >>> int(model.optimizer.iterations)
    6

    Of Grain, slice examples before they are batched, so that no worker reads
    those of another:

        dataset = grain.MapDataset.source(photos).shuffle(seed=1)
        dataset = dataset[worker::workers].map(decode).batch(32)
        model.fit(gdtrain.data.WorkerData(dataset), epochs=5)

    Of Ray Data, in the training function of a `TensorflowTrainer`:

        shard = ray.train.get_dataset_shard("train")

        def batches():
            for batch in shard.iter_batches(batch_size=32):
                yield batch["x"], batch["y"]

        model.fit(gdtrain.data.WorkerData(batches), epochs=5)
    """

    def __init__(
        self, data: tf.data.Dataset | Iterable | Callable[[], Iterable]
    ) -> None:
        wrong = (
            tuple,
            dict,
            str,
            np.ndarray,
            tf.Tensor,
            keras.utils.PyDataset,
            tf.distribute.DistributedDataset,
        )
        is_iterable = isinstance(data, Iterable) and not isinstance(data, wrong)
        if isinstance(data, Iterator):
            raise TypeError(
                "`WorkerData` needs data that can be iterated over once an "
                f"epoch. Received: a {type(data).__name__}, which can be "
                "iterated over once. Pass the function that makes it."
                + more("worker-data")
            )
        if not is_iterable and not callable(data):
            raise TypeError(
                "`WorkerData` takes a tf.data.Dataset, a dataset or loader of "
                "Grain, another iterable over batches, or a function that "
                f"returns one. Received: a {type(data).__name__}. Make batches "
                "of arrays by `tf.data.Dataset.from_tensor_slices((x, y))"
                ".batch(32)`; of a DataIterator of Ray Data by a generator "
                "function over its `iter_batches`." + more("worker-data")
            )
        self.data = data

    def __repr__(self) -> str:
        return f"WorkerData({type(self.data).__name__})"


class ReadAhead:
    """One pass over batches, which TensorFlow reads ahead of training.

    The last ones that were read are kept, so that those are known that are
    read and not trained on. Safe on several threads.

    Args:
        iterator: Gives the batches.
        first: The number of the first of them, which count from 0.
        kept: Batches that come before those of the iterator.
    """

    def __init__(
        self, iterator: Iterator, first: int = 0, kept: Sequence[Any] = ()
    ) -> None:
        self._iterator = iterator
        self._lock = threading.Lock()
        self._first = first
        self._kept = collections.deque(kept, _KEPT)
        self._read = first + len(kept)

    def first_batches(self, count: int) -> list[Any]:
        """The first batches, which still come; fewer if there are fewer."""
        with self._lock:
            while self._read < count and self._reads_one():
                pass
            return list(self._kept)[:count]

    def __iter__(self) -> Iterator[Any]:
        number = self._first
        while True:
            with self._lock:
                if number == self._read and not self._reads_one():
                    return
                batch = self._kept[number - self._read]
            number += 1
            yield batch

    def position(self, passes: Passes, seen: int) -> tuple[Position, list, int]:
        """`(position, kept, read)`: of the iterator, and what it is ahead by.

        Args:
            passes: Those that the iterator is of.
            seen: How many batches were trained on, in steps of all workers.
        """
        with self._lock:
            ahead = max(self._read - seen, 0)
            if ahead > len(self._kept):
                raise NoPosition(f"{ahead} batches were read ahead")
            kept = list(self._kept)[len(self._kept) - ahead :]
            position = passes.position(self._iterator, self._read)
            return position, kept, self._read

    def close(self) -> None:
        """Ends the threads of an iterator that has some, as Grain's."""
        with self._lock:
            if hasattr(self._iterator, "close"):  # The user's, or a library's
                self._iterator.close()
            self._iterator = iter(())

    def _reads_one(self) -> bool:
        """Reads a batch, if there is one."""
        try:
            self._kept.append(_batch(next(self._iterator)))
        except StopIteration:
            return False
        self._read += 1
        return True


class _Part(NamedTuple):
    """A worker's part of the data.

    Args:
        passes: Passes over it.
        reading: The first of them.
        spec: A structure of `tf.TensorSpec`, of a batch.
        batches: How many batches a pass has; `None` if unknown.
        content: What other data of the same kind differ in.
    """

    passes: Passes
    reading: ReadAhead
    spec: Structure
    batches: int | None
    content: dict[str, Any]


class WorkerSource(IteratorSource):
    """A `DataSource` of `WorkerData`, or of data of Grain on one worker.

    Args:
        given: The data.
        strategy: The `tf.distribute.Strategy` to train under.
        steps_per_epoch: As in `IteratorSource`.
        class_weight: As in `keras.Model.fit`.

    Raises:
        ValueError: if there is no batch, or class weights cannot be used.
    """

    def __init__(
        self,
        given: Any,
        strategy: tf.distribute.Strategy,
        steps_per_epoch: int | None = None,
        class_weight: dict[int, float] | None = None,
    ) -> None:
        self._strategy = strategy
        self._workers = Workers(strategy)
        self._kind = type(given).__name__
        if isinstance(given, tf.data.Dataset):
            self._part = _part_of_pipeline(given, class_weight)
            self._kind = "tf.data.Dataset"
        else:
            self._part = _part_of_python(given, class_weight)
        self._reading = self._part.reading
        self._has_begun = False  # The pass that is being read
        self._spec = tf.nest.map_structure(_of_any_size, self._part.spec)
        # The number of steps is that of the worker that has most batches.
        unknown = -1
        counts = [self._part.batches or unknown]
        if self._part.batches is not None or self._workers.count > 1:
            counts = self._workers.numbers(counts[0])
        super().__init__(
            self._distributed(ReadAhead(iter(()))),
            self._part.spec,
            None if unknown in counts else max(counts),
            steps_per_epoch,
        )

    def fingerprint(self) -> dict[str, Any]:
        return {
            "kind": f"{self._kind}, the part of a worker",
            "batch": repr(self.batch_spec),
        } | self._part.content

    def position(self) -> Position:
        passes, kept, read = self._reading.position(
            self._part.passes, self._seen
        )
        return super().position() | {
            "passes": passes,
            "kept": [_serialized(batch) for batch in kept],
            "read": read,
        }

    def moved(
        self, position: Position | None, step: int, workers_differ: bool
    ) -> Position | None:
        """Its replicas may differ in number: they split each batch."""
        if workers_differ:
            raise NoPosition(
                "`WorkerData` has one worker's own part of the data, and only "
                "you know those of a different number of workers"
            )
        return position

    def _iterator_at(self, position: Position) -> Iterator:
        kept = [_parsed(batch, self._part.spec) for batch in position["kept"]]
        iterator = self._part.passes.at(position["passes"], position["read"])
        self._read(ReadAhead(iterator, position["seen"], kept))
        return self._iterator

    def _begin_pass(self) -> int | None:
        return self._known

    def _make_iterator(self) -> None:
        self._read(
            self._reading
            if not self._has_begun
            else ReadAhead(self._part.passes.begin())
        )

    def _read(self, reading: ReadAhead) -> None:
        """Begins to read a pass, or the rest of one."""
        if reading is not self._reading:
            self._reading.close()
        self._reading = reading
        self._has_begun = True
        self._iterator = iter(self._distributed(reading))
        self._taken = None

    def _distributed(self, reading: ReadAhead) -> Any:
        """The rest of a pass, split among replicas of this worker.

        Each pass has a dataset of its own: one that is abandoned may still
        read.
        """
        spec = self._spec  # Without `self`, this source is freed at once.

        def parts(context: tf.distribute.InputContext) -> tf.data.Dataset:
            local = context.num_replicas_in_sync // context.num_input_pipelines
            return untuned(
                tf.data.Dataset.from_generator(
                    lambda: (
                        part
                        for batch in reading
                        for part in _split(batch, local)
                    ),
                    output_signature=spec,
                ).prefetch(local)
            )

        if self._strategy.num_replicas_in_sync == 1:
            return parts(tf.distribute.InputContext())
        return self._strategy.distribute_datasets_from_function(parts)


def _part_of_pipeline(
    given: tf.data.Dataset, class_weight: dict[int, float] | None
) -> _Part:
    """The part that is a `tf.data` pipeline."""
    adapter = data.data_adapter(given, class_weight=class_weight)
    dataset = adapter.get_tf_dataset()
    passes = PipelinePasses(dataset, dataset)
    reading = ReadAhead(passes.begin())
    content = pipeline.of(dataset)
    spec = dataset.element_spec
    return _Part(passes, reading, spec, adapter.num_batches, content)


def _part_of_python(given: Any, class_weight: dict[int, float] | None) -> _Part:
    """The part that Python iterates over."""
    kind = type(given).__name__
    if class_weight:
        raise ValueError(
            "`class_weight` needs arrays or a tf.data.Dataset. Received: "
            f"class_weight={class_weight!r} for a {kind}. Let each batch be "
            "`(x, y, sample_weight)`." + more("worker-data")
        )
    passes = PythonPasses(
        given if not isinstance(given, Iterable) else lambda: given
    )
    reading = ReadAhead(passes.begin())
    first = reading.first_batches(2)
    if not first:
        raise ValueError(
            "Each worker must have at least one batch in its part of the "
            f"data. Received: a {kind} without any. Give workers parts of "
            "about the same size, or take fewer workers." + more("worker-data")
        )
    return _Part(
        passes, reading, data.batch_spec(first), None, first_batches(first)
    )


def _batch(given: Any) -> Any:
    """A batch of the user's as tuples of arrays and tensors."""
    if isinstance(given, (tuple, list)):
        given = tuple(given)
        while given and given[-1] is None:
            given = given[:-1]
    return keras.tree.map_structure(_leaf, keras.tree.lists_to_tuples(given))


def _leaf(leaf: Any) -> Any:
    is_tensor = isinstance(leaf, (tf.Tensor, tf.RaggedTensor, tf.SparseTensor))
    return leaf if is_tensor else np.asarray(leaf)


def _of_any_size(spec: Any) -> Any:
    """The spec of parts of a batch."""
    if not isinstance(spec, tf.TensorSpec):
        return spec
    return tf.TensorSpec([None, *spec.shape[1:]], spec.dtype)


def _split(batch: Structure, parts: int) -> Iterator[Structure]:
    """Parts of a batch, whose sizes differ by at most one example."""
    if parts == 1:
        yield batch
        return
    size = int(tf.nest.flatten(batch)[0].shape[0])
    for part in range(parts):
        begin, end = size * part // parts, size * (part + 1) // parts
        yield tf.nest.map_structure(lambda a: _rows(a, begin, end), batch)


def _rows(array: Any, begin: int, end: int) -> Any:
    if isinstance(array, tf.SparseTensor):
        shape = array.dense_shape.numpy()
        zeros = [0] * (len(shape) - 1)
        return tf.sparse.slice(
            array, [begin, *zeros], [end - begin, *shape[1:]]
        )
    return array[begin:end]


def _serialized(batch: Structure) -> list[np.ndarray]:
    """The tensors of a batch, also those of text, as uint8 arrays."""
    return [
        np.frombuffer(tf.io.serialize_tensor(tensor).numpy(), np.uint8)
        for tensor in tf.nest.flatten(batch, expand_composites=True)
    ]


def _parsed(serialized: list[np.ndarray], spec: Structure) -> Structure:
    """The batch that `_serialized` was given."""
    specs = tf.nest.flatten(spec, expand_composites=True)
    tensors = [
        tf.io.parse_tensor(array.tobytes(), one.dtype)
        for array, one in zip(serialized, specs, strict=True)
    ]
    return tf.nest.pack_sequence_as(spec, tensors, expand_composites=True)
