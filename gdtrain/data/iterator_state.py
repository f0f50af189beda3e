"""The position of an iterator, saved and restored."""

import os
import tempfile
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from gdtrain.data import pipeline


class NoPosition(ValueError):
    """Why the position of data cannot be restored.

    Example:

    >>> str(NoPosition("a generator has no positions"))
    'a generator has no positions'
    """


Files = dict[str, np.ndarray]  # uint8 contents by name

_NAME = "iterator"


def of(iterator: Iterator) -> Files:
    """The files of its checkpoint.

    They contain what the pipeline buffers, for a shuffle for example.

    Raises:
        NoPosition: if TensorFlow cannot save it.
    """
    with tempfile.TemporaryDirectory() as folder:
        try:
            tf.train.Checkpoint(iterator=iterator).write(
                os.path.join(folder, _NAME)
            )
        except (ValueError, tf.errors.OpError) as error:
            why = str(error).partition("\n")[0]
            raise NoPosition(
                f"TensorFlow cannot save the position of its iterator ({why})"
            ) from error
        return {
            name: np.fromfile(os.path.join(folder, name), np.uint8)
            for name in sorted(os.listdir(folder))
        }


def restore(iterator: Iterator, files: Files) -> None:
    """Sets an iterator of the same pipeline to the position in `files`."""
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            content.tofile(os.path.join(folder, os.path.basename(name)))
        tf.train.Checkpoint(iterator=iterator).read(
            os.path.join(folder, _NAME)
        ).assert_consumed()


def are_equal(some: Files, others: Files) -> bool:
    """Whether two positions are the same."""
    return some.keys() == others.keys() and all(
        np.array_equal(some[name], others[name]) for name in some
    )


def check(dataset: tf.data.Dataset) -> None:
    """Raises `NoPosition` if a pipeline shuffles twice.

    The first shuffle begins its pass only with the first batch, and may have
    ended then: no checkpoint says which pass it was.
    """
    graph = pipeline.graph(dataset)
    most = 0
    shuffles: dict[str, int] = {}  # Up to a node, which come in order
    for node in graph.node:
        before = [shuffles.get(name.split(":")[0], 0) for name in node.input]
        shuffles[node.name] = max(before, default=0) + (
            node.op.startswith("Shuffle")
        )
        most = max(most, shuffles[node.name])
    if most > 1:
        raise NoPosition("the pipeline shuffles twice, one after the other")
