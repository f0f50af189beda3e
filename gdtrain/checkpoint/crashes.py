"""Records of the errors that ended a run, so that restarts come to an end."""

import contextlib
import json
import os
import re
import time
import traceback
from typing import NamedTuple

import tensorflow as tf

from gdtrain.common import failures
from gdtrain.common.explained import more
from gdtrain.common.whole_files import written_aside
from gdtrain.distributed.worker_lost import WorkerLost, from_error

_MOST = 3  # As many crashes in a row; two restarts
_NAME = re.compile(r"crash-([0-9]+)-worker-[0-9]+\.json")
_LENGTH = 20_000  # Most characters of a traceback, of which the last count

# What a collective operation raises if another worker is gone, or a file
# system of a network is
_OF_OTHERS = (
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.UnavailableError,
    WorkerLost,
)


def is_of_others(error: BaseException) -> bool:
    """Whether an error came of another worker, or of a network."""
    return isinstance(error, _OF_OTHERS) or from_error(error) is not None


class Crash(NamedTuple):
    """An error that ended a run.

    Args:
        attempt: Which start of the run it ended; the numbers grow.
        worker: On which worker.
        step: How many steps were done.
        until: How many would have been done after the block of steps.
        time: When, in seconds since 1970.
        kind: The type of the error, and where it was raised.
        traceback: As Python prints it.
    """

    attempt: int
    worker: int
    step: int
    until: int
    time: float
    kind: str
    traceback: str

    def is_repeated_in(self, other: "Crash") -> bool:
        """Whether another one is the same error, maybe at the same step."""
        same_step = self.step < other.until and other.step < self.until
        return same_step and self.kind == other.kind


class CrashLog:
    """The crashes of a run, each in a file of its own.

    Args:
        directory: The folder of the files; made when it is needed.
        worker: The index of this process.

    Attributes:
        place: What messages call the folder.

    Example:

    >>> import tempfile
    >>> folder = os.path.join(tempfile.mkdtemp(), "crashes")
    >>> for start in range(4):
    ...     log = CrashLog(folder, worker=1)
    ...     log.check()
    ...     try:
    ...         1 / 0
    ...     except ZeroDivisionError as error:
    ...         log.add(error, step=7, until=8)
    Traceback (most recent call last):
        ...
    gdtrain.common.failures.RepeatedCrash: Training must get beyond the step...
    """

    def __init__(self, directory: str | os.PathLike, worker: int) -> None:
        self._directory = os.fspath(directory)
        self.place = self._directory
        self._worker = worker
        self._found = self._read()
        self._attempt = 1 + max((one.attempt for one in self._found), default=0)

    def check(self) -> None:
        """Refuses to train if the last crashes were the same one.

        Raises:
            RepeatedCrash: with the traceback.
        """
        attempts = sorted({one.attempt for one in self._found})[-_MOST:]
        if len(attempts) < _MOST:
            return
        for crash in self._found:
            repeated = {
                other.attempt
                for other in self._found
                if crash.is_repeated_in(other)
            }
            if crash.attempt == attempts[-1] and repeated.issuperset(attempts):
                raise failures.RepeatedCrash(self._refusal(crash))

    def add(self, error: BaseException, step: int, until: int) -> None:
        """Writes down a crash of this process; warns if that fails.

        What signals and other workers that were lost have caused is not one.

        Args:
            error: What ended the run.
            step, until: As in `Crash`.
        """
        if is_of_others(error) or not isinstance(error, Exception):
            return
        text = "".join(traceback.format_exception(error))[-_LENGTH:]
        where = traceback.extract_tb(error.__traceback__)[-1:]
        kind = type(error).__qualname__
        kind += "".join(f" at {at.filename}:{at.lineno}" for at in where)
        crash = Crash(
            self._attempt, self._worker, step, until, time.time(), kind, text
        )
        name = f"crash-{self._attempt:06d}-worker-{self._worker}.json"
        try:
            os.makedirs(self._directory, exist_ok=True)
            path = os.path.join(self._directory, name)
            with written_aside(path, ".json") as aside:
                aside.write_text(json.dumps(crash._asdict()))
            self._remove(self._attempt - _MOST)
        except Exception as failure:  # The error itself must be seen.
            failures.warn(
                "What ended this run could not be written down",
                failure,
                "If it is started again and again, nothing stops it.",
            )

    def forget(self, step: int) -> None:
        """Forgets the crashes before, if training got beyond one of them.

        Args:
            step: How many steps are done.
        """
        # At its last step, the worker that failed may not be there yet.
        if any(one.until < step for one in self._found):
            self._remove(self._attempt - 1)
            self._found = []

    def _read(self) -> list[Crash]:
        """The crashes that can be read; others do not count."""
        found = []
        for path in self._paths():
            try:
                with open(path) as file:
                    found.append(Crash(**json.load(file)))
            except (OSError, ValueError, TypeError):
                continue
        return found

    def _paths(self) -> list[str]:
        """The files, oldest first."""
        if not os.path.isdir(self._directory):
            return []
        names = sorted(os.listdir(self._directory))
        return [
            os.path.join(self._directory, name)
            for name in names
            if _NAME.fullmatch(name)
        ]

    def _remove(self, attempt: int) -> None:
        """Removes the files of this attempt and those before."""
        for path in self._paths():
            if int(os.path.basename(path).split("-")[1]) <= attempt:
                with contextlib.suppress(OSError):  # Others do so, too.
                    os.remove(path)

    def _refusal(self, crash: Crash) -> str:
        """The message of a crash that was repeated."""
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(crash.time))
        return (
            "Training must get beyond the step where it failed. Received: "
            f"{_MOST} crashes in a row after step {crash.step}, of the same "
            f"error, the last at {at} on worker {crash.worker}:\n\n"
            f"{crash.traceback}\nNothing was trained. When the cause is gone, "
            f"delete {self.place!r} to try again." + more("repeated-crash")
        )
