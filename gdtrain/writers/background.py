"""A thread of its own for writing, so that training does not wait."""

import math
import queue
import threading
import time
import traceback
import warnings

_END = object()


class Background:
    """Does jobs in order on a thread, and flushes now and then.

    The thread starts with the first job. The queue is bounded: a caller waits
    only when it is that far ahead. A job that raises is told of once, in a
    warning; those after it are dropped, and training goes on.

    Args:
        flush: Called, on the thread, `every_seconds` after a job, and at the
            end.
        every_seconds: How long finished jobs wait for a flush.
        capacity: How many jobs may wait.

    Example:

    >>> done = []
    >>> background = Background(flush=lambda: done.append("flush"))
    >>> background.do(done.append, "job")
    >>> background.wait()
    >>> done
    ['job', 'flush']
    >>> background.close()
    """

    def __init__(self, flush, every_seconds=1.0, capacity=4096):
        self._flush = flush
        self._every_seconds = every_seconds
        self._jobs: queue.Queue = queue.Queue(capacity)
        self._thread = None
        self._failed = False

    def do(self, job, *args):
        """Calls `job(*args)` on the thread, after all that came before."""
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._run, name="gdtrain writer", daemon=True
            )
            self._thread.start()
        self._jobs.put((job, args))

    def wait(self):
        """Returns when all jobs so far are done and flushed."""
        if self._thread is not None:
            self._jobs.put((self._flush, ()))
            self._jobs.join()

    def close(self):
        """Does what is left, flushes, and ends the thread."""
        if self._thread is not None:
            self._jobs.put((self._flush, ()))
            self._jobs.put((_END, ()))
            self._thread.join()
            self._thread = None
            self._failed = False  # What comes next deserves another try.

    def _run(self):
        flush_at = math.inf  # When to flush; infinite while all is flushed
        while True:
            try:
                job, args = self._jobs.get(timeout=_seconds_until(flush_at))
            except queue.Empty:
                pass
            else:
                if job is _END:
                    return
                self._attempt(job, args)
                self._jobs.task_done()
                soon = time.monotonic() + self._every_seconds
                flush_at = min(flush_at, soon)
            if time.monotonic() >= flush_at:
                self._attempt(self._flush, ())
                flush_at = math.inf

    def _attempt(self, job, args):
        """Does a job, unless one has failed before."""
        if self._failed:
            return
        try:
            job(*args)
        except Exception:  # Whatever it is, training must go on.
            self._failed = True
            warnings.warn(
                "Writing has stopped; training goes on without it. What was "
                "written before is kept. The error was:\n"
                + traceback.format_exc(),
                stacklevel=2,
            )


def _seconds_until(moment):
    """Seconds to wait; `None`, for as long as it takes, if infinite."""
    if moment == math.inf:
        return None
    return max(moment - time.monotonic(), 0.0)
