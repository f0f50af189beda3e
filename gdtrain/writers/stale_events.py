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

from gdtrain import forks
from gdtrain.writers import event_files


def drop(directory, first):
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
    >>> drop(folder, lambda tag: 1 if tag.startswith("epoch_") else 3)
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
