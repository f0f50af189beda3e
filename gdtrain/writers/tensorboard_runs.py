"""What an attempt at a run wrote that the next attempt writes again.

The mark of a new attempt (see `gdtrain.writers.tensorboard`) counts for all
tags alike, so that it cannot be right for tags by step and tags by epoch.
TensorBoard's fast loader does not heed it at all, but drops a tag's points
when it finds another one of the same or an earlier step. So a point that is
written again is best taken out of the old files.
"""

import contextlib
import os

import tensorflow as tf
from tensorboard.backend.event_processing import event_file_loader
from tensorboard.compat.proto import event_pb2

from gdtrain.common import checks, failures, forks
from gdtrain.writers import event_files
from gdtrain.writers.folder_lock import FolderLock
from gdtrain.writers.tensorboard import TensorBoardWriter


def drop_stale(directory, first):
    """Takes points out of the event files of a folder.

    A file is written anew, aside, if there is something to drop, and removed
    if nothing is left. Nobody may be writing to them. A TensorBoard that has
    read them already may show what was dropped until it is started again.

    Args:
        directory: The folder; may be missing.
        first: A function. For a tag, it gives the first step to drop, or
            infinity to drop nothing.

    Raises:
        OSError: if a file cannot be read or written; it is as it was then.

    Example:

    >>> import tempfile
    >>> from gdtrain.writers.tensorboard import TensorBoardWriter
    >>> folder = tempfile.mkdtemp()
    >>> writer = TensorBoardWriter(folder)
    >>> writer.write([1, 2, 3], ["step/loss"], [[7], [6], [5]])
    >>> writer.write([0, 1], ["epoch_loss"], [[6.5], [5]])
    >>> writer.close()
    >>> drop_stale(folder, lambda tag: 1 if tag.startswith("epoch_") else 3)
    >>> scalars = event_files.scalars(folder)
    >>> {tag: steps.tolist() for tag, (steps, _) in scalars.items()}
    {'step/loss': [1, 2], 'epoch_loss': [0]}
    """
    known: dict = {}

    def is_stale(tag, step):
        if tag not in known:
            known[tag] = first(tag)
        return step >= known[tag]

    for path in event_files.paths(directory):
        try:
            with forks.held_off():
                _rewrite(path, is_stale)
        except tf.errors.OpError as error:
            raise OSError(
                "Event files of an earlier attempt must be open to reading "
                f"and writing. Received: {error}. Free the disk, or give the "
                "run another folder."
            ) from error


def _rewrite(path, is_stale):
    """Writes a file without stale points, if it has any."""
    if not any(kept != data for data, kept in _records(path, is_stale)):
        return
    # TensorBoard reads all names that hold "tfevents".
    part = os.path.join(os.path.dirname(path), "gdtrain.part")
    try:
        with tf.io.TFRecordWriter(part) as file:
            is_left = False
            for _, kept in _records(path, is_stale):
                if kept:
                    file.write(kept)
                    is_left |= _has_content(kept)
        if is_left:
            tf.io.gfile.rename(part, path, overwrite=True)
        else:
            tf.io.gfile.remove(path)
    finally:
        with contextlib.suppress(tf.errors.OpError):
            tf.io.gfile.remove(part)


def _has_content(data):
    """Whether an event is more than the beginning of a file."""
    what = event_pb2.Event.FromString(data).WhichOneof("what")
    return what not in ("file_version", "session_log")


def _records(path, is_stale):
    """Yields each event's bytes, and those without stale points or none."""
    for data in event_file_loader.RawEventFileLoader(path).Load():
        event = event_pb2.Event.FromString(data)
        values = event.summary.value
        fresh = [v for v in values if not is_stale(v.tag, event.step)]
        if len(fresh) == len(values):
            yield data, data
        elif fresh:
            del values[:]
            values.extend(fresh)
            yield data, event.SerializeToString()
        else:
            yield data, b""


# Which folder a run is within the log folder. TensorBoard lists every folder
# that has event files; the tab HParams takes curves of the folder that
# describes a run, and of those below it.
FOLDERS = {"train": "", "validation": "validation"}
# How names of files end that go when the run begins again, and anew
_DESCRIPTION, _VERDICT = ".description", ".verdict"


class TensorBoardRuns:
    """Writers for the runs of a folder, made when there is something to write.

    What an earlier attempt wrote of steps and epochs that come again is not
    shown any more: one curve remains. A run that cannot be written is told of
    in a warning, and left out until the next attempt; the other one goes on.

    Args:
        log_dir: The folder; made if it is not there.

    Example:

    >>> import tempfile
    >>> from gdtrain.writers import event_files
    >>> folder = tempfile.mkdtemp()
    >>> for losses in ([3.0, 2.0, 1.0], [5.0, 4.0]):
    ...     runs = TensorBoardRuns(folder)
    ...     runs.lock()
    ...     runs.begin(steps_done=0, epoch=0)
    ...     steps = range(1, 1 + len(losses))
    ...     runs["train"].write(steps, ["step/loss"], [[x] for x in losses])
    ...     runs.close()
    >>> event_files.read(folder)["loss"].tolist()
    [5.0, 4.0]
    """

    def __init__(self, log_dir):
        self.log_dir = checks.absolute(log_dir)
        self._runs = {}
        self._lock = None
        self._fresh: set[str] = set()  # Runs that begin anew when written to
        self._known = None  # Up to which step and epoch all is our own

    def __getstate__(self):
        # Files and the lock are the original's; a copy makes its own.
        return {**vars(self), "_runs": {}, "_lock": None}

    def lock(self):
        """Keeps others from writing there, until `close`.

        Raises:
            RuntimeError: if another run writes there.
        """
        if self._lock is None:
            self._lock = FolderLock(self.log_dir)

    def begin(self, steps_done, epoch):
        """Begins an attempt at the run.

        Args:
            steps_done: How many steps the model has behind it.
            epoch: The first epoch to come.
        """
        self._close_runs()
        with failures.Parts().alone(
            f"What {self.log_dir!r} has of an earlier attempt may still show",
            "This attempt is written beside it.",
        ):
            self._drop_stale(steps_done, epoch)
        if not steps_done:
            self._fresh = set(FOLDERS)

    def end(self, steps_done, epoch):
        """Notes how far it came: what follows has nothing to drop."""
        self._known = steps_done, epoch

    def describe(self, summaries):
        """Writes what describes the run; the next attempt replaces it.

        Args:
            summaries: A list of `Summary`.
        """
        self["train"].add_file(0, summaries, _DESCRIPTION)

    def judge(self, step, summary):
        """Writes a verdict; an attempt from the start replaces them all.

        Args:
            step: The step that it is given after.
            summary: A `Summary`.
        """
        # Loaders drop what comes again, but not all that a longer run had.
        self["train"].add_file(step, [summary], _VERDICT)

    def __getitem__(self, name):
        """A run, which has `write` and `add`; made anew after `close`."""
        if name not in self._runs:
            # At a mark of step 0, TensorBoard forgets all before it.
            first_step = 0 if name in self._fresh else None
            self._fresh.discard(name)
            directory = self._directory(name)
            self._runs[name] = _Run(directory, first_step, self._lock_again)
        return self._runs[name]

    @property
    def steps(self):
        """A writer of quantities of steps, by tags `step/<name>`."""
        return _Steps(self)

    def flush(self):
        """Makes what was written readable."""
        for run in self._runs.values():
            run.flush()

    def close(self):
        """Closes the files, and lets others write there."""
        try:
            self._close_runs()
        finally:
            if self._lock is not None:
                self._lock.release()
                self._lock = None

    def _close_runs(self):
        runs, self._runs = self._runs, {}
        for run in runs.values():
            run.close()

    def _lock_again(self):
        """Locks a folder that was made anew.

        Raises:
            RuntimeError: if another run writes there.
        """
        if self._lock is not None:
            self._lock.release()
            self._lock = None
            self.lock()

    def _drop_stale(self, steps_done, epoch):
        """Takes out what comes again."""
        gone = (_DESCRIPTION,) if steps_done else (_DESCRIPTION, _VERDICT)
        for path in event_files.paths(self.log_dir):
            if path.endswith(gone):
                tf.io.gfile.remove(path)
        if steps_done and self._repeats(steps_done, epoch):
            for name in FOLDERS:
                drop_stale(
                    self._directory(name),
                    lambda tag: (
                        epoch if tag.startswith("epoch_") else steps_done + 1
                    ),
                )

    def _directory(self, name):
        """The folder of a run."""
        if not FOLDERS[name]:
            return self.log_dir
        return os.path.join(self.log_dir, FOLDERS[name])

    def _repeats(self, steps_done, epoch):
        """Whether steps or epochs to come may have been written before."""
        if self._known is None:
            return True
        known_steps, known_epoch = self._known
        return known_steps > steps_done or known_epoch >= epoch


class _Run:
    """A run of a folder, which fails alone.

    Args:
        directory: Its folder.
        first_step: As in `TensorBoardWriter`.
        made_anew: Called when its folder was deleted; raises `RuntimeError`
            if nothing may be written there any more.
    """

    def __init__(self, directory, first_step, made_anew):
        self._directory = directory
        self._writer = TensorBoardWriter(directory, first_step)
        self._made_anew = made_anew
        self._parts = failures.Parts()
        self._has_stopped = False

    def write(self, steps, names, values, measured=None):
        """Adds steps. See `gdtrain.writers`."""
        self._attempt(self._writer.write, steps, names, values, measured)

    def add(self, step, summary):
        """Adds what is no scalar, a `Summary`."""
        self._attempt(self._writer.add, step, summary)

    def add_file(self, step, summaries, suffix):
        """Adds a file of `Summary`s."""
        self._attempt(self._writer.add_file, step, summaries, suffix)

    def flush(self):
        """Makes what was written readable."""
        self._attempt(self._writer.flush)

    def close(self):
        """Closes the file."""
        self._attempt(self._writer.close)

    def _attempt(self, job, *args):
        """Calls `job(*args)`, unless writing has stopped."""
        if self._has_stopped:
            return
        with self._parts.alone(
            f"Something is missing in {self._directory!r}",
            "What follows is written, and training goes on.",
        ):
            try:
                job(*args)
            except FileNotFoundError:
                self._go_on()
                raise
            except OSError as error:
                self._stop(error)

    def _go_on(self):
        """Goes on in a new file, after its folder was deleted."""
        try:
            self._made_anew()
        except RuntimeError as error:
            self._stop(error)

    def _stop(self, error):
        """Writes no more, and says so."""
        self._has_stopped = True
        failures.warn(
            f"Writing has stopped in {self._directory!r}",
            error.__cause__ or error,  # The folder is told of already.
            "Training goes on without it; what was written before is kept.",
        )


class _Steps:
    """Writes quantities of steps to the run `train`."""

    def __init__(self, runs):
        self._runs = runs

    def write(self, steps, names, values, measured=None):
        """Adds steps. See `gdtrain.writers`."""
        tags = [f"step/{name}" for name in names]
        self._runs["train"].write(steps, tags, values, measured)

    def flush(self):
        """Nothing to do: all runs are flushed together."""

    def close(self):
        """Nothing to do: all runs are closed together."""
