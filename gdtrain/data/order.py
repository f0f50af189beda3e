"""The order of examples: a pure function of seed and epoch."""

import math
from typing import Any

import numpy as np

# Epochs of few examples are shuffled together, as a generator for each would
# take longer than the shuffling.
_SHUFFLED_TOGETHER = 4096


class Order:
    """The order of the examples of each epoch.

    It has no state beside its seed: the order of any epoch can be had at any
    time, so that training can be resumed anywhere.

    Args:
        examples: How many examples there are.
        batch_size: How many of them are in a batch; the last may have fewer.
        shuffle: `True` for a new order in each epoch; `False` for the given
            order; `"batch"` to shuffle within each batch only.
        seed: A non-negative integer.

    Attributes:
        shuffle, examples, batch_size: As given; no batch has more examples
            than there are.
        batches: How many batches an epoch has.

    Example:

    >>> order = Order(examples=5, batch_size=2, shuffle=True, seed=0)
    >>> sorted(order.of_epochs(first=7, count=1)[0].tolist())
    [0, 1, 2, 3, 4]
    >>> bool((order.of_epochs(0, 9)[7] == order.of_epochs(7, 1)[0]).all())
    True
    """

    def __init__(
        self, examples: int, batch_size: int, shuffle: bool | str, seed: int
    ) -> None:
        self.shuffle = shuffle
        self.examples = examples
        self.batch_size = min(batch_size, examples)
        self.batches = math.ceil(examples / batch_size)
        self._seed = seed
        self._last: Any = None, None  # A group and its orders
        self._together = 1
        if shuffle != "batch":
            self._together = max(1, _SHUFFLED_TOGETHER // examples)

    def of_epochs(self, first: int, count: int) -> np.ndarray:
        """Indices of examples, int64 `[count, examples]`, for some epochs."""
        if not self.shuffle:
            one = np.arange(self.examples)
            return np.broadcast_to(one, [count, self.examples])
        if not count:
            return np.empty([0, self.examples], np.int64)
        before, skipped = divmod(first, self._together)
        after = -(-(first + count) // self._together)
        groups = [self._group(group) for group in range(before, after)]
        return np.concatenate(groups)[skipped : skipped + count]

    def of_batch(self, epoch: int, step: int) -> np.ndarray:
        """Indices of the examples of one batch, int64."""
        start = step * self.batch_size
        return self.of_epochs(epoch, 1)[0][start : start + self.batch_size]

    def state(self) -> dict[str, int]:
        """What it is computed from."""
        return {"seed": self._seed}

    def set_state(self, state: dict[str, int]) -> None:
        """Becomes the order that has this state."""
        self._seed = state["seed"]
        self._last = None, None

    def _group(self, group: int) -> np.ndarray:
        """The orders of the epochs that are shuffled together."""
        if self._last[0] != group:
            self._last = group, self._shuffled(group)
        return self._last[1]

    def _shuffled(self, group: int) -> np.ndarray:
        random = np.random.Generator(np.random.Philox(key=[self._seed, group]))
        one = np.arange(self.examples)
        if self.shuffle == "batch":
            whole = self.examples // self.batch_size * self.batch_size
            batches = one[:whole].reshape(-1, self.batch_size)
            one[:whole] = random.permuted(batches, axis=1).ravel()
            one[whole:] = random.permutation(one[whole:])
            return one[np.newaxis]
        if self._together == 1:
            return random.permutation(one)[np.newaxis]
        return random.permuted(np.tile(one, [self._together, 1]), axis=1)
