"""A thread of its own for writing, so that training does not wait."""

import atexit
import contextlib
import math
import queue
import threading
import time

from gdtrain.common import failures, forks

_END = object()
_LEAST = 2**14  # Bytes that any job counts for: Python's own for small jobs


def _nothing():
    """What there is to flush by default."""


class Background:
    """Does jobs in order on a thread, and flushes now and then.

    The thread starts with the first job. What waits is bounded: a caller
    waits only when it is that far ahead. A job that raises is told of once,
    in a warning; those after it are dropped, and training goes on. What is
    left when the interpreter exits is done before it does. A forked process
    leaves to its parent what the parent has begun: jobs there are dropped
    until `close`.

    Args:
        flush: Called, on the thread, `every_seconds` after a job, and at the
            end. By default nothing is.
        every_seconds: How long finished jobs wait for a flush.
        capacity: How many bytes jobs may hold that are not done. Defaults to
            64 MiB, 16 million numbers.

    Example:

    >>> done = []
    >>> background = Background(flush=lambda: done.append("flush"))
    >>> background.do(done.append, "job")
    >>> background.wait()
    >>> done
    ['job', 'flush']
    >>> background.close()
    """

    def __init__(self, flush=_nothing, every_seconds=1.0, capacity=2**26):
        self._flush = flush
        self._every_seconds = every_seconds
        self._capacity = capacity
        self._failed = False
        self._is_parents = False  # In a forked process: what was begun before
        self._begin()

    def _begin(self) -> None:
        self._held = 0
        self._room = threading.Condition()
        self._jobs: queue.Queue = queue.Queue()
        self._thread: threading.Thread | None = None

    def after_fork_in_child(self) -> None:
        """Leaves to the parent, in a forked process, what it has begun."""
        atexit.unregister(self.close)
        forks.unregister(self)
        self._is_parents = True
        self._begin()  # Another thread may have held the locks.

    def __reduce__(self):
        # A copy has a thread of its own, and nothing to do yet.
        return Background, (self._flush, self._every_seconds, self._capacity)

    def do(self, job, *args, size=0):
        """Calls `job(*args)` on the thread, after all that came before.

        Args:
            job: A function.
            *args: Its arguments.
            size: How many bytes they hold; each job counts for 16 KiB at
                least. A job larger than the capacity waits to be alone.
        """
        if self._is_parents:
            return
        cost = max(size, _LEAST)
        with self._room:
            self._room.wait_for(
                lambda: not self._held or self._held + cost <= self._capacity
            )
            self._held += cost
            self._put(job, args, cost)

    def wait(self):
        """Returns when all jobs so far are done and flushed."""
        if self._thread is not None:
            self._put(self._flush)
            self._jobs.join()

    def close(self):
        """Does what is left, flushes, and ends the thread."""
        if self._thread is not None:
            self._put(self._flush)
            self._put(_END)
            self._thread.join()
            self._thread = None
            atexit.unregister(self.close)
            forks.unregister(self)
        # What comes next deserves another try.
        self._failed = self._is_parents = False

    def _put(self, job, args=(), cost=0):
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

    def _run(self):
        flush_at = math.inf  # When to flush; infinite while all is flushed
        while True:
            with contextlib.suppress(queue.Empty):
                if self._do_next(_seconds_until(flush_at)) is _END:
                    return
                soon = time.monotonic() + self._every_seconds
                flush_at = min(flush_at, soon)
            if time.monotonic() >= flush_at:
                self._attempt(self._flush, ())
                flush_at = math.inf

    def _do_next(self, seconds):
        """Does a job that comes within `seconds`, and returns it."""
        # A method, so that no local name keeps the last job's numbers alive.
        job, args, cost = self._jobs.get(timeout=seconds)
        if job is not _END:
            self._attempt(job, args)
        with self._room:
            self._held -= cost
            self._room.notify_all()
        self._jobs.task_done()
        return job

    def _attempt(self, job, args):
        """Does a job, unless one has failed before."""
        if self._failed:
            return
        try:
            job(*args)
        except BaseException as error:  # Whatever it is, training must go on.
            self._failed = True
            with contextlib.suppress(Exception):
                self._flush()
            failures.warn(
                "Writing has stopped",
                error,
                "Training goes on without it; what was written before is kept.",
            )


def _seconds_until(moment):
    """Seconds to wait; `None`, for as long as it takes, if infinite."""
    if moment == math.inf:
        return None
    return max(moment - time.monotonic(), 0.0)
