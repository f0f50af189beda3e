"""Batches of a `keras.utils.PyDataset`, from any one on."""

import warnings
from typing import Any

import keras

from gdtrain.data.dataset import Dataset, first_batches
from gdtrain.data.order import Order


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
        self._seed = seed if shuffle else None  # `None` for the given order
        self._indices: Any = None
        self._start = 0
        self._count: Any = None  # Of this pass; `None` before the first one
        self._ended = 0  # Epochs whose end the inner one was told of
        # Those that Keras asks for to see their shape, until the first pass
        self.first_batches: list = []
        self._has_begun = False

    def set(self, number, start, count=None):
        """Sets the next pass over the data.

        Args:
            number: Which one, from 0.
            start: How many of its batches to leave out.
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
    def num_batches(self):
        """How many batches are left; `None` if there is no end."""
        count = self._count or self.inner.num_batches
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
            "order": None if self._seed is None else {"seed": self._seed},
            "inner": self.inner.get_state() if says else None,
        }

    def set_state(self, state, epochs):
        """Becomes what it was after so many epochs.

        An inner one without `set_state` is told of the epochs again: what it
        does then by a generator of its own comes out as before.
        """
        if self._seed is not None:
            self._seed = state["order"]["seed"]
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
    """A feed of an `Ordered`. See `gdtrain.data`.

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
            "known": self._known,
            "state": self._ordered.get_state(),
        }

    def go_to(self, epoch, step, position):
        """Goes where it was. See `Dataset.go_to`."""
        if position is not None:
            self._ordered.set_state(position["state"], epoch)
            self._passes, self._known = position["passes"], position["known"]
            self._ordered.set(
                max(self._passes - 1, 0), position["seen"], self._known
            )
        super().go_to(epoch, step, position)

    def _iterator_at(self, position):
        # None where the next epoch makes a new one, of the next pass
        over = position["ran_out"] or position["seen"] in (0, self._known)
        return None if over else iter(self._dataset)

    def _begin_pass(self):
        self._ordered.set(self._passes, 0)
        self._passes += 1
