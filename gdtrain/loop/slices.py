"""The steps of a block as callbacks get them: slices, and whole epochs."""

import bisect
import functools
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple


class LogSlice(NamedTuple):
    """Consecutive steps of one epoch, of which callbacks get one call.

    Args:
        steps: How many.
        counted: How many an execution counts for, whether or not it has as
            many, as in Keras.
        logs: A function that gives what the last of them returned.
        epoch_logs: What `History` shows of the epoch that ends with them;
            `None` if none does, or if Python has to find that out.
    """

    steps: int
    counted: int
    logs: Callable[[], Any]
    epoch_logs: dict[str, float] | None


class PassedEpochs(NamedTuple):
    """Epochs that ended within a block.

    Args:
        epochs: How many.
        logs: By name, what `History` shows of each.
    """

    epochs: int
    logs: dict[str, list[float]]


class Slices:
    """The steps of a block, cut into epochs, and those into slices.

    A slice is made as it is taken: a block may have thousands, and Python's
    garbage collection takes longer over them than small steps take.

    Args:
        lengths: How many of the steps are in each epoch; the last is one that
            has not ended, and may be of length 0.
        epoch_logs: By name, what `History` shows of each epoch that ended.
        logs_at: A function that gives what a step returned.
        most: How many steps a slice may have.
        counted: As in `LogSlice`; `None` for as many as it has.

    Example:

    >>> slices = Slices([2, 2, 2, 1], {"loss": [3.0, 2.0, 1.0]})
    >>> slices.pop().epoch_logs
    {'loss': 3.0}
    >>> slices.pop_epochs()
    PassedEpochs(epochs=2, logs={'loss': [2.0, 1.0]})
    >>> slices.pop().steps, bool(slices)
    (1, False)
    """

    def __init__(
        self,
        lengths: Sequence[int] = (0,),
        epoch_logs: Mapping[str, list[float]] | None = None,
        logs_at: Callable[[int], Any] = lambda index: {},
        most: float = math.inf,
        counted: int | None = None,
    ) -> None:
        self._ends = list(itertools.accumulate(lengths))
        self._epoch_logs = dict(epoch_logs or {})
        self._logs_at, self._most, self._counted = logs_at, most, counted
        self._epoch = self._done = 0  # Within the block

    def __bool__(self) -> bool:
        """Whether a slice is left."""
        return self._done < self._ends[-1]

    def pop(self) -> LogSlice:
        """Takes the next slice, of which there is one."""
        epoch, end = self._epoch, self._ends[self._epoch]
        steps = int(min(end - self._done, self._most))
        self._done += steps
        logs = None
        if self._done == end and epoch < len(self._ends) - 1:
            self._epoch += 1
            logs = {
                name: each[epoch] for name, each in self._epoch_logs.items()
            }
        return LogSlice(
            steps,
            self._counted or steps,
            functools.partial(self._logs_at, self._done - 1),
            logs,
        )

    def pop_epochs(self) -> PassedEpochs:
        """Takes the epochs that end before the last slice of the block."""
        first = self._epoch
        last = max(first, bisect.bisect_left(self._ends, self._ends[-1]))
        if last > first:
            self._epoch, self._done = last, self._ends[last - 1]
        logs = {n: each[first:last] for n, each in self._epoch_logs.items()}
        return PassedEpochs(last - first, logs)
