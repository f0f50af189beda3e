"""How a program takes batches from an iterator, traced."""

from typing import Any, NamedTuple

import tensorflow as tf


class Source(NamedTuple):
    """What a block of steps takes its batches from.

    Args:
        iterator: The iterator.
        taken: The next batch, a `tf.experimental.Optional`, if it was taken
            from the iterator already, to see whether there is one.
    """

    iterator: Any
    taken: Any


class Iteration:
    """Takes the batches of a `Dataset` feed. See `gdtrain.feeds`.

    The cursor is the next batch, if there is one.

    Args:
        element_spec: That of the dataset.
        is_taken: Whether sources have the next batch by themselves.
    """

    epochs_can_follow = False

    def __init__(self, element_spec, is_taken=False):
        #: What programs depend on
        self.family = self.key = repr(("dataset", element_spec, is_taken))

    def signature(self, source, static):
        """What a program that takes `source` is traced for."""
        return source

    def open(self, source, static):
        """What does not change from step to step: the source."""
        return source

    def first(self, opened):
        """The cursor that the loop over steps begins with."""
        if opened.taken is not None:
            return opened.taken
        return opened.iterator.get_next_as_optional()

    def has_batch(self, opened, cursor):
        """Whether there is a batch."""
        return cursor.has_value()

    def advance(self, opened, cursor, wanted):
        """The cursor of the next step. A batch is taken only if `wanted`."""
        return tf.cond(
            wanted, opened.iterator.get_next_as_optional, lambda: cursor
        )

    def fetch(self, opened, cursor, last=False):
        """The batch."""
        return cursor.get_value()

    def take(self, fetched):
        """The batch, or this replica's part of it."""
        return fetched
