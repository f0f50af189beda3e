"""Data that one of Keras's data adapters brings.

The batches of a `keras.utils.PyDataset` come in an order that can be resumed.
"""

import warnings
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

from gdtrain.common.explained import more
from gdtrain.data import data_fingerprint, pipeline
from gdtrain.data.iterators import IteratorSource, NoPosition, untuned
from gdtrain.data.order import Order
from gdtrain.data.passes import PipelinePasses
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
        dataset = adapter.get_tf_dataset()
        if data.comes_from_python(adapter):
            dataset = untuned(dataset)
        given = dataset
        batch_spec = dataset.element_spec
        if not isinstance(dataset, tf.distribute.DistributedDataset):
            dataset = strategy.experimental_distribute_dataset(dataset)
        self._passes = PipelinePasses(given, dataset)
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
            passes = self._passes.position(self._iterator, self._seen)
        except NoPosition as error:
            if not data.comes_from_python(self._adapter):
                raise
            kind = data.kind_of_data(self._adapter)
            raise NoPosition(f"{kind}, which has no position") from error
        return super().position() | passes

    def moved(
        self, position: Position | None, step: int, workers_differ: bool
    ) -> Position | None:
        """Where an epoch begins, the data begin from their beginning.

        The position of an iterator is one of this number of replicas.
        """
        if workers_differ:
            why = pipeline.sharding(self._adapter.get_tf_dataset())
            if why is not None:
                raise NoPosition(why)
        if step or (position and self._wanted and position["seen"]):
            raise NoPosition(
                f"{data.kind_of_data(self._adapter)} has no position within "
                "a pass over the data that another number of replicas can "
                "continue from"
            )
        return None

    def _iterator_at(self, position: Position) -> Iterator | None:
        return self._passes.at(position, position["seen"])

    def _make_iterator(self) -> None:
        self._iterator, self._taken = self._passes.begin(), None

    def _begin_pass(self) -> int | None:
        return self._adapter.num_batches

    def _on_epoch_begin(self, epoch: int) -> None:
        self._adapter.on_epoch_begin()

    def _on_epoch_end(self, abandoned: bool) -> None:
        if abandoned:
            data.abandon_epoch(self._adapter)
        else:
            self._adapter.on_epoch_end()


def first_batches(batches: list) -> dict[str, str]:
    """The leaf of the first batches that Python brought.

    Without a seed, they may be random, different in each process.
    """
    name = data_fingerprint.FIRST_BATCHES
    if randomness.random_seed() is None:
        return {name: "#unknown what Python brings, as no seed was set"}
    found = [repr(data_fingerprint.contents("", one)) for one in batches]
    label = f"{len(batches)} batches"
    leaf = data_fingerprint.digest("data", label, *map(str.encode, found))
    return {name: leaf}


class OrderedBatches(keras.utils.PyDataset):
    """The batches of a `PyDataset`, starting with any of them.

    Keras shuffles them by Python's generator, on a thread that runs ahead;
    here their order is a pure function of (seed, pass over the data).

    Args:
        inner: The `PyDataset`.
        shuffle: Whether the order differs from pass to pass.
        seed: A non-negative integer.
    """

    def __init__(
        self, inner: keras.utils.PyDataset, shuffle: bool, seed: int
    ) -> None:
        super().__init__(
            workers=inner.workers,
            use_multiprocessing=inner.use_multiprocessing,
            max_queue_size=inner.max_queue_size,
        )
        self.inner = inner
        self._seed = seed if shuffle else None  # `None` for the given order
        self._indices: list[int] | None = None
        self._start = 0
        self._count: int | None = None  # Of this pass; `None` before the first
        self._ended = 0  # Epochs whose end the inner one was notified of
        # Those that Keras asks for to see their shape, until the first pass
        self.first_batches: list = []
        self._has_begun = False

    def set_pass(
        self, number: int, start: int, count: int | None = None
    ) -> None:
        """Sets the next pass over the data.

        Args:
            number: Which one, from 0.
            start: Its first batch.
            count: How many batches it has. Defaults to what the data say now:
                there may be more than in the pass before, or fewer.
        """
        self._start = start
        self.first_batches = []
        self._has_begun = True
        self._count = count or self.inner.num_batches
        if self._seed is not None and self._count:
            order = Order(self._count, 1, True, self._seed)
            self._indices = order.of_epochs(number, 1)[0].tolist()

    @property
    def num_batches(self) -> int | None:
        """How many batches are left; `None` if there is no end."""
        count = self._count or self.inner.num_batches
        return None if count is None else count - self._start

    def __getitem__(self, index: int) -> Any:
        index += self._start
        batch = self.inner[self._indices[index] if self._indices else index]
        if not self._has_begun:
            self.first_batches.append(batch)
        return batch

    def on_epoch_begin(self) -> None:
        self.inner.on_epoch_begin()

    def on_epoch_end(self) -> None:
        self._ended += 1
        self.inner.on_epoch_end()

    def get_state(self) -> dict[str, Any]:
        """Its seed, and the state of the inner one, if it has `get_state`."""
        has_state = hasattr(self.inner, "get_state")  # A user's class
        return {
            "order": None if self._seed is None else {"seed": self._seed},
            "inner": self.inner.get_state() if has_state else None,
        }

    def set_state(self, state: dict[str, Any], epochs: int) -> None:
        """Returns to what `get_state` returned after so many epochs.

        An inner one without `set_state` is notified of the epochs again, so
        that a generator of its own gives the same numbers as before.
        """
        if self._seed is not None:
            self._seed = state["order"]["seed"]
        if hasattr(self.inner, "set_state"):
            self.inner.set_state(state["inner"])
            self._ended = epochs
        if self._ended > epochs:
            warnings.warn(
                f"{type(self.inner).__name__} cannot be set back, so that "
                "the order of repeated epochs may differ. Give it "
                "`get_state` and `set_state`." + more("data-position"),
                stacklevel=2,
            )
        while self._ended < epochs:
            self.inner.on_epoch_begin()
            self.on_epoch_end()


class OrderedData(AdaptedData):
    """A `DataSource` of `OrderedBatches`.

    Args:
        ordered: The batches.
        adapter, strategy, steps_per_epoch: As in `AdaptedData`.
    """

    def __init__(
        self,
        ordered: OrderedBatches,
        adapter: Any,
        strategy: tf.distribute.Strategy,
        steps_per_epoch: int | None = None,
    ) -> None:
        self._ordered = ordered
        self._begun = 0
        super().__init__(adapter, strategy, steps_per_epoch)

    def _content(self) -> dict[str, Any]:
        return first_batches(self._ordered.first_batches)

    def position(self) -> Position:
        return IteratorSource.position(self) | {
            "passes": self._begun,
            "known": self._known,
            "state": self._ordered.get_state(),
        }

    def moved(
        self, position: Position | None, step: int, workers_differ: bool
    ) -> Position | None:
        return position  # All workers count the same batches.

    def go_to(self, epoch: int, step: int, position: Position | None) -> None:
        if position is not None:
            self._ordered.set_state(position["state"], epoch)
            self._begun, self._known = position["passes"], position["known"]
            self._ordered.set_pass(
                max(self._begun - 1, 0), position["seen"], self._known
            )
        super().go_to(epoch, step, position)

    def _iterator_at(self, position: Position) -> Iterator | None:
        # The next epoch makes an iterator of the next pass.
        over = position["ran_out"] or position["seen"] in (0, self._known)
        return None if over else iter(self._dataset)

    def _begin_pass(self) -> int | None:
        self._ordered.set_pass(self._begun, 0)
        self._begun += 1
        return super()._begin_pass()
