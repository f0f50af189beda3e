"""What happens to threads and open files at `os.fork`.

A forked process has copies of all objects, but none of the threads that serve
them; open files, their positions and their locks are shared with its parent.
So each object with a thread or an open file registers here, and drops them in
the child.
"""

import abc
import contextlib
import os
import threading
import weakref

import tensorflow as tf

from gdtrain.common.explained import more


class ForkAware(abc.ABC):
    """An object that is notified of forks, once it is registered.

    No method may wait for a thread.
    """

    def before_fork(self) -> None:
        """Called in the thread that forks."""

    def after_fork_in_parent(self) -> None:
        """Called in the thread that forked."""

    @abc.abstractmethod
    def after_fork_in_child(self) -> None:
        """Called in the child."""


# By id, and not a `WeakSet`: reading a dict is safe beside other threads.
_owners: dict[int, weakref.ref[ForkAware]] = {}
#: While it is held, other threads wait to fork. For what a fork must not
#: split, such as a record that is being written: the child would have the rest
#: of it in a buffer of its own, and write it when it ends.
no_fork = threading.RLock()


def register(owner: ForkAware) -> None:
    """Notifies an object of forks, until `unregister` or its end.

    Example:

    >>> class Numbers(list, ForkAware):
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


def unregister(owner: ForkAware) -> None:
    """Ends that."""
    _owners.pop(id(owner), None)


def _before() -> None:
    no_fork.acquire()
    with contextlib.ExitStack() as stack:  # Whatever one of them raises
        for owner in _living():
            stack.callback(owner.before_fork)


def _after_in_parent() -> None:
    no_fork.release()
    with contextlib.ExitStack() as stack:
        for owner in _living():
            stack.callback(owner.after_fork_in_parent)


def _after_in_child() -> None:
    no_fork.release()
    with contextlib.ExitStack() as stack:
        stack.callback(_note_lost_threads)
        for owner in _living():
            stack.callback(owner.after_fork_in_child)


def _living() -> list[ForkAware]:
    owners = [reference() for reference in list(_owners.values())]
    return [owner for owner in owners if owner is not None]


_lacks_threads = False


def check_threads(runs_eagerly: bool) -> None:
    """Refuses to run a compiled program that would wait forever.

    Args:
        runs_eagerly: Whether each operation runs separately, in the thread
            that calls it.

    Raises:
        RuntimeError: if TensorFlow had started when this process was forked.
    """
    if _lacks_threads and not runs_eagerly:
        raise RuntimeError(
            "A forked process must not run compiled TensorFlow programs: it "
            "has none of TensorFlow's threads, and would wait forever. "
            f"Received: process {os.getpid()}, forked from one that had "
            "begun to use TensorFlow. Start it by "
            '`multiprocessing.get_context("spawn")`, or compile the model '
            "with `run_eagerly=True`." + more("forked-process")
        )


def _note_lost_threads() -> None:
    """Notes, in a child, whether TensorFlow had begun and had threads."""
    global _lacks_threads
    threads = tf.config.threading.get_inter_op_parallelism_threads()
    try:
        # It may be changed until TensorFlow begins.
        tf.config.threading.set_inter_op_parallelism_threads(threads + 1)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    except RuntimeError:
        _lacks_threads = True


if hasattr(os, "register_at_fork"):  # Windows has no forks.
    os.register_at_fork(
        before=_before,
        after_in_parent=_after_in_parent,
        after_in_child=_after_in_child,
    )
