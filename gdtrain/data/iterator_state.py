"""Where an iterator is, kept so that it can be set back."""

import os
import tempfile

import numpy as np
import tensorflow as tf

from gdtrain.data import pipeline


class NoPosition(ValueError):
    """Says why data cannot be set back to where it was.

    Example:

    >>> str(NoPosition("a generator only goes on"))
    'a generator only goes on'
    """


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


def are_equal(some, others):
    """Whether two iterators are at the same place, by what `of` found."""
    return some.keys() == others.keys() and all(
        np.array_equal(some[name], others[name]) for name in some
    )


def check(dataset):
    """Raises `NoPosition` if a pipeline shuffles what was shuffled before.

    The first shuffle begins its pass only with the first batch, and can have
    come to its end then: no checkpoint tells which pass it was.
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
