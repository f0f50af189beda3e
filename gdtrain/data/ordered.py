"""Batches of a `keras.utils.PyDataset`, in an order that can be resumed."""

import warnings
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

from gdtrain.data.adapted import AdaptedData, first_batches
from gdtrain.data.order import Order
from gdtrain.data.protocols import Position


class OrderedBatches(keras.utils.PyDataset):
    """The batches of another `PyDataset`, starting with any of them.

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
                "`get_state` and `set_state`.",
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
        self._passes = 0
        super().__init__(adapter, strategy, steps_per_epoch)

    def _content(self) -> dict[str, Any]:
        return first_batches(self._ordered.first_batches)

    def position(self) -> Position:
        return {
            "passes": self._passes,
            "seen": self._seen,
            "ran_out": self._ran_out,
            "known": self._known,
            "state": self._ordered.get_state(),
        }

    def go_to(self, epoch: int, step: int, position: Position | None) -> None:
        if position is not None:
            self._ordered.set_state(position["state"], epoch)
            self._passes, self._known = position["passes"], position["known"]
            self._ordered.set_pass(
                max(self._passes - 1, 0), position["seen"], self._known
            )
        super().go_to(epoch, step, position)

    def _iterator_at(self, position: Position) -> Iterator | None:
        # The next epoch makes an iterator of the next pass.
        over = position["ran_out"] or position["seen"] in (0, self._known)
        return None if over else iter(self._dataset)

    def _begin_pass(self) -> int | None:
        self._ordered.set_pass(self._passes, 0)
        self._passes += 1
        return super()._begin_pass()
