"""The runs of one log folder: `train`, `validation`, and their description."""

import math
import os

from gdtrain.writers import stale_events
from gdtrain.writers.folder_lock import FolderLock
from gdtrain.writers.tensorboard import TensorBoardWriter

DESCRIPTION = ""  # The run that is the log folder itself


class TensorBoardRuns:
    """Writers for the runs of a folder, made when there is something to write.

    What an earlier attempt wrote of steps and epochs that come again is not
    shown any more: one curve remains.

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
        self.log_dir = os.fspath(log_dir)
        self._writers = {}
        self._lock = None
        self._fresh: set[str] = set()  # Runs that begin anew when written to
        self._known = None  # Up to which step and epoch all is our own

    def __getstate__(self):
        # Files and the lock are the original's; a copy makes its own.
        return {**vars(self), "_writers": {}, "_lock": None}

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
        self._close_writers()
        stale_events.drop(
            self.log_dir,
            lambda tag: 0 if tag.startswith(_DESCRIBING) else math.inf,
        )
        if not steps_done:
            self._fresh = {"train", "validation"}
        elif self._repeats(steps_done, epoch):
            for run in ("train", "validation"):
                stale_events.drop(
                    os.path.join(self.log_dir, run),
                    lambda tag: epoch
                    if tag.startswith("epoch_")
                    else steps_done + 1,
                )

    def end(self, steps_done, epoch):
        """Notes how far it came: what follows has nothing to drop."""
        self._known = steps_done, epoch

    def __getitem__(self, run):
        """The writer of a run; made anew after `close`."""
        if run not in self._writers:
            # At a mark of step 0, TensorBoard forgets all before it.
            self._writers[run] = TensorBoardWriter(
                os.path.join(self.log_dir, run),
                0 if run in self._fresh else None,
            )
            self._fresh.discard(run)
        return self._writers[run]

    @property
    def steps(self):
        """A writer of quantities of steps, by tags `step/<name>`."""
        return _Steps(self)

    def flush(self):
        """Makes what was written readable."""
        for writer in self._writers.values():
            writer.flush()

    def close(self):
        """Closes the files, and lets others write there."""
        try:
            self._close_writers()
        finally:
            if self._lock is not None:
                self._lock.release()
                self._lock = None

    def _close_writers(self):
        writers, self._writers = self._writers, {}
        for writer in writers.values():
            writer.close()

    def _repeats(self, steps_done, epoch):
        """Whether steps or epochs to come may have been written before."""
        if self._known is None:
            return True
        known_steps, known_epoch = self._known
        return known_steps > steps_done or known_epoch >= epoch


_DESCRIBING = ("_hparams_/", "custom_scalars__config__", "model/")


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
