"""The error of a worker that has lost another one."""

import contextlib
import re
from collections.abc import Iterator, Sequence

import tensorflow as tf

from gdtrain.common.explained import more

# What an operation says that waited for other processes
_ABORTED = "Collective ops is aborted by: "
_REMOTE = re.compile(r"error information from remote target (/job:\S+)")
_SILENT = re.compile(r"stopped sending heartbeats\):\n((?:/job:\S+\s)+)")
_REPORTED = re.compile(r"\[gdtrain: ([^:]*): (.*?)\]", re.DOTALL)
_TASK = re.compile(r"/job:(\w+)/(?:replica:\d+/)?task:(\d+)")


class WorkerLost(RuntimeError):
    """Another of the processes that train one model is lost.

    None of them can go on without it, so each one raises this and should end:
    a launcher that restarts all of them with the same command has training
    continue from the last checkpoint of
    `gdtrain.callbacks.BackupAndRestore`. Checkpoints are complete or absent.
    A worker that fails by itself raises its own error.

    Args:
        workers: Names of those that are lost, such as `"worker-1"`; empty if
            they are not known.
        why: What is known of them, a clause.

    Attributes:
        workers: As above, a list.

    Example:

    >>> try:
    ...     raise WorkerLost(["worker-1"], "it sends no heartbeat")
    ... except RuntimeError as error:
    ...     print(error.workers, str(error)[:43])
    ['worker-1'] worker-1 was lost: it sends no heartbeat. T
    """

    def __init__(self, workers: Sequence[str], why: str) -> None:
        self.workers = list(workers)
        self.why = why
        names = " and ".join(self.workers) or "A worker"
        was = "were" if len(self.workers) > 1 else "was"
        super().__init__(
            f"{names} {was} lost: {why}. Training on several workers ends with "
            "any of them. Saved checkpoints are whole: start all workers "
            "again with the same command, and `BackupAndRestore` continues "
            "from them." + more("worker-lost")
        )

    def __reduce__(self) -> tuple:  # To be pickled, as between Ray's actors
        return WorkerLost, (self.workers, self.why)


def report_of(workers: Sequence[str], why: str) -> str:
    """What a worker tells the others, from which they make a `WorkerLost`."""
    return f"[gdtrain: {' '.join(workers)}: {why.replace(']', ')')}]"


def from_error(
    error: BaseException, first: str = "worker-0"
) -> WorkerLost | None:
    """The `WorkerLost` that an error of TensorFlow means; `None` if none.

    Args:
        error: Raised by what waited for other processes.
        first: The worker that the others send heartbeats to.
    """
    if not isinstance(error, tf.errors.OpError):
        return None
    message = str(error.message)
    reported = _REPORTED.search(message)
    if reported:
        return WorkerLost(reported[1].split(), reported[2])
    silent = _SILENT.search(message)
    if silent:
        return WorkerLost(
            _names(silent[1]),
            "no heartbeat came from it, as it was killed or stopped, or its "
            "machine is gone",
        )
    remote = _REMOTE.search(message)
    if remote:
        return WorkerLost(
            _names(remote[1]),
            "its connection was closed, as it has ended or was killed",
        )
    if _ABORTED in message:
        why = message.partition(_ABORTED)[2].splitlines()[0]
        if why.startswith("Deadline Exceeded"):  # Of heartbeats
            return WorkerLost(
                [first],
                "it answers no heartbeat, as it was stopped, or its machine is "
                "gone",
            )
        return WorkerLost([], why.rstrip("."))
    return None


def _names(tasks: str) -> list[str]:
    return [f"{kind}-{index}" for kind, index in _TASK.findall(tasks)]


@contextlib.contextmanager
def explained(strategy: tf.distribute.Strategy) -> Iterator[None]:
    """While open, what another worker's loss causes becomes `WorkerLost`.

    Args:
        strategy: Of the model that is trained.
    """
    try:
        yield
    except tf.errors.OpError as error:
        resolver = strategy.cluster_resolver
        if resolver is None:  # As in strategies of one process
            raise
        has_chief = "chief" in resolver.cluster_spec().jobs
        lost = from_error(error, "chief-0" if has_chief else "worker-0")
        if lost is None:
            raise
        # Frames and operations where it was noticed say nothing of the cause.
        raise lost from None
