"""A background thread for writing, so that training does not wait."""

import atexit
import contextlib
import math
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

from gdtrain.common import failures, forks
from gdtrain.common.explained import more

_MIN_SIZE = 2**14  # Bytes that any job counts for: Python's own for small jobs


def _nothing() -> None:
    """The default `flush`."""


def _end() -> None:
    """The job that ends the thread."""


_Job = tuple[Callable[..., Any], tuple, int]  # With arguments and size


class Background(forks.ForkAware):
    """Does jobs in order on a thread, and flushes from time to time.

    The thread starts with the first job. The queue is bounded: a caller waits
    while it is full. The first job that raises gives a warning; those after
    it are dropped, and training continues. Jobs that are left when the
    interpreter exits are done first. A forked process leaves them to its
    parent, and drops its own jobs until `close`.

    Args:
        flush: Called, on the thread, `every_seconds` after a job, and at the
            end. Defaults to nothing.
        every_seconds: How long finished jobs wait for a flush.
        capacity: How many bytes unfinished jobs may hold. Defaults to 64 MiB,
            16 million numbers.

    Example:

    >>> done = []
    >>> background = Background(flush=lambda: done.append("flush"))
    >>> background.do(done.append, "job")
    >>> background.wait()
    >>> done
    ['job', 'flush']
    >>> background.close()
    """

    def __init__(
        self,
        flush: Callable[[], None] = _nothing,
        every_seconds: float = 1.0,
        capacity: int = 2**26,
    ) -> None:
        self._flush = flush
        self._every_seconds = every_seconds
        self._capacity = capacity
        self._failed = False
        self._is_parents = False  # In a forked process: jobs begun before
        self._begin()

    def _begin(self) -> None:
        self._held = 0
        self._room = threading.Condition()
        self._jobs: queue.Queue[_Job] = queue.Queue()
        self._thread: threading.Thread | None = None

    def after_fork_in_child(self) -> None:
        """Leaves to the parent, in a forked process, what it has begun."""
        atexit.unregister(self.close)
        forks.unregister(self)
        self._is_parents = True
        self._begin()  # Another thread may have held the locks.

    def __reduce__(self) -> tuple:
        # A copy has its own thread, and no jobs yet.
        return Background, (self._flush, self._every_seconds, self._capacity)

    def do(self, job: Callable[..., Any], *args: Any, size: int = 0) -> None:
        """Calls `job(*args)` on the thread, after all that came before.

        Args:
            job: A function.
            *args: Its arguments.
            size: How many bytes they hold; each job counts for at least
                16 KiB. A job larger than the capacity waits to be alone.
        """
        if self._is_parents:
            return
        cost = max(size, _MIN_SIZE)
        with self._room:
            self._room.wait_for(
                lambda: not self._held or self._held + cost <= self._capacity
            )
            self._held += cost
            self._put(job, args, cost)

    def wait(self) -> None:
        """Returns when all jobs so far are done and flushed."""
        if self._thread is not None:
            self._put(self._flush)
            self._jobs.join()

    def close(self) -> None:
        """Does the jobs that are left, flushes, and ends the thread."""
        if self._thread is not None:
            self._put(self._flush)
            self._put(_end)
            self._thread.join()
            self._thread = None
            atexit.unregister(self.close)
            forks.unregister(self)
        # Later jobs are tried again.
        self._failed = self._is_parents = False

    def _put(
        self, job: Callable[..., Any], args: tuple = (), cost: int = 0
    ) -> None:
        """Queues a job, for a thread that is alive."""
        # One that a Ctrl-C kept `close` from waiting for may have ended.
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(
                target=self._run, name="gdtrain writer", daemon=True
            )
            self._thread.start()
            # A daemon still runs at this point of the exit, but not after.
            atexit.register(self.close)
            forks.register(self)
        self._jobs.put((job, args, cost))

    def _run(self) -> None:
        flush_at = math.inf  # When to flush; infinite while all is flushed
        while True:
            with contextlib.suppress(queue.Empty):
                seconds = max(flush_at - time.monotonic(), 0.0)
                if self._do_next(min(seconds, threading.TIMEOUT_MAX)) is _end:
                    return
                soon = time.monotonic() + self._every_seconds
                flush_at = min(flush_at, soon)
            if time.monotonic() >= flush_at:
                self._attempt(self._flush, ())
                flush_at = math.inf

    def _do_next(self, seconds: float) -> Callable[..., Any]:
        """Does a job that comes within `seconds`, and returns it."""
        # A method, so that no local name keeps the last job's numbers alive.
        job, args, cost = self._jobs.get(timeout=seconds)
        self._attempt(job, args)
        with self._room:
            self._held -= cost
            self._room.notify_all()
        self._jobs.task_done()
        return job

    def _attempt(self, job: Callable[..., Any], args: tuple) -> None:
        """Does a job, unless one has failed before."""
        if self._failed:
            return
        try:
            job(*args)
        except BaseException as error:  # Whatever it is, training continues.
            self._failed = True
            with contextlib.suppress(Exception):
                self._flush()
            failures.warn(
                "Writing has stopped",
                error,
                "Training continues without it; what was written before is "
                "kept." + more("writing-stopped"),
            )
