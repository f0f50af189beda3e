"""Data that one of Keras's data adapters brings."""

from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from gdtrain.data import data_fingerprint, iterators, pipeline
from gdtrain.data.iterators import IteratorSource, NoPosition
from gdtrain.data.protocols import Position
from gdtrain.keras_bridge import data, randomness


class AdaptedData(IteratorSource):
    """A `DataSource` of a data adapter.

    Args:
        adapter: Keras's data adapter: makes the dataset, knows how many
            batches there are, and is notified of epochs.
        strategy: The `tf.distribute.Strategy` to train under.
        steps_per_epoch: As in `IteratorSource`.
    """

    def __init__(
        self,
        adapter: Any,
        strategy: tf.distribute.Strategy,
        steps_per_epoch: int | None = None,
    ) -> None:
        self._adapter = adapter
        self._known_at_first = adapter.num_batches
        self._start: Any = None  # Where it was before its first batch
        self._keeps_start = False
        dataset = adapter.get_tf_dataset()
        batch_spec = dataset.element_spec
        if not isinstance(dataset, tf.distribute.DistributedDataset):
            dataset = strategy.experimental_distribute_dataset(dataset)
        batches = self._known_at_first
        super().__init__(dataset, batch_spec, batches, steps_per_epoch)

    def fingerprint(self) -> dict[str, Any]:
        return {
            "kind": data.kind_of_data(self._adapter),
            "batches": self._known_at_first,
            "batch": repr(self.batch_spec),
        } | self._content()

    def _content(self) -> dict[str, Any]:
        """What other data of the same kind and number differ in."""
        first = data.first_batches(self._adapter)
        if first is not None:
            return first_batches(first)
        inputs = data.inputs_of(self._adapter)
        if inputs is not None:
            return data_fingerprint.of(inputs, None)
        dataset = self._adapter.get_tf_dataset()
        if isinstance(dataset, tf.data.Dataset):
            return pipeline.of(dataset)
        return {"x": f"#unknown {type(dataset).__name__}"}

    def position(self) -> Position:
        if self._taken is not None:
            raise NoPosition("a batch was taken that is still to be trained on")
        if self._iterator is None:
            self._make_iterator()
        try:
            files = iterators.of(self._iterator)
        except NoPosition as error:
            raise NoPosition(self._why(str(error))) from error
        if not self._keeps_start:
            iterators.check(self._adapter.get_tf_dataset())
            self._start = None if self._seen else files
            self._keeps_start = True
        return {
            "iterator": files,
            "start": self._start,
            "seen": self._seen,
            "ran_out": self._ran_out,
        }

    def _why(self, reason: str) -> str:
        """Why TensorFlow cannot say where the iterator is."""
        dataset = self._adapter.get_tf_dataset()
        if not isinstance(dataset, tf.data.Dataset):
            return reason
        names = pipeline.impure_operations(dataset)
        if not names:
            return reason
        return f"maps of the pipeline use {', '.join(names)}: {reason}"

    def _iterator_at(self, position: Position) -> Iterator | None:
        """The iterator at a position.

        A pipeline counts its passes, and shuffles by that count. The
        checkpoint of an iterator sets the count, too, unless the iterator had
        read ahead to the end of the data. Then iterators that are made after
        it depend on what was before, as two restored ones show, and this one
        reads its pass again.
        """
        self._start = position["start"]
        iterator = iter(self._dataset)
        iterators.restore(iterator, position["iterator"])
        once = iterators.of(iter(self._dataset))
        iterators.restore(iterator, position["iterator"])
        twice = iterators.of(iter(self._dataset))
        if self._start is None or iterators.are_equal(once, twice):
            iterators.restore(iterator, position["iterator"])
        else:
            iterators.restore(iterator, self._start)
            for _ in range(position["seen"]):
                next(iterator)
        return iterator

    def _make_iterator(self) -> None:
        super()._make_iterator()
        if self._keeps_start:
            self._start = iterators.of(self._iterator)

    def _begin_pass(self) -> int | None:
        return self._adapter.num_batches

    def _on_epoch_begin(self, epoch: int) -> None:
        self._adapter.on_epoch_begin()

    def _on_epoch_end(self) -> None:
        self._adapter.on_epoch_end()

    def _abandon_epoch(self) -> None:
        data.abandon_epoch(self._adapter)


def first_batches(batches: list) -> dict[str, str]:
    """The leaf of the first batches that Python brought.

    Without a seed, they may be random, different in each process.
    """
    name = data_fingerprint.FIRST_BATCHES
    if randomness.random_seed() is None:
        return {name: "#unknown what Python brings, as no seed was set"}
    return {
        name: data_fingerprint.digest(
            "data",
            f"{len(batches)} batches",
            *[
                repr(data_fingerprint.contents("", batch)).encode()
                for batch in batches
            ],
        )
    }
