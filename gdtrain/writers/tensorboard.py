"""Numbers in event files, for TensorBoard to show."""

import itertools
import os
import socket
import time

import tensorflow as tf
from tensorboard.compat.proto import event_pb2

# Two files made in one second differ in this. TensorBoard reads the files of
# a folder in the order of their names, so that it has leading zeros: ".10."
# would come before ".9.".
_files = itertools.count()


class TensorBoardWriter:
    """Writes scalars to one event file, a step an event.

    An event file is a TFRecord file of `Event` messages. The values are
    float32, as TensorBoard keeps them.

    Args:
        directory: The folder of the run; made if it is not there.
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

    def __init__(self, directory, clock=time.time):
        self._clock = clock
        tf.io.gfile.makedirs(directory)
        name = (
            f"events.out.tfevents.{int(clock()):010d}."
            f"{socket.gethostname()}.{os.getpid()}.{next(_files):06d}.v2"
        )
        self._file = tf.io.TFRecordWriter(
            os.path.join(os.fspath(directory), name)
        )
        first = event_pb2.Event(
            wall_time=clock(), file_version="brain.Event:2"
        )
        self._file.write(first.SerializeToString())

    def write(self, steps, names, values):
        """Adds steps. See `gdtrain.writers`."""
        now = self._clock()
        for step, row in zip(steps, values, strict=True):
            event = event_pb2.Event(wall_time=now, step=int(step))
            for name, value in zip(names, row, strict=True):
                event.summary.value.add(tag=name, simple_value=value)
            self._file.write(event.SerializeToString())

    def flush(self):
        """Hands everything written to the file system."""
        self._file.flush()

    def close(self):
        """Flushes, and closes the file."""
        self._file.close()
