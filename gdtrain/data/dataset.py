"""How a program takes batches from an iterator, traced."""

import math
import warnings
from typing import Any, NamedTuple

import tensorflow as tf

from gdtrain.data import data_fingerprint, iterator_state, pipeline
from gdtrain.data.iterator_state import NoPosition
from gdtrain.keras_bridge import data, randomness


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
    """Takes the batches of a `Dataset` feed. See `gdtrain.data`.

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


class Dataset:
    """A feed of one iterator an epoch. See `gdtrain.data`.

    Args:
        adapter: Keras's data adapter: makes the dataset, knows how many
            batches there are, and is told where epochs begin and end.
        strategy: The `tf.distribute.Strategy` to train under.
        steps_per_epoch: How many steps the user wants; `None` for all that
            there are. Then each epoch goes on where the last one ended.
    """

    most_steps = math.inf

    def __init__(self, adapter, strategy, steps_per_epoch=None):
        self._adapter = adapter
        self._wanted = steps_per_epoch
        self._known = self._known_at_first = adapter.num_batches
        self._seen = 0  # Steps since the iterator was made
        self._iterator: Any = None
        self._taken: Any = None  # Its next batch, if it was taken already
        self._start: Any = None  # Where it was before its first batch
        self._keeps_start = False
        self._ran_out = False
        self._epoch = None
        self._within = False  # An epoch that has begun
        self.batch_spec = None  # Of a batch before it is distributed
        self._dataset = self._distributed(strategy)
        self._plans = [
            Iteration(self._dataset.element_spec, is_taken)
            for is_taken in (False, True)
        ]

    def array_at(self, path):
        """`None`: only feeds of arrays have all of them at hand."""
        return None

    def _distributed(self, strategy):
        dataset = self._adapter.get_tf_dataset()
        self.batch_spec = dataset.element_spec
        if isinstance(dataset, tf.distribute.DistributedDataset):
            return dataset
        return strategy.experimental_distribute_dataset(dataset)

    @property
    def steps_per_epoch(self):
        """How many steps an epoch has; `None` if that is not known yet."""
        return self._wanted or self._known

    @property
    def plan(self):
        """The plan of the next block."""
        return self._plans[self._taken is not None]

    def begin_epoch(self, epoch, step):
        """Says that an epoch begins, or goes on with a step.

        Data that are read anew may have another number of batches.
        """
        if step == 0 and not self._within:
            self._begin(epoch)

    def has_batch(self, epoch, step):
        """Whether there is a batch for this step.

        Where the number of batches does not tell, the batch is taken, and
        kept for the step.
        """
        self.begin_epoch(epoch, step)
        if self._known is not None and self._seen < self._known:
            return True
        if self._taken is None:
            self._taken = self._iterator.get_next_as_optional()
        return bool(self._taken.has_value())

    def source(self, epoch, step, steps, room=None):
        """The iterator that is at this step.

        Args:
            epoch, step: Where the block begins.
            steps: How many steps it has.
            room: Plays no role here.
        """
        if not steps:  # Nothing is taken: any iterator will do.
            return Source(self._iterator or iter(self._dataset), self._taken)
        self.begin_epoch(epoch, step)
        self._seen += steps
        taken, self._taken = self._taken, None
        return Source(self._iterator, taken)

    def rewind(self):
        """Goes back to the first batch."""
        self._leave()
        self._iterator = self._taken = None

    def fingerprint(self):
        """What tells other data; see `gdtrain.data.data_fingerprint`."""
        return {
            "kind": data.kind_of_data(self._adapter),
            "batches": self._known_at_first,
            "batch": repr(self.batch_spec),
        } | self._content()

    def _content(self):
        """What tells data of the same kind and number from others."""
        first = data.first_batches(self._adapter)
        if first is not None:
            return first_batches(first)
        inputs = data.inputs_of(self._adapter)
        if inputs is not None:
            return data_fingerprint.of(inputs, None)
        dataset = self._adapter.get_tf_dataset()
        if isinstance(dataset, tf.data.Dataset):
            return pipeline.of(dataset)
        return {"x": f"#unknown {type(dataset).__name__}"}

    def batch(self, epoch, step):
        """A batch once more; `None`, as these cannot be had again."""
        return None

    def position(self):
        """Where it is, between two blocks: a dict of arrays and numbers.

        Raises:
            NoPosition: if it cannot be set back there.
        """
        if self._taken is not None:
            raise NoPosition("a batch was taken that is still to be trained on")
        if self._iterator is None:
            self._make_iterator()
        try:
            files = iterator_state.of(self._iterator)
        except NoPosition as error:
            raise NoPosition(self._why(str(error))) from error
        if not self._keeps_start:
            iterator_state.check(self._adapter.get_tf_dataset())
            self._start = None if self._seen else files
            self._keeps_start = True
        return {
            "iterator": files,
            "start": self._start,
            "seen": self._seen,
            "ran_out": self._ran_out,
        }

    def _why(self, reason):
        """Why TensorFlow cannot tell where the iterator is."""
        dataset = self._adapter.get_tf_dataset()
        if not isinstance(dataset, tf.data.Dataset):
            return reason
        names = pipeline.impure_operations(dataset)
        if not names:
            return reason
        return f"maps of the pipeline use {', '.join(names)}: {reason}"

    def go_to(self, epoch, step, position):
        """Goes where it was; `position` may be `None` at an epoch's start."""
        self._leave()
        if step:
            self._enter(epoch)
        self._iterator = self._taken = None
        self._seen, self._ran_out = 0, False
        if position is not None:
            self._iterator = self._iterator_at(position)
            self._seen = position["seen"]
            self._ran_out = position["ran_out"]
        elif step:
            raise NoPosition(
                "the data cannot be set back to the middle of an epoch"
            )

    def _iterator_at(self, position):
        """The iterator that is at a position.

        A pipeline counts its passes, and shuffles by that count. An iterator's
        checkpoint sets it, too; but one that has read ahead to the end of the
        data has forgotten it: that is seen by what comes after it, which then
        depends on what was before. It reads its pass again.
        """
        self._start = position["start"]
        iterator = iter(self._dataset)
        iterator_state.restore(iterator, position["iterator"])
        once = iterator_state.of(iter(self._dataset))
        iterator_state.restore(iterator, position["iterator"])
        twice = iterator_state.of(iter(self._dataset))
        if self._start is None or iterator_state.are_equal(once, twice):
            iterator_state.restore(iterator, position["iterator"])
        else:
            iterator_state.restore(iterator, self._start)
            for _ in range(position["seen"]):
                next(iterator)
        return iterator

    def _make_iterator(self):
        self._iterator, self._taken = iter(self._dataset), None
        if self._keeps_start:
            self._start = iterator_state.of(self._iterator)

    def _begin(self, epoch):
        anew = self._is_used_up()
        if anew:
            self._seen, self._ran_out = 0, False
            self._begin_pass()
            self._known = self._adapter.num_batches
        self._enter(epoch)
        if anew:
            self._make_iterator()

    def _begin_pass(self):
        """Called before each new iterator."""

    def _is_used_up(self):
        """Whether the next epoch needs an iterator of its own."""
        if self._iterator is None or self._ran_out:
            return True
        if self._known is not None and self._seen >= self._known:
            return True
        return not self._wanted and self._seen > 0

    def _enter(self, epoch):
        self._epoch = epoch
        self._within = True
        self._adapter.on_epoch_begin()

    def _leave(self):
        """Breaks an epoch off, if one has begun."""
        if self._within:
            self._within = False
            data.abandon_epoch(self._adapter)

    def end_epoch(self, steps, ran_out):
        """Says that the epoch is over.

        Args:
            steps: How many steps it had.
            ran_out: Whether it ended for want of data.
        """
        if ran_out and (self._wanted or not steps):
            warnings.warn(
                f"Your input ran out of data after {steps} steps of an epoch"
                + (f" of {self._wanted}" if self._wanted else "")
                + ". Give `fit` a dataset that has steps_per_epoch * epochs "
                "batches, for example by `.repeat()`, or a smaller "
                "`steps_per_epoch`.",
                stacklevel=2,
            )
        self._ran_out = ran_out
        if self._within:  # Not if there was no step
            self._within = False
            self._adapter.on_epoch_end()


def first_batches(batches):
    """What tells the first batches that Python brought: a dict of a leaf.

    Without a seed, they may be random ones, others in each process.
    """
    name = data_fingerprint.FIRST_BATCHES
    if randomness.random_seed() is None:
        return {name: "#unknown what Python brings, as no seed was set"}
    return {
        name: data_fingerprint.digest(
            "data",
            f"{len(batches)} batches",
            *[
                repr(data_fingerprint.contents("", batch)).encode()
                for batch in batches
            ],
        )
    }
