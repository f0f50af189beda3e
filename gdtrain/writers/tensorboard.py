"""Numbers in event files, for TensorBoard to show."""

import contextlib
import errno
import itertools
import os
import socket
import time

import tensorflow as tf
from tensorboard.compat.proto import event_pb2

from gdtrain.common import checks, forks
from gdtrain.writers import summaries

# Two files made in one second differ in this. TensorBoard reads the files of
# a folder in the order of their names, so that it has leading zeros: ".10."
# would come before ".9.".
_files = itertools.count()
_PREFIX = ["events", "out", "tfevents"]
_SCALARS = 2**15  # Made into bytes at a time, which are some 30 a scalar


class TensorBoardWriter:
    """Writes scalars to an event file, a step an event.

    An event file is a TFRecord file of `Event` messages. The values are
    float32, as TensorBoard keeps them. The file is made when there is
    something to write. What is written after `close`, or after an error, goes
    to another file of the same folder; so is what a forked process writes.

    Args:
        directory: The folder of the run; made if it is not there.
        first_step: Where this attempt at the run begins. TensorBoard then
            drops what an earlier attempt wrote at this step and after; see
            `gdtrain.writers.tensorboard_runs` for what it does not drop.
            `None`, the default, drops nothing.
        clock: Gives the time that events are marked with, in seconds.

    Example:

    >>> import tempfile
    >>> from tensorboard.backend.event_processing import event_accumulator
    >>> folder = tempfile.mkdtemp()
    >>> writer = TensorBoardWriter(folder)
    >>> writer.write([7], ["loss"], [[0.5]])
    >>> writer.close()
    >>> events = event_accumulator.EventAccumulator(folder).Reload()
    >>> [(event.step, event.value) for event in events.Scalars("loss")]
    [(7, 0.5)]
    """

    def __init__(self, directory, first_step=None, clock=time.time):
        self._directory = checks.absolute(directory)
        self._first_step = first_step
        self._clock = clock
        self._path = ""
        self._file = None

    def __getstate__(self):
        return {**vars(self), "_file": None}  # A copy begins another one.

    def write(self, steps, names, values, measured=None):
        """Adds steps. See `gdtrain.writers`.

        Raises:
            OSError: if the file cannot be written.
        """
        now = self._clock()
        count = max(1, _SCALARS // max(1, len(names)))
        for start in range(0, len(steps), count):
            rows = slice(start, start + count)
            some = None if measured is None else measured[rows]
            self._write(
                summaries.serialize(now, steps[rows], names, values[rows], some)
            )

    def add(self, step, summary):
        """Adds what is no scalar. See `gdtrain.writers.summaries`.

        Args:
            step: The step it belongs to, an int.
            summary: A `Summary` message of TensorBoard's.

        Raises:
            OSError: if the file cannot be written.
        """
        self._write([self._event(step, summary)])

    def add_file(self, step, summaries, suffix):
        """Adds a file of its own, so that it can be removed alone.

        Args:
            step: The step that they belong to, an int.
            summaries: A list of `Summary`.
            suffix: The end of the file's name.

        Raises:
            OSError: if the file cannot be written.
        """
        # A loader that has come to a later file reads no earlier one again.
        self.close()
        with self._explained(), forks.held_off():
            file = self._open(suffix)
            for summary in summaries:
                file.write(self._event(step, summary))
        self.close()

    def flush(self):
        """Hands everything written to the file system.

        Raises:
            OSError: if the file cannot be written, or was deleted.
        """
        if self._file is None:
            return
        with self._explained(), forks.held_off():
            self._file.flush()
            # Writing to a deleted file goes on without an error.
            if not tf.io.gfile.exists(self._path):
                raise FileNotFoundError(
                    errno.ENOENT, os.strerror(errno.ENOENT), self._path
                )

    def close(self):
        """Flushes, and closes the file."""
        self.flush()
        if self._file is not None:
            file, self._file = self._file, None
            with self._explained(), forks.held_off():
                file.close()

    def before_fork(self) -> None:
        """Empties the buffer, which a forked process would write as well."""
        if self._file is not None:
            with contextlib.suppress(tf.errors.OpError):  # The next flush asks
                self._file.flush()

    def after_fork_in_child(self) -> None:
        """Leaves the file to the parent."""
        self._file = None

    def _event(self, step, summary):
        """The bytes of an event."""
        event = event_pb2.Event(
            wall_time=self._clock(), step=step, summary=summary
        )
        return event.SerializeToString()

    def _write(self, events):
        """Adds serialized events, to a new file if there is none."""
        if not events:
            return
        with self._explained(), forks.held_off():
            file = self._file or self._open()
            for event in events:
                file.write(event)

    def _open(self, suffix=".v2"):
        """Makes and returns a file, the first with a new attempt's mark."""
        now = self._clock()
        name = (
            f"events.out.tfevents.{self._second(now):010d}."
            f"{socket.gethostname()}.{os.getpid()}.{next(_files):06d}{suffix}"
        )
        self._path = os.path.join(self._directory, name)
        tf.io.gfile.makedirs(self._directory)
        self._file = file = tf.io.TFRecordWriter(self._path)
        forks.register(self)
        first = event_pb2.Event(wall_time=now, file_version="brain.Event:2")
        file.write(first.SerializeToString())
        if self._first_step is not None:
            mark = event_pb2.Event(wall_time=now, step=self._first_step)
            mark.session_log.status = event_pb2.SessionLog.START
            # One of TensorBoard's two loaders heeds no mark but from the
            # second on, as if nothing could come before the first.
            file.write(mark.SerializeToString())
            file.write(mark.SerializeToString())
            self._first_step = None  # A later file goes on after this one.
        return file

    def _second(self, now):
        """The time for a new file's name: never before that of another."""
        others = []
        if tf.io.gfile.isdir(self._directory):
            for name in tf.io.gfile.listdir(self._directory):
                parts = name.split(".")
                if parts[:3] == _PREFIX and parts[3].isdigit():
                    others.append(int(parts[3]))
        return max([int(now), *others])

    @contextlib.contextmanager
    def _explained(self):
        """Says what must hold; leaves a file that has a broken record."""
        try:
            yield
        except (OSError, tf.errors.OpError) as error:
            self._file = None
            kind = (
                FileNotFoundError
                if isinstance(error, FileNotFoundError)
                else OSError
            )
            raise kind(
                "A run's folder must stay in place, with room on its disk, "
                f"while {self._path!r} is written. Received: {error}. Give a "
                "folder that lasts."
            ) from error
