"""Where the iterator of a `tf.data` pipeline is, by its own checkpoint."""

import os
import tempfile

import numpy as np
import tensorflow as tf

from gdtrain.feeds.position import NoPosition

_NAME = "iterator"


def of(iterator):
    """The files of its checkpoint, uint8 arrays by name.

    They hold what the pipeline holds, as the buffer of a shuffle.

    Raises:
        NoPosition: if TensorFlow cannot tell where the iterator is.
    """
    with tempfile.TemporaryDirectory() as folder:
        try:
            tf.train.Checkpoint(iterator=iterator).write(
                os.path.join(folder, _NAME)
            )
        except (ValueError, tf.errors.OpError) as error:
            why = str(error).partition("\n")[0]
            raise NoPosition(
                f"TensorFlow cannot tell where its iterator is ({why})"
            ) from error
        return {
            name: np.fromfile(os.path.join(folder, name), np.uint8)
            for name in sorted(os.listdir(folder))
        }


def restore(iterator, files):
    """Sets an iterator of the same pipeline to where `of` found it."""
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            content.tofile(os.path.join(folder, os.path.basename(name)))
        tf.train.Checkpoint(iterator=iterator).read(
            os.path.join(folder, _NAME)
        ).assert_consumed()
