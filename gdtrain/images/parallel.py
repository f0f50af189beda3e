"""Many things done by several threads, with a progress bar."""

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any

import keras

SILENT_SECONDS = 3  # That something takes without a bar
_ITEMS = 8  # That a thread takes at once


class Progress:
    """A progress bar of Keras, which shows after a few seconds.

    Args:
        total: How many things are to be done.
        unit_name: Of one of them.
        verbose: 0 for no bar.

    Example:

    >>> with Progress(3, "photo") as progress:
    ...     for done in 1, 2, 3:
    ...         progress.update(done)
    """

    def __init__(
        self, total: int, unit_name: str, verbose: Any = "auto"
    ) -> None:
        self._total = total
        self._began = time.monotonic()
        # From now on, it measures how long one of them takes.
        self._bar = keras.utils.Progbar(total, unit_name=unit_name)
        self._verbose = verbose
        self._is_shown = False

    def update(self, done: int) -> None:
        """Shows how many are done, from the thread that made the bar."""
        is_long = time.monotonic() - self._began >= SILENT_SECONDS
        if self._verbose and is_long and done < self._total:
            self._is_shown = True
            self._bar.update(done)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ends the line of the bar."""
        if self._is_shown and error is None:
            self._bar.update(self._total, finalize=True)
        elif self._is_shown:
            print()


def in_parallel(
    function: Callable[[int], None],
    count: int,
    on_done: Callable[[int], None] | None = None,
) -> None:
    """Calls a function with 0, 1, ..., `count - 1`, from several threads.

    Args:
        function: The function.
        count: How often it is called.
        on_done: Called by this thread now and then, with how many are done.
    """

    def call(start: int) -> None:
        for i in range(start, min(start + _ITEMS, count)):
            function(i)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        starts = range(0, count, _ITEMS)
        for start, _ in zip(starts, pool.map(call, starts), strict=True):
            if on_done is not None:
                on_done(min(start + _ITEMS, count))
