"""Arrays that are kept on the device; a batch is a gather by index."""

import copy
import math
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

_LARGEST_ORDER = 2**22  # Indices passed to a block: 32 MiB


class Source(NamedTuple):
    """What a block of steps makes its batches from.

    Args:
        arrays: A list of tensors; on several replicas a copy on each.
        numbers: An int64 vector, since each argument of a program costs time:
            how many examples there are; the step of its epoch that the block
            begins with; and, if they are shuffled, indices of examples
            `[epochs x examples]` from that epoch on.
    """

    arrays: Any
    numbers: Any


class Opened(NamedTuple):
    """What stays the same from step to step of a block.

    Args:
        arrays, numbers: Those of the `Source`.
        examples: How many examples there are.
        steps: How many steps an epoch has.
        uneven: Whether the last of them is fetched by itself.
    """

    arrays: Any
    numbers: Any
    examples: Any
    steps: Any
    uneven: bool


class Cursor(NamedTuple):
    """Where a block is.

    Args:
        epoch: Epochs since the one that the block began in, int64.
        step: The step of its epoch, int64.
    """

    epoch: Any
    step: Any


class Resident:
    """A feed of arrays that are on the device. See `gdtrain.feeds`.

    Args:
        arrays: A structure of arrays of the same length; `None` stays.
        batch_size: How many examples are in a batch; the last may have fewer.
        order: The `Order` of the examples.
        strategy: The `tf.distribute.Strategy` to train under.
    """

    epochs_can_follow = True

    def __init__(self, arrays, batch_size, order, strategy):
        self._structure = arrays_or_none(arrays)
        tensors = [
            tf.cast(leaf, as_float(leaf.dtype))
            for leaf in keras.tree.flatten(arrays)
            if leaf is not None
        ]
        self.examples = int(tensors[0].shape[0])
        self._batch_size = min(batch_size, self.examples)
        self.steps_per_epoch = math.ceil(self.examples / self._batch_size)
        self._even = self.examples % self._batch_size == 0
        self._whole = self.steps_per_epoch == 1
        self._order = order
        # A batch of everything needs no order.
        self._shuffled = bool(order.shuffle) and not self._whole
        self._replicas = strategy.num_replicas_in_sync
        self._arrays: Any = [_on_each_replica(t, strategy) for t in tensors]
        length = self.examples if self._whole else None
        self._specs = [
            tf.TensorSpec([length, *t.shape[1:]], t.dtype) for t in tensors
        ]
        self.key = repr(
            ("resident", self._structure, self._specs)
            + (self._batch_size, self._even, self._shuffled, self._replicas)
        )

    @property
    def most_steps(self):
        """How many steps a block may have, so that `order` stays small."""
        epochs = max(1, _LARGEST_ORDER // self.examples)
        return epochs * self.steps_per_epoch if self._shuffled else math.inf

    @property
    def batch_spec(self):
        """A structure of `tf.TensorSpec`, of a batch."""
        return self._packed(
            tf.TensorSpec([None, *spec.shape[1:]], spec.dtype)
            for spec in self._specs
        )

    def rewind(self):
        """Goes back to the first batch; nothing is to be done."""

    def plan(self):
        """This feed without its data: what a program depends on."""
        plan = copy.copy(self)
        plan._arrays = plan._order = None
        return plan

    def source(self, epoch, step, steps, room=None):
        """What a block makes its batches from.

        Args:
            epoch, step: Where it begins; the steps of an epoch count from 0.
            steps: How many steps it has.
            room: How many steps its `order` is to be long enough for,
                wherever it begins. Defaults to the steps it has.
        """
        numbers = np.array([self.examples, step])
        if self._shuffled:
            epochs = math.ceil(max(1, step + steps) / self.steps_per_epoch)
            order = self._order.of_epochs(epoch, epochs).ravel()
            if room is not None:
                most = math.ceil(room / self.steps_per_epoch) + 1
                order = np.resize(order, [most * self.examples])
            numbers = np.concatenate([numbers, order])
        return Source(self._arrays, tf.constant(numbers))

    def end_epoch(self, steps, ran_out):
        """Says that the epoch is over; nothing is to be done."""

    def signature(self, source, static):
        """What a program that takes `source` is traced for.

        Args:
            source: A `Source`.
            static: Whether for data of this size alone, as XLA needs it.
        """
        if static:
            return source
        arrays = [
            _for_each_replica(spec, array)
            for spec, array in zip(self._specs, source.arrays, strict=True)
        ]
        return Source(arrays, tf.TensorSpec([None], tf.int64))

    # What follows is traced. It depends on nothing of `self` that is not in
    # `key`, but for `examples` where `static` says that it may.

    @property
    def has_one_batch(self):
        """Whether an epoch is one batch of everything."""
        return self._whole

    def open(self, source, static):
        """What does not change from step to step.

        XLA must know how many examples a batch has: there, the last batch of
        an epoch is one by itself unless it is as large as the others.
        """
        examples = self.examples if static else source.numbers[0]
        steps = -(-examples // self._batch_size)
        uneven = static and not self._even
        return Opened(source.arrays, source.numbers, examples, steps, uneven)

    def has_uneven_last(self, opened):
        """Whether the last batch of an epoch is fetched by itself."""
        return opened.uneven

    def first(self, opened):
        """The cursor that the loop over steps begins with."""
        return Cursor(tf.constant(0, tf.int64), opened.numbers[1])

    def has_batch(self, opened, cursor):
        """Whether there is a batch, but for an uneven last."""
        return tf.less(cursor.step, opened.steps - int(opened.uneven))

    def advance(self, opened, cursor, wanted):
        """The cursor of the next step."""
        return cursor._replace(step=cursor.step + 1)

    def starts_epoch(self, cursor):
        """Whether a step is the first of its epoch."""
        return self._whole or tf.equal(cursor.step, 0)

    def ends_epoch(self, opened, cursor):
        """Whether all steps of an epoch are done."""
        return self._whole or tf.equal(cursor.step, opened.steps)

    def next_epoch(self, cursor):
        """The cursor of the first step of the next epoch."""
        return Cursor(cursor.epoch + 1, tf.constant(0, tf.int64))

    def fetch(self, opened, cursor, last=False):
        """What `take` makes a batch of: `(arrays, indices)`.

        Args:
            last: Whether it is the uneven last one.
        """
        if self._whole and self._replicas == 1:
            return opened.arrays, None
        begin = cursor.step * self._batch_size
        if last:
            size = self.examples % self._batch_size
        elif self._even or opened.uneven:
            size = self._batch_size
        else:
            size = tf.minimum(
                tf.cast(self._batch_size, tf.int64), opened.examples - begin
            )
        if not self._shuffled:
            return opened.arrays, begin + tf.range(size, dtype=tf.int64)
        start = 2 + cursor.epoch * opened.examples + begin
        return opened.arrays, tf.slice(opened.numbers, [start], [size])

    def take(self, fetched):
        """A batch, or this replica's part of it. Called on each replica."""
        arrays, indices = fetched
        if indices is not None:
            indices = _share(indices) if self._replicas > 1 else indices
            arrays = [tf.gather(array, indices) for array in arrays]
        return self._packed(arrays)

    def _packed(self, leaves):
        """Leaves in the structure of the user's data."""
        rest = iter(leaves)
        return keras.tree.map_structure(
            lambda leaf: None if leaf is None else next(rest), self._structure
        )


def as_float(dtype):
    """The dtype that data is trained on: of floats, Keras's `floatx`."""
    dtype = tf.as_dtype(dtype)
    return tf.as_dtype(keras.config.floatx()) if dtype.is_floating else dtype


def arrays_or_none(structure):
    """A structure with `None` where it has `None`, and 0 elsewhere."""
    return keras.tree.map_structure(
        lambda leaf: None if leaf is None else 0, structure
    )


def _on_each_replica(tensor, strategy):
    """A copy of a tensor on the device of each replica."""
    if strategy.num_replicas_in_sync == 1:
        return tensor
    return strategy.experimental_distribute_values_from_function(
        lambda _: tf.identity(tensor)
    )


def _for_each_replica(spec, array):
    """A spec for an array, or for its copies on each replica."""
    copies = tf.nest.flatten(array, expand_composites=True)
    if copies[0] is array:
        return spec
    return type(tf.type_spec_from_value(array))(*[spec] * len(copies))


def _share(indices):
    """This replica's part of a batch; they differ by at most one example."""
    context = tf.distribute.get_replica_context()
    replica = tf.cast(context.replica_id_in_sync_group, tf.int64)
    replicas = context.num_replicas_in_sync
    size = indices.shape[0]
    if size is not None and size % replicas == 0:
        part = size // replicas
        return tf.slice(indices, [replica * part], [part])
    size = tf.size(indices, tf.int64)
    begin, end = size * replica // replicas, size * (replica + 1) // replicas
    return tf.slice(indices, [begin], [end - begin])
