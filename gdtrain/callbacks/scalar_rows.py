"""Numbers that are known in Python, on their way to a writer."""

import itertools
import threading
from typing import Any

import numpy as np


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
    if hasattr(value, "dtype"):
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


class ScalarRows:
    """Collects rows of numbers, to be written many at once.

    Thousands of short epochs a second would else be as many jobs.

    Example:

    >>> rows = ScalarRows()
    >>> [rows.add("train", epoch, {"epoch_loss": 0.5}) for epoch in (0, 1)]
    [True, False]
    >>> list(rows.take())
    [('train', ['epoch_loss'], [0, 1], [[0.5], [0.5]])]
    """

    def __init__(self):
        self._waiting = []
        self._lock = threading.Lock()

    def __reduce__(self):
        return ScalarRows, ()  # What waits is written by the original.

    def add(self, run, step, numbers):
        """Adds a row.

        Args:
            run: The run that it belongs to.
            step: Where it is on the x axis.
            numbers: A dict by tag.

        Returns:
            Whether it is the first one since `take`.
        """
        with self._lock:
            self._waiting.append((run, step, numbers))
            return len(self._waiting) == 1

    def take(self):
        """Yields rows of the same tags together, and forgets them.

        Yields:
            `(run, names, steps, values)`: values are `[steps, names]`.
        """
        with self._lock:
            taken, self._waiting = self._waiting, []
        for (run, names), group in itertools.groupby(
            taken, key=lambda row: (row[0], list(row[2]))
        ):
            rows = list(group)
            yield (
                run,
                names,
                [step for _, step, _ in rows],
                [list(numbers.values()) for *_, numbers in rows],
            )
