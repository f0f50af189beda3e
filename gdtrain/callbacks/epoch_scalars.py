"""Numbers that Keras's hooks pass on, of epochs and evaluations."""

import collections
import itertools
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from gdtrain.common import failures
from gdtrain.descent import optimizers
from gdtrain.writers.tensorboard_runs import TensorBoardRuns

_Row = tuple[str, int, dict[str, float]]


def number(value: Any) -> float:
    """A value of Keras's logs as a number; infinite where it is too large.

    Raises:
        TypeError: if it is not a single number.

    Example:

    >>> number(np.float32(0.5)), number(10**400), number(None)
    Traceback (most recent call last):
        ...
    TypeError: A scalar must be a single number. Received: None.
    """
    if isinstance(value, (int, float)):
        try:
            return float(value)
        except OverflowError:
            return float("inf") if value > 0 else -float("inf")
    if hasattr(value, "dtype"):  # An array of any library
        # NumPy warns of Keras's variables, and cannot take TensorFlow's
        # bfloat16, which is of kind V.
        found = np.asarray(value.numpy() if hasattr(value, "numpy") else value)
        if found.ndim == 0 and found.dtype.kind in "biufV":
            return float(found)
    text = " ".join(repr(value).split())
    raise TypeError(
        "A scalar must be a single number. Received: "
        f"{text[:60] + '...' if len(text) > 60 else text}."
    )


class EpochScalars:
    """Collects numbers of epochs and evaluations, written many at once.

    Thousands of short epochs a second would otherwise be as many jobs.

    Args:
        runs: Where they are written.
        parts: What cannot be written is excluded alone.

    Example:

    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> runs = TensorBoardRuns(folder)
    >>> scalars = EpochScalars(runs, failures.FailureReporter())
    >>> logs = {"loss": 0.5, "val_loss": 0.25}
    >>> [scalars.add_epoch(epoch, logs) for epoch in (0, 1)]
    [True, False]
    >>> scalars.write()
    >>> runs.close()
    """

    def __init__(
        self, runs: TensorBoardRuns, parts: failures.FailureReporter
    ) -> None:
        self._runs = runs
        self._parts = parts
        # Run, step on the x axis, and numbers by tag. One thread appends, and
        # one takes what is first, which is safe without a lock.
        self._waiting: collections.deque[_Row] = collections.deque()
        self._rates_at: int | None = None  # After how many steps read
        self._rates: dict[str, float] = {}

    def __getstate__(self) -> dict[str, Any]:
        # The original writes what is waiting.
        return {**vars(self), "_waiting": collections.deque()}

    def rates_of(self, model: keras.Model, steps_done: int) -> dict[str, float]:
        """The learning rates now, by `learning_rate` or `learning_rate_<name>`.

        Epochs of one block have the same ones, as a callback that sets them
        needs a sync. Reading them takes longer than short epochs.
        """
        if self._rates_at != steps_done:
            self._rates_at, self._rates = None, {}
            with self._parts.catch("Learning rates of epochs are skipped"):
                rates = optimizers.learning_rates(model.optimizer)
                self._rates = {
                    f"learning_rate_{name}" if name else "learning_rate": (
                        rate.numpy()
                    )
                    for name, rate in rates.items()
                }
                self._rates_at = steps_done
        return self._rates

    def add_epoch(self, epoch: int, logs: Mapping[str, Any]) -> bool:
        """Adds what `History` shows of an epoch.

        Returns:
            Whether it is the first since `write`, which is to be called then.
        """
        parts: dict[str, dict[str, Any]] = {"train": {}, "validation": {}}
        for name, value in logs.items():
            run = "validation" if str(name).startswith("val_") else "train"
            parts[run][f"epoch_{str(name).removeprefix('val_')}"] = value
        return any([self._add(run, epoch, parts[run]) for run in parts])

    def add_evaluation(self, step: int, logs: Mapping[str, Any]) -> bool:
        """Adds the results of an evaluation at a step; as `add_epoch`."""
        tagged = {f"evaluation_{k}_vs_iterations": v for k, v in logs.items()}
        return self._add("validation", step, tagged)

    def write(self) -> None:
        """Writes all of them, rows of the same tags together."""
        waiting = []
        while self._waiting:
            waiting.append(self._waiting.popleft())
        # By run, so that those of one are written together
        waiting.sort(key=lambda row: row[0])
        for (run, names), group in itertools.groupby(
            waiting, key=lambda row: (row[0], list(row[2]))
        ):
            rows = list(group)
            self._runs[run].write(
                [step for _, step, _ in rows],
                names,
                [list(numbers.values()) for *_, numbers in rows],
            )

    def _add(self, run: str, step: int, logs: Mapping[str, Any]) -> bool:
        numbers = {}
        for tag, value in logs.items():
            with self._parts.catch(f"{tag} is skipped"):
                numbers[tag] = number(value)
        if not numbers:
            return False
        self._waiting.append((run, step, numbers))
        return len(self._waiting) == 1
