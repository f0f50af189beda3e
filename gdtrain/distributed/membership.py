"""What a process owes the others of its cluster, from its start to its end."""

import atexit
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import TracebackType

import tensorflow as tf

from gdtrain.distributed import worker_lost
from gdtrain.distributed.cluster import Cluster
from gdtrain.distributed.worker_lost import WorkerLost
from gdtrain.keras_bridge import coordination

_PREFIX = "gdtrain/"
_SOMEONE_ENDED = f"{_PREFIX}someone ended/"
_ALL_ENDED = f"{_PREFIX}all ended"
_JUDGED = f"{_PREFIX}judged"
_PATIENCE = 5.0  # Seconds of waiting before a worker asks who has ended
_BETWEEN = 1.0  # Seconds between looks at what this process waits for


class Membership:
    """This process as a member of a cluster.

    It reports a failure of its own, waits for the others at its end, and
    watches that what it waits for can come: a worker that has ended its
    program, or hangs, answers nobody, but sends heartbeats.

    Args:
        cluster: All processes.
        timeout: Seconds that one block of steps may wait for other workers.
    """

    def __init__(self, cluster: Cluster, timeout: float) -> None:
        self._tasks = [
            (kind, index)
            for kind, addresses in cluster.tasks.items()
            for index in range(len(addresses))
        ]
        self._own = cluster.kind, cluster.index
        self._name = _name(self._own)
        self._timeout = timeout
        self._waits_since: float | None = None
        self._says_it_waits = False
        self._has_failed = False
        self._process = os.getpid()
        self._hook = sys.excepthook
        self._watch = threading.Thread(
            target=self._run, name="gdtrain-workers", daemon=True
        )

    def begin(self) -> None:
        """Begins to watch, and sets what happens at the end."""
        self._watch.start()
        if threading.current_thread() is not threading.main_thread():
            return  # Who runs this thread, as Ray, ends the processes.
        handler = signal.getsignal(signal.SIGTERM)
        if handler is not None:  # TensorFlow would ignore it from now on.
            signal.signal(signal.SIGTERM, handler)
        sys.excepthook = self._uncaught
        atexit.register(self._end)

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """While open, this process may wait for others."""
        # As a block is traced, variables may be made within.
        outer = self._waits_since
        self._waits_since = outer or time.monotonic()
        try:
            yield
        finally:
            self._waits_since = outer

    def _run(self) -> None:
        """Watches, on a thread of its own."""
        with contextlib.suppress(tf.errors.OpError):  # The first one is lost.
            while True:
                time.sleep(_BETWEEN)
                since = self._waits_since
                waited = 0.0 if since is None else time.monotonic() - since
                if waited > _PATIENCE:
                    self._look_for_ended()
                if since is not None and waited > self._timeout:
                    self._look_for_stuck(since)
                elif self._says_it_waits:  # What it waited for has come.
                    coordination.withdraw(_waits(self._own))
                    self._says_it_waits = False

    def _look_for_ended(self) -> None:
        """Fails what waits for a worker that has ended its program."""
        if coordination.is_published(_SOMEONE_ENDED):
            ended = [
                t for t in self._tasks if coordination.is_published(_ended(t))
            ]
            if ended:  # Else no answer came in time: the next look asks.
                self._report(
                    ended, "its program has ended, before that of others"
                )

    def _look_for_stuck(self, since: float) -> None:
        """Fails what waits for a worker that waits for nobody."""
        coordination.publish(_waits(self._own))
        self._says_it_waits = True
        if not coordination.publish(_JUDGED):
            return  # One of the others looks already.
        time.sleep(3 * _BETWEEN)  # In which all that wait say so
        if self._waits_since != since:
            coordination.withdraw(_JUDGED)
            return
        stuck = [
            task
            for task in self._tasks
            if not coordination.is_published(_waits(task))
        ]
        seconds = f"for {self._timeout:g} seconds (`timeout`)"
        if stuck:
            self._report(stuck, f"others have waited for it {seconds}")
        else:
            self._report(self._tasks, f"each has waited for another {seconds}")

    def _report(self, tasks: list[tuple[str, int]], why: str) -> None:
        names = [_name(task) for task in tasks]
        coordination.report(worker_lost.report_of(names, why))

    def _uncaught(
        self,
        kind: type[BaseException],
        error: BaseException,
        traceback: TracebackType | None,
    ) -> None:
        """Shows an error that ends the program, and reports it."""
        # Outside of `fit`
        lost = worker_lost.from_error(error, _name(self._tasks[0]))
        if lost is not None:
            kind, error = WorkerLost, lost.with_traceback(traceback)
        self._hook(kind, error, traceback)
        if os.getpid() == self._process and isinstance(error, Exception):
            self._has_failed = True
            if isinstance(error, WorkerLost):
                text = worker_lost.report_of(error.workers, error.why)
            else:
                line = " ".join(f"{kind.__name__}: {error}".split())[:300]
                text = worker_lost.report_of(
                    [self._name], f"it raised {line.rstrip('.')}"
                )
            coordination.report(text)

    def _end(self) -> None:
        """Waits until all have ended, unless this one has failed.

        A process that leaves would put the others in error.
        """
        if self._has_failed or os.getpid() != self._process:
            return
        deadline = time.monotonic() + self._timeout
        with contextlib.suppress(tf.errors.OpError):  # The first one is lost.
            coordination.publish(_ended(self._own))
            coordination.publish(_SOMEONE_ENDED)
            first = self._tasks[0]
            awaited = self._tasks if self._own == first else [first]
            for task in awaited:
                key = _ended(task) if self._own == first else _ALL_ENDED
                while time.monotonic() < deadline:
                    if coordination.is_published(key, _BETWEEN):
                        break
                    if coordination.is_lost(*task):
                        break
            if self._own == first:
                coordination.publish(_ALL_ENDED)


def _name(task: tuple[str, int]) -> str:
    return f"{task[0]}-{task[1]}"


def _ended(task: tuple[str, int]) -> str:
    return f"{_PREFIX}ended/{_name(task)}"


def _waits(task: tuple[str, int]) -> str:
    return f"{_PREFIX}waits/{_name(task)}"


_memberships: list[Membership] = []  # At most one


def begin(cluster: Cluster, timeout: float) -> None:
    """Makes this process a member of a cluster."""
    membership = Membership(cluster, timeout)
    _memberships.append(membership)
    membership.begin()


def waiting() -> contextlib.AbstractContextManager[None]:
    """A context within which this process may wait for others.

    Example:

    >>> with waiting():
    ...     pass
    """
    if not _memberships:
        return contextlib.nullcontext()
    return _memberships[0].waiting()
