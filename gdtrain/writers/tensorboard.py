"""A writer of event files for TensorBoard."""

import contextlib
import errno
import itertools
import os
import re
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tensorflow as tf
from tensorboard.compat.proto import event_pb2
from tensorboard.compat.proto.summary_pb2 import Summary

from gdtrain.common import checks, forks
from gdtrain.writers import reading, summaries
from gdtrain.writers.writer import Array, Mask, Names, in_parts

# Tells two files of one second apart. TensorBoard reads the files of a folder
# in the order of their names, so it has leading zeros: ".10." would come
# before ".9.".
_files = itertools.count()
_SECOND = re.compile(r"^events\.out\.tfevents\.(\d+)", re.MULTILINE)
_SCALARS = 2**15  # Serialized at a time, to some 30 bytes each


class TensorBoardWriter(forks.ForkAware):
    """Writes scalars to an event file, an event for each step.

    An event file is a TFRecord file of `Event` messages. Values are float32,
    as TensorBoard keeps them. The file is made at the first write. After
    `close`, after an error, and in a forked process, writing continues in
    a new file of the same folder.

    Args:
        directory: The folder of the run; made if it is missing.
        first_step: Where this attempt at the run begins: TensorBoard then
            drops what an earlier attempt wrote from this step on; see
            `gdtrain.writers.tensorboard_runs` for what it does not drop.
            `None`, the default, drops nothing.
        clock: Returns the time that events are marked with, in seconds.

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

    def __init__(
        self,
        directory: str | os.PathLike,
        first_step: int | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._directory = checks.absolute(directory)
        self._first_step = first_step
        self._clock = clock
        self._path = ""
        self._file: tf.io.TFRecordWriter | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_file": None}  # A copy makes its own file.

    def write(
        self, steps: Array, names: Names, values: Array, measured: Mask = None
    ) -> None:
        """Adds steps. See `gdtrain.writers.Writer`.

        Raises:
            OSError: if the file cannot be written.
        """
        now = self._clock()
        for part in in_parts(steps, names, values, measured, _SCALARS):
            self._write(
                summaries.serialize(
                    now, part.steps, part.names, part.array, part.mask
                )
            )

    def add(self, step: int, summary: Summary) -> None:
        """Adds a summary other than a scalar. See `gdtrain.writers.summaries`.

        Args:
            step: The step it belongs to.
            summary: A message of TensorBoard's.

        Raises:
            OSError: if the file cannot be written.
        """
        self._write([self._event(step, summary)])

    def add_file(
        self, step: int, summaries: Sequence[Summary], suffix: str
    ) -> None:
        """Adds summaries in a file of their own, which can be removed alone.

        Args:
            step: The step that they belong to.
            summaries: What is written.
            suffix: The end of the file's name.

        Raises:
            OSError: if the file cannot be written.
        """
        # A loader that has reached a later file reads no earlier one again.
        self.close()
        if self._first_step is not None:
            # In a file that stays: with its mark, earlier points come back.
            with self._explained(), forks.no_fork:
                self._open(".v2")
            self.close()
        self._write([self._event(step, one) for one in summaries], suffix)
        self.close()

    def flush(self) -> None:
        """Hands everything written to the file system.

        Raises:
            OSError: if the file cannot be written, or was deleted.
        """
        if self._file is None:
            return
        with self._explained(), forks.no_fork:
            self._file.flush()
            # Writing to a deleted file raises no error.
            if not tf.io.gfile.exists(self._path):
                raise FileNotFoundError(
                    errno.ENOENT, os.strerror(errno.ENOENT), self._path
                )

    def close(self) -> None:
        """Flushes, and closes the file."""
        self.flush()
        if self._file is not None:
            file, self._file = self._file, None
            with self._explained(), forks.no_fork:
                file.close()

    def before_fork(self) -> None:
        """Empties the buffer, which a forked process would write as well."""
        if self._file is not None:
            # The next flush raises.
            with contextlib.suppress(tf.errors.OpError):
                self._file.flush()

    def after_fork_in_child(self) -> None:
        """Leaves the file to the parent."""
        self._file = None

    def _event(self, step: int, summary: Summary) -> bytes:
        event = event_pb2.Event(
            wall_time=self._clock(), step=step, summary=summary
        )
        return event.SerializeToString()

    def _write(self, events: list[bytes], suffix: str = ".v2") -> None:
        """Adds serialized events, to a new file if there is none."""
        if not events:
            return
        with self._explained(), forks.no_fork:
            file = self._file or self._open(suffix)
            for event in events:
                file.write(event)

    def _open(self, suffix: str) -> tf.io.TFRecordWriter:
        """Makes a file; the first one has the mark of a new attempt."""
        now = self._clock()
        self._path = os.path.join(self._directory, self._name(now, suffix))
        tf.io.gfile.makedirs(self._directory)
        self._file = file = tf.io.TFRecordWriter(self._path)
        forks.register(self)
        first = event_pb2.Event(wall_time=now, file_version="brain.Event:2")
        file.write(first.SerializeToString())
        if self._first_step is not None:
            mark = event_pb2.Event(wall_time=now, step=self._first_step)
            mark.session_log.status = event_pb2.SessionLog.START
            # One of TensorBoard's two loaders ignores the first mark, as if
            # nothing could come before it.
            file.write(mark.SerializeToString())
            file.write(mark.SerializeToString())
            self._first_step = None  # A later file continues this one.
        return file

    def _name(self, now: float, suffix: str) -> str:
        """The name of a new file, after those of others.

        They may be of a computer whose clock is ahead, or whose name is later
        in the alphabet.
        """
        others = list(map(os.path.basename, reading.paths(self._directory)))
        seconds = map(int, _SECOND.findall("\n".join(others)))
        second = max(int(now), *seconds, 0)
        end = f"{socket.gethostname()}.{os.getpid()}.{next(_files):06d}{suffix}"
        name = f"events.out.tfevents.{second:010d}.{end}"
        if max(others, default="") > name:
            name = f"events.out.tfevents.{second + 1:010d}.{end}"
        return name

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Explains errors, and abandons a file that has a broken record."""
        try:
            yield
        except (OSError, tf.errors.OpError) as error:
            self._file = None
            is_gone = isinstance(error, FileNotFoundError)
            raise (FileNotFoundError if is_gone else OSError)(
                "A run's folder must stay in place, with room on its disk, "
                f"while {self._path!r} is written. Received: {error}. Give a "
                "folder that lasts."
            ) from error
