"""A forked process has none of TensorFlow's threads."""

import os

import tensorflow as tf

_lacks_threads = False


def check(runs_eagerly: bool) -> None:
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


def _after_in_child() -> None:
    global _lacks_threads
    _lacks_threads = _lacks_threads or _has_begun()


if hasattr(os, "register_at_fork"):  # Windows has no forks.
    os.register_at_fork(after_in_child=_after_in_child)
