"""What belongs to one process alone, where `os.fork` makes two of it.

A forked process has copies of all objects, yet none of the threads that serve
them; open files, their positions and their locks are shared with its parent.
So whatever a run has open registers here, and lets go of it in the child.
"""

import contextlib
import os
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

# By id, and not a `WeakSet`: reading a dict is safe beside other threads.
_owners: dict[int, weakref.ref] = {}
_no_fork = threading.RLock()


def register(owner: Any) -> None:
    """Tells an object of forks, until `unregister` or its end.

    Args:
        owner: Its `after_fork_in_child()` is called in each child. It may
            have `before_fork()` and `after_fork_in_parent()`, called in the
            thread of the parent that forks. None may wait for a thread.

    Example:

    >>> class Numbers(list):
    ...     after_fork_in_child = list.clear
    >>> numbers = Numbers([7])
    >>> register(numbers)
    >>> child = os.fork()
    >>> if not child:
    ...     os._exit(len(numbers))
    >>> os.waitpid(child, 0)[1], len(numbers)
    (0, 1)
    """
    _owners[id(owner)] = weakref.ref(owner)


def unregister(owner: Any) -> None:
    """Tells an object of no more forks."""
    _owners.pop(id(owner), None)


@contextlib.contextmanager
def held_off() -> Iterator[None]:
    """While open, other threads wait to fork.

    For what a fork must not cut in two, such as a record that is being
    written: the child would have the rest of it in a buffer of its own, and
    write it at its end.
    """
    with _no_fork:
        yield


def _before() -> None:
    _no_fork.acquire()
    _call("before_fork")


def _after_in_parent() -> None:
    _no_fork.release()
    _call("after_fork_in_parent")


def _after_in_child() -> None:
    _no_fork.release()
    _call("after_fork_in_child")


def _call(method: str) -> None:
    """Calls a method of all that have it, whatever one of them raises."""
    with contextlib.ExitStack() as stack:
        for reference in list(_owners.values()):
            owner = reference()
            if hasattr(owner, method):
                stack.callback(getattr(owner, method))


if hasattr(os, "register_at_fork"):  # Windows has no forks.
    os.register_at_fork(
        before=_before,
        after_in_parent=_after_in_parent,
        after_in_child=_after_in_child,
    )


_lacks_threads = False


def check_threads(runs_eagerly: bool) -> None:
    """Refuses to run a compiled program that would wait for ever.

    Args:
        runs_eagerly: Whether each operation runs by itself, in the thread
            that calls it.

    Raises:
        RuntimeError: if TensorFlow had begun when this process was forked.
    """
    if _lacks_threads and not runs_eagerly:
        raise RuntimeError(
            "A forked process must not run compiled TensorFlow programs: it "
            "has none of TensorFlow's threads, and would wait for ever. "
            f"Received: process {os.getpid()}, forked from one that had "
            "begun to use TensorFlow. Start it by "
            '`multiprocessing.get_context("spawn")`, or compile the model '
            "with `run_eagerly=True`."
        )


def _has_begun() -> bool:
    """Whether TensorFlow has begun, so that it has threads."""
    threads = tf.config.threading.get_inter_op_parallelism_threads()
    try:
        # May be set until then
        tf.config.threading.set_inter_op_parallelism_threads(threads + 1)
    except RuntimeError:
        return True
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    return False


def _note_lost_threads() -> None:
    global _lacks_threads
    _lacks_threads = _lacks_threads or _has_begun()


if hasattr(os, "register_at_fork"):  # Windows has no forks.
    os.register_at_fork(after_in_child=_note_lost_threads)
