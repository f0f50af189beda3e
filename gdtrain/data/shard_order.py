"""The order of examples in shards: a pure function of seed and epoch."""

import numpy as np

from gdtrain.common import checks
from gdtrain.common.explained import more


class ShardOrder:
    """Which examples each reader reads, and in which order.

    A global batch is the concatenation of `batch_size / readers` examples of
    each reader. Which worker runs a reader makes no difference.

    If examples are shuffled, a reader has a range of them of its own. In each
    epoch, it reads stretches of it in a new order, and permutes examples
    within windows of that sequence. If not, the batches are in the order of
    the examples, and each reader has its part of every batch.

    Args:
        examples: How many there are.
        batch_size: How many are in a global batch; the last may have fewer.
        readers: How many readers there are.
        window: How many examples of a reader are permuted together.
        stretch: How many consecutive examples are read together.
        shuffle: Whether examples are shuffled.
        seed: A non-negative integer.

    Example:

    >>> order = ShardOrder(10, 4, readers=2, window=4, stretch=2, shuffle=True)
    >>> order.lengths, order.steps
    ([5, 5], 3)
    >>> read = [order.examples(epoch=3, reader=r, begin=0, end=5)
    ...         for r in range(2)]
    >>> sorted(np.concatenate(read).tolist()) == list(range(10))
    True
    """

    def __init__(
        self,
        examples: int,
        batch_size: int,
        readers: int,
        window: int,
        stretch: int,
        shuffle: bool,
        seed: int = 0,
    ) -> None:
        self.readers = readers
        self.window = window
        self.part = batch_size // readers  # Of a batch, for each reader
        self.seed = seed
        self._batch_size = batch_size
        self._stretch = stretch
        self._shuffle = shuffle
        self._bounds = [examples * r // readers for r in range(readers + 1)]
        whole, rest = divmod(examples, batch_size)
        self.lengths = [
            self._bounds[r + 1] - self._bounds[r]
            if shuffle
            else whole * self.part
            + min(max(rest - r * self.part, 0), self.part)
            for r in range(readers)
        ]
        self.steps = -(-max(self.lengths) // self.part)
        self._stretches: dict[int, tuple[tuple, tuple]] = {}  # By reader

    def segments(
        self, epoch: int, reader: int, begin: int, end: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """`(starts, lengths)` of what a reader reads before it permutes.

        Args:
            epoch, reader: Which.
            begin, end: Places in the reader's sequence.
        """
        if self._shuffle:
            starts, ends = self._shuffled(epoch, reader)
        else:
            first, last = begin // self.part, -(-end // self.part)
            steps = np.arange(first, last)
            starts = steps * self._batch_size + reader * self.part
            ends = (np.arange(last - first) + 1) * self.part
            begin, end = begin - first * self.part, end - first * self.part
        first = int(np.searchsorted(ends, begin, "right"))
        last = int(np.searchsorted(ends, end, "left")) + 1
        places = np.concatenate([[0], ends])[first : last + 1]
        cut = np.clip(places, begin, end)
        return starts[first:last] + (cut - places)[:-1] * (
            cut[:-1] > places[:-1]
        ), np.diff(cut)

    def window_order(
        self, epoch: int, reader: int, number: int, size: int
    ) -> np.ndarray | None:
        """The permutation of a window; `None` for the order as read."""
        if not self._shuffle:
            return None
        return self._random(epoch, reader, number + 1).permutation(size)

    def examples(
        self, epoch: int, reader: int, begin: int, end: int
    ) -> np.ndarray:
        """The numbers of examples in a reader's sequence, int64."""
        found = []
        first = begin // self.window * self.window
        for start in range(first, end, self.window):
            stop = min(start + self.window, self.lengths[reader])
            starts, lengths = self.segments(epoch, reader, start, stop)
            places = np.cumsum(lengths) - lengths
            numbers = np.repeat(starts - places, lengths) + np.arange(
                stop - start
            )
            order = self.window_order(
                epoch, reader, start // self.window, stop - start
            )
            found.append(numbers if order is None else numbers[order])
        joined = np.concatenate([np.zeros(0, np.int64), *found])
        return joined[begin - first : end - first]

    def _shuffled(self, epoch: int, reader: int) -> tuple:
        """`(starts, ends)` of stretches: in the data, and in the sequence."""
        key, found = self._stretches.get(reader, ((), ()))
        if key != (self.seed, epoch):
            low, high = self._bounds[reader : reader + 2]
            starts = np.arange(low, high, self._stretch)
            starts = self._random(epoch, reader, 0).permutation(starts)
            lengths = np.minimum(self._stretch, high - starts)
            found = starts, np.cumsum(lengths)
            self._stretches[reader] = (self.seed, epoch), found
        return found

    def _random(self, *numbers: int) -> np.random.Generator:
        seeds = np.random.SeedSequence([self.seed, *numbers])
        return np.random.Generator(np.random.Philox(seeds))


def check_workers(readers: int, workers: int) -> None:
    """Refuses workers that cannot have equally many readers.

    Example:

    >>> check_workers(8, 3)
    Traceback (most recent call last):
    ValueError: The number of workers must divide... Received: readers=8, 3
    workers. Take 1, 2, 4 or 8 workers, or other readers.
    More: python -m gdtrain explain worker-data
    """
    if readers % workers:
        fit = [str(n) for n in range(1, readers + 1) if readers % n == 0]
        listed = ", ".join(fit[:-1]) + " or " * (len(fit) > 1) + fit[-1]
        raise ValueError(
            "The number of workers must divide the number of readers of a "
            f"`ShardedDataset`. Received: readers={readers}, {workers} "
            f"workers. Take {listed} workers, or other readers."
            + more("worker-data")
        )


def check_sizes(batch_size: int, readers: int) -> None:
    """Refuses a batch of which readers cannot have equal parts."""
    checks.positive_integer("batch_size", batch_size)
    checks.positive_integer("readers", readers)
    if batch_size % readers:
        below = batch_size // readers * readers
        fit = [str(n) for n in (below, below + readers) if n]
        raise ValueError(
            "`batch_size` must be a multiple of `readers`, which have equal "
            f"parts of a batch. Received: batch_size={batch_size}, "
            f"readers={readers}. Take batch_size={' or '.join(fit)}, or other "
            "readers." + more("worker-data")
        )
