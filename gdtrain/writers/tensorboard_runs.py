"""The event files of a run and of its validation, over several attempts.

The mark of a new attempt (see `gdtrain.writers.tensorboard`) counts for all
tags alike, so it cannot be right for both tags by step and tags by epoch.
TensorBoard's fast loader ignores it, but drops a tag's points when it reads a
point of the same or an earlier step. So points that come again are removed
from the old files.
"""

import contextlib
import functools
import math
import os
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf
from tensorboard.backend.event_processing import event_file_loader
from tensorboard.compat.proto import event_pb2
from tensorboard.compat.proto.summary_pb2 import Summary

from gdtrain.common import checks, failures, forks
from gdtrain.common.explained import more
from gdtrain.writers import reading
from gdtrain.writers.folder_lock import FolderLock
from gdtrain.writers.tensorboard import TensorBoardWriter
from gdtrain.writers.writer import Array, Mask, Names, Writer

_IsStale = Callable[[str, int], bool]  # Of a tag and a step


def drop_stale(
    directory: str | os.PathLike, first: Callable[[str], float]
) -> None:
    """Removes points from the event files of a folder.

    A file that has such points is replaced, or deleted if nothing is left.
    No writer may have them open. A TensorBoard that has already read them may
    show what was dropped until it is restarted.

    Args:
        directory: The folder; may be missing.
        first: Returns, for a tag, the first step to drop, or infinity to drop
            nothing.

    Raises:
        OSError: if a file cannot be read or written; it is unchanged then.

    Example:

    >>> import tempfile
    >>> from gdtrain.writers.tensorboard import TensorBoardWriter
    >>> folder = tempfile.mkdtemp()
    >>> writer = TensorBoardWriter(folder)
    >>> writer.write([1, 2, 3], ["step/loss"], [[7], [6], [5]])
    >>> writer.write([0, 1], ["epoch_loss"], [[6.5], [5]])
    >>> writer.close()
    >>> drop_stale(folder, lambda tag: 1 if tag.startswith("epoch_") else 3)
    >>> scalars = reading.scalars(folder)
    >>> {tag: steps.tolist() for tag, (steps, _) in scalars.items()}
    {'step/loss': [1, 2], 'epoch_loss': [0]}
    """
    first_of = functools.cache(first)

    def is_stale(tag: str, step: int) -> bool:
        return step >= first_of(tag)

    for path in reading.paths(directory):
        try:
            with forks.no_fork:
                _rewrite(path, functools.partial(_fresh, is_stale=is_stale))
        except tf.errors.OpError as error:
            raise OSError(
                "Event files of an earlier attempt must be open to reading "
                f"and writing. Received: {error}. Free the disk, or give the "
                "run another folder." + more("writing-stopped")
            ) from error


def _rewrite(path: str, fresh: Callable[[bytes], bytes]) -> None:
    """Removes the stale points of a file, if it has any."""
    load = event_file_loader.RawEventFileLoader
    if all(fresh(data) == data for data in load(path).Load()):
        return
    # TensorBoard reads all files whose names contain "tfevents".
    part = os.path.join(os.path.dirname(path), "gdtrain.part")
    try:
        with tf.io.TFRecordWriter(part) as file:
            is_left = False
            for kept in filter(None, map(fresh, load(path).Load())):
                file.write(kept)
                what = event_pb2.Event.FromString(kept).WhichOneof("what")
                is_left |= what not in ("file_version", "session_log")
        if is_left:
            tf.io.gfile.rename(part, path, overwrite=True)
        else:
            tf.io.gfile.remove(path)
    finally:
        with contextlib.suppress(tf.errors.OpError):
            tf.io.gfile.remove(part)


def _fresh(data: bytes, is_stale: _IsStale) -> bytes:
    """An event without stale points; empty if nothing is left of it."""
    event = event_pb2.Event.FromString(data)
    values = event.summary.value
    fresh = [v for v in values if not is_stale(v.tag, event.step)]
    if len(fresh) == len(values):
        return data
    del values[:]
    values.extend(fresh)
    return event.SerializeToString() if fresh else b""


# Which folder a run is within the log folder. TensorBoard lists every folder
# that has event files; the tab HParams takes curves of the folder that
# describes a run, and of those below it.
FOLDERS = {"train": "", "validation": "validation"}
# Suffixes of files that each attempt replaces, and each from the start
_DESCRIPTION, _VERDICT = ".description", ".verdict"


class TensorBoardRuns:
    """Writers for the runs of a log folder, each made at its first write.

    Of steps and epochs that come again, the points of earlier attempts are
    removed: one curve remains. A run that cannot be written gives a warning,
    and is not written until the next attempt; the other one continues.

    Args:
        log_dir: The folder; made if it is missing.

    Example:

    >>> import tempfile
    >>> from gdtrain.writers import reading
    >>> folder = tempfile.mkdtemp()
    >>> for losses in ([3.0, 2.0, 1.0], [5.0, 4.0]):
    ...     runs = TensorBoardRuns(folder)
    ...     runs.lock()
    ...     runs.begin(steps_done=0, epoch=0)
    ...     steps = range(1, 1 + len(losses))
    ...     runs["train"].write(steps, ["step/loss"], [[x] for x in losses])
    ...     runs.close()
    >>> reading.read(folder)["loss"].tolist()
    [5.0, 4.0]
    """

    def __init__(self, log_dir: str | os.PathLike) -> None:
        self.log_dir = checks.absolute(log_dir)
        self._runs: dict[str, _Run] = {}
        self._lock: FolderLock | None = None
        self._fresh: set[str] = set()  # Runs whose next file is the first
        # Up to which step and epoch a run was written; at first not known
        self._known: tuple[float, float] = math.inf, math.inf

    def __getstate__(self) -> dict[str, Any]:
        # A copy has its own files and lock.
        return {**vars(self), "_runs": {}, "_lock": None}

    def lock(self) -> None:
        """Keeps other runs from writing there, until `close`.

        Raises:
            RuntimeError: if a different run writes there.
        """
        if self._lock is None:
            self._lock = FolderLock(self.log_dir)

    def begin(self, steps_done: int, epoch: int) -> None:
        """Begins an attempt at the run.

        Args:
            steps_done: The last step that the model has done.
            epoch: The first epoch to come.
        """
        self._close_runs()
        with failures.FailureReporter().catch(
            f"What {self.log_dir!r} has of an earlier attempt may still show",
            "This attempt is written beside it.",
        ):
            self._drop_stale(steps_done, epoch)
        if not steps_done:
            self._fresh = set(FOLDERS)

    def end(self, steps_done: int, epoch: int) -> None:
        """Notes how far the attempt came: no later step is stale."""
        self._known = steps_done, epoch

    def describe(self, summaries: Sequence[Summary]) -> None:
        """Writes the description of the run; the next attempt replaces it."""
        self["train"].add_file(0, summaries, _DESCRIPTION)

    def judge(self, step: int, summary: Summary) -> None:
        """Writes the verdict after a step; a new run replaces all of them."""
        # Loaders drop points that come again, but not those of later steps.
        self["train"].add_file(step, [summary], _VERDICT)

    def __getitem__(self, name: str) -> "_Run":
        """The writer of a run, `"train"` or `"validation"`."""
        if name not in self._runs:
            # At a mark of step 0, TensorBoard drops all points before it.
            first_step = 0 if name in self._fresh else None
            self._fresh.discard(name)
            directory = self._directory(name)
            self._runs[name] = _Run(directory, first_step, self._lock_again)
        return self._runs[name]

    @property
    def steps(self) -> Writer:
        """A writer of quantities of steps, with tags `step/<name>`."""
        return _Steps(self)

    def flush(self) -> None:
        """Makes what was written readable."""
        for run in self._runs.values():
            run.flush()

    def close(self) -> None:
        """Closes the files, and releases the lock."""
        try:
            self._close_runs()
        finally:
            if self._lock is not None:
                self._lock.release()
                self._lock = None

    def _close_runs(self) -> None:
        runs, self._runs = self._runs, {}
        for run in runs.values():
            run.close()

    def _lock_again(self) -> None:
        """Locks a folder that was deleted and made again.

        Raises:
            RuntimeError: if a different run writes there.
        """
        if self._lock is not None:
            self._lock.release()
            self._lock = None
            self.lock()

    def _drop_stale(self, steps_done: int, epoch: int) -> None:
        """Removes what comes again."""
        gone = (_DESCRIPTION,) if steps_done else (_DESCRIPTION, _VERDICT)
        for path in reading.paths(self.log_dir):
            if path.endswith(gone):
                tf.io.gfile.remove(path)
        # May steps or epochs to come have been written before?
        known_steps, known_epoch = self._known
        if steps_done and (known_steps > steps_done or known_epoch >= epoch):
            for name in FOLDERS:
                drop_stale(
                    self._directory(name),
                    lambda tag: (
                        epoch if tag.startswith("epoch_") else steps_done + 1
                    ),
                )

    def _directory(self, name: str) -> str:
        """The folder of a run."""
        below = FOLDERS[name]
        return os.path.join(self.log_dir, below) if below else self.log_dir


class _Run:
    """A writer of one run, whose errors become warnings.

    Args:
        directory: Its folder.
        first_step: As in `TensorBoardWriter`.
        lock_again: Called when its folder was deleted; raises `RuntimeError`
            if a different run writes there now.
    """

    def __init__(
        self,
        directory: str,
        first_step: int | None,
        lock_again: Callable[[], None],
    ) -> None:
        self._directory = directory
        self._writer = TensorBoardWriter(directory, first_step)
        self._lock_again = lock_again
        self._parts = failures.FailureReporter()
        self._has_stopped = False

    def _attempt(
        self, method: Callable[..., None], *args: Any, **kwargs: Any
    ) -> None:
        """Calls a method of the writer, unless writing has stopped."""
        if self._has_stopped:
            return
        with self._parts.catch(
            f"Something is missing in {self._directory!r}",
            "What follows is written, and training continues.",
        ):
            try:
                method(self._writer, *args, **kwargs)
            except FileNotFoundError:  # The folder was deleted.
                try:
                    self._lock_again()
                except RuntimeError as error:
                    self._stop(error)
                raise
            except OSError as error:
                self._stop(error)

    # As those of `TensorBoardWriter`
    write = functools.partialmethod(_attempt, TensorBoardWriter.write)
    add = functools.partialmethod(_attempt, TensorBoardWriter.add)
    add_file = functools.partialmethod(_attempt, TensorBoardWriter.add_file)
    flush = functools.partialmethod(_attempt, TensorBoardWriter.flush)
    close = functools.partialmethod(_attempt, TensorBoardWriter.close)

    def _stop(self, error: Exception) -> None:
        """Writes no more, with a warning."""
        self._has_stopped = True
        failures.warn(
            f"Writing has stopped in {self._directory!r}",
            error.__cause__ or error,  # The warning names the folder.
            "Training continues without it; what was written before is kept."
            + more("writing-stopped"),
        )


class _Steps:
    """Writes quantities of steps to the run `train`."""

    def __init__(self, runs: TensorBoardRuns) -> None:
        self._runs = runs

    def write(
        self, steps: Array, names: Names, values: Array, measured: Mask = None
    ) -> None:
        """Adds steps. See `gdtrain.writers.Writer`."""
        tags = [f"step/{name}" for name in names]
        self._runs["train"].write(steps, tags, values, measured)

    def flush(self) -> None:
        """Nothing to do: all runs are flushed together."""

    def close(self) -> None:
        """Nothing to do: all runs are closed together."""
