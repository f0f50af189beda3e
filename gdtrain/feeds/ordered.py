"""Batches of a `keras.utils.PyDataset`, from any one on."""

import warnings
from typing import Any

import keras

from gdtrain.feeds.dataset import Dataset, first_batches
from gdtrain.feeds.order import Order


class Ordered(keras.utils.PyDataset):
    """The batches of another `PyDataset`, from any one on.

    Keras shuffles them by Python's generator, on a thread that runs ahead;
    here their order is a pure function of (seed, pass over the data).

    Args:
        inner: The `PyDataset`.
        shuffle: Whether each pass has another order.
        seed: A non-negative integer.
    """

    def __init__(self, inner, shuffle, seed):
        super().__init__(
            workers=inner.workers,
            use_multiprocessing=inner.use_multiprocessing,
            max_queue_size=inner.max_queue_size,
        )
        self.inner = inner
        self._order: Any = None  # `None` for the order they are given in
        if shuffle and inner.num_batches:
            self._order = Order(inner.num_batches, 1, True, seed)
        self._indices: Any = None
        self._start = 0
        self._ended = 0  # Epochs whose end the inner one was told of
        # Those that Keras asks for to see their shape, until the first pass
        self.first_batches: list = []
        self._has_begun = False

    def set(self, number, start):
        """Sets the next pass over the data.

        Args:
            number: Which one, from 0.
            start: How many of its batches to leave out.
        """
        self._start = start
        self.first_batches = []
        self._has_begun = True
        if self._order is not None:
            self._indices = self._order.of_epochs(number, 1)[0].tolist()

    @property
    def num_batches(self):
        """How many batches are left; `None` if there is no end."""
        count = self.inner.num_batches
        return None if count is None else count - self._start

    def __getitem__(self, index):
        """A batch."""
        index += self._start
        batch = self.inner[self._indices[index] if self._indices else index]
        if not self._has_begun:
            self.first_batches.append(batch)
        return batch

    def on_epoch_begin(self):
        """Tells the inner one."""
        self.inner.on_epoch_begin()

    def on_epoch_end(self):
        """Tells the inner one."""
        self._ended += 1
        self.inner.on_epoch_end()

    def get_state(self):
        """Its order, and what the inner one says of itself, if it does."""
        says = hasattr(self.inner, "get_state")
        return {
            "order": self._order.state() if self._order else None,
            "inner": self.inner.get_state() if says else None,
        }

    def set_state(self, state, epochs):
        """Becomes what it was after so many epochs.

        An inner one without `set_state` is told of the epochs again: what it
        does then by a generator of its own comes out as before.
        """
        if self._order is not None:
            self._order.set_state(state["order"])
        if hasattr(self.inner, "set_state"):
            self.inner.set_state(state["inner"])
            self._ended = epochs
        if self._ended > epochs:
            warnings.warn(
                f"{type(self.inner).__name__} cannot be set back, so that "
                "epochs which come again may have another order. Give it "
                "`get_state` and `set_state`.",
                stacklevel=2,
            )
        while self._ended < epochs:
            self.inner.on_epoch_begin()
            self.on_epoch_end()


class OrderedDataset(Dataset):
    """A feed of an `Ordered`. See `gdtrain.feeds`.

    Args:
        ordered: The `Ordered`.
        adapter, strategy, steps_per_epoch: As in `Dataset`.
    """

    def __init__(self, ordered, adapter, strategy, steps_per_epoch=None):
        self._ordered = ordered
        self._passes = 0
        super().__init__(adapter, strategy, steps_per_epoch)

    def _content(self):
        return first_batches(self._ordered.first_batches)

    def position(self):
        """Where it is. See `Dataset.position`."""
        return {
            "passes": self._passes,
            "seen": self._seen,
            "ran_out": self._ran_out,
            "state": self._ordered.get_state(),
        }

    def go_to(self, epoch, step, position):
        """Goes where it was. See `Dataset.go_to`."""
        if position is not None:
            self._ordered.set_state(position["state"], epoch)
            self._passes = position["passes"]
            self._ordered.set(max(self._passes - 1, 0), position["seen"])
        super().go_to(epoch, step, position)

    def _iterator_at(self, position):
        # None where the next epoch makes a new one, of the next pass
        over = position["ran_out"] or position["seen"] in (0, self._known)
        return None if over else iter(self._dataset)

    def _begin_pass(self):
        self._ordered.set(self._passes, 0)
        self._passes += 1
