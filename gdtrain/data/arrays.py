"""Arrays on the device, gathered into batches within the program."""

import math
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from gdtrain.data import data_fingerprint


class Source(NamedTuple):
    """What a block of steps makes its batches from.

    Args:
        arrays: A list of tensors; on several replicas a copy on each.
        numbers: An int64 vector, since each argument of a program costs time:
            how many examples there are; the step of its epoch that the block
            begins with; and, if they are shuffled, the indices of examples
            in their order, from that step on.
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
        step: The step of its epoch, int64.
        place: Where in `numbers` the indices of its batch begin, int64.
    """

    step: Any
    place: Any


class Gather:
    """Makes batches of a `Resident` feed. See `gdtrain.data`.

    Args:
        structure: The structure of a batch, with `None` where nothing is.
        specs: A `tf.TensorSpec` for each array.
        batch_size: How many examples are in a batch.
        shuffled: Whether there is an order.
        replicas: How many replicas share a batch.
    """

    epochs_can_follow = True

    def __init__(self, structure, specs, batch_size, shuffled, replicas):
        self._structure = structure
        self._batch_size = batch_size
        self._shuffled = shuffled
        self._replicas = replicas
        self.examples = specs[0].shape[0]
        self._even = self.examples % batch_size == 0
        #: Whether an epoch is one batch of everything.
        self.has_one_batch = self.examples == batch_size
        any_size = [tf.TensorSpec([None, *s.shape[1:]], s.dtype) for s in specs]
        # A batch of everything has the size of the arrays, until it is told
        # to take any; other batches have one size, or an uneven last one.
        self._specs = specs if self.has_one_batch else any_size
        self._any_size = any_size
        #: What programs depend on, but for the size of a batch of everything
        self.family = repr(
            ("arrays", structure, any_size, self._even, shuffled, replicas)
            + (self.has_one_batch or batch_size,)
        )
        #: What programs depend on
        self.key = repr((self.family, self._specs))

    def take_any_size(self):
        """Has its program made for a batch of everything of any size."""
        self._specs = self._any_size
        self.key = repr((self.family, self._specs))

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

    def batch_spec(self):
        """A structure of `tf.TensorSpec`, of a batch."""
        return self.packed(self._any_size)

    def packed(self, leaves):
        """Leaves in the structure of a batch."""
        rest = iter(leaves)
        return keras.tree.map_structure(
            lambda leaf: None if leaf is None else next(rest), self._structure
        )

    # What follows is traced. It depends on the size of the data only where
    # `static` says that it may.

    def open(self, source, static):
        """What does not change from step to step.

        XLA must know how many examples a batch has: there, the last batch of
        an epoch is one by itself unless it is as large as the others.
        """
        examples = self.examples if static else source.numbers[0]
        steps = 1 if self.has_one_batch else -(-examples // self._batch_size)
        uneven = static and not self._even
        return Opened(source.arrays, source.numbers, examples, steps, uneven)

    def has_uneven_last(self, opened):
        """Whether the last batch of an epoch is fetched by itself."""
        return opened.uneven

    def first(self, opened):
        """The cursor that the loop over steps begins with."""
        # That the place is part of the cursor keeps XLA from compiling the
        # program anew for each: it takes a slice from a place that does not
        # change within a loop to be known (TensorFlow 2.21).
        return Cursor(opened.numbers[1], tf.constant(2, tf.int64))

    def has_batch(self, opened, cursor):
        """Whether there is a batch, but for an uneven last."""
        return tf.less(cursor.step, opened.steps - int(opened.uneven))

    def advance(self, opened, cursor, wanted):
        """The cursor of the next step."""
        return Cursor(cursor.step + 1, cursor.place + self._batch_size)

    def starts_epoch(self, cursor):
        """Whether a step is the first of its epoch."""
        return self.has_one_batch or tf.equal(cursor.step, 0)

    def ends_epoch(self, opened, cursor):
        """Whether all steps of an epoch are done."""
        return self.has_one_batch or tf.equal(cursor.step, opened.steps)

    def next_epoch(self, opened, cursor):
        """The cursor of the first step of the next epoch."""
        missing = opened.steps * self._batch_size - opened.examples
        return Cursor(tf.constant(0, tf.int64), cursor.place - missing)

    def fetch(self, opened, cursor, last=False):
        """What `take` makes a batch of: `(arrays, indices)`.

        Args:
            opened, cursor: Where.
            last: Whether it is the uneven last one.
        """
        if self.has_one_batch and self._replicas == 1:
            return opened.arrays, None
        begin = cursor.step * self._batch_size
        size = self._size(opened, begin, last)
        if not self._shuffled:
            return opened.arrays, begin + tf.range(size, dtype=tf.int64)
        return opened.arrays, tf.slice(opened.numbers, [cursor.place], [size])

    def _size(self, opened, begin, last):
        """How many examples a batch has; a Python number if it can be."""
        if last:
            return self.examples % self._batch_size
        if self.has_one_batch:
            return opened.examples
        if self._even or opened.uneven:
            return self._batch_size
        batch_size = tf.cast(self._batch_size, tf.int64)
        return tf.minimum(batch_size, opened.examples - begin)

    def take(self, fetched):
        """A batch, or this replica's part of it. Called on each replica."""
        arrays, indices = fetched
        if indices is not None:
            indices = _share(indices) if self._replicas > 1 else indices
            arrays = [tf.gather(array, indices) for array in arrays]
        return self.packed(arrays)


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


_LARGEST_ORDER = 2**18  # Indices passed to a block: 2 MiB


class Resident:
    """A feed of arrays that are on the device. See `gdtrain.data`.

    Args:
        arrays: A structure of arrays of the same length; `None` stays.
        batch_size: How many examples are in a batch; the last may have fewer.
        order: The `Order` of the examples.
        strategy: The `tf.distribute.Strategy` to train under.
    """

    def __init__(self, arrays, batch_size, order, strategy):
        self._given = arrays
        tensors = [
            tf.cast(leaf, as_float(leaf.dtype))
            for leaf in keras.tree.flatten(arrays)
            if leaf is not None
        ]
        self._arrays = [_on_each_replica(t, strategy) for t in tensors]
        self._examples = int(tensors[0].shape[0])
        batch_size = min(batch_size, self._examples)
        self.steps_per_epoch = math.ceil(self._examples / batch_size)
        self._order = order
        self._strategy = strategy
        self._structure = arrays_or_none(arrays)
        # A batch of everything needs no order.
        self._shuffled = bool(order.shuffle) and self.steps_per_epoch > 1
        self._batch_size = batch_size
        self.plan = Gather(
            self._structure,
            [tf.TensorSpec(t.shape, t.dtype) for t in tensors],
            batch_size,
            self._shuffled,
            strategy.num_replicas_in_sync,
        )
        self.batch_spec = self.plan.batch_spec()

    @property
    def most_steps(self):
        """How many steps a block may have, so that its order stays small."""
        if not self._shuffled:
            return math.inf
        return max(1, _LARGEST_ORDER // self._batch_size)

    def source(self, epoch, step, steps, room=None):
        """The `Source` of a block.

        Args:
            epoch, step: Where it begins; the steps of an epoch count from 0.
            steps: How many steps it has.
            room: How many steps its order is to have room for. Defaults to
                the steps it has.
        """
        length = (room or steps) * self._batch_size if self._shuffled else 0
        numbers = np.zeros([2 + length], np.int64)
        numbers[:2] = self._examples, step
        if self._shuffled:
            epochs = math.ceil((step + steps) / self.steps_per_epoch)
            order = self._order.of_epochs(epoch, epochs).ravel()
            order = order[step * self._batch_size :][: steps * self._batch_size]
            numbers[2 : 2 + len(order)] = order
        return Source(self._arrays, tf.constant(numbers))

    def array_at(self, path):
        """The array at a path of the batch; `None` if there is none."""
        return array_at(path, self._given)

    def fingerprint(self):
        """What tells other data; see `gdtrain.data.data_fingerprint`."""
        first = self._strategy.experimental_local_results
        rest = iter(first(array)[0] for array in self._arrays)
        arrays = keras.tree.map_structure(
            lambda leaf: None if leaf is None else next(rest), self._structure
        )
        return data_fingerprint.of(arrays, self._batch_size)

    def batch(self, epoch, step):
        """A batch once more: `(data, indices of its examples)`."""
        indices = self._order.of_batch(epoch, step)
        first = self._strategy.experimental_local_results
        rest = iter(tf.gather(first(a)[0], indices) for a in self._arrays)
        data = keras.tree.map_structure(
            lambda leaf: None if leaf is None else next(rest), self._structure
        )
        return data, indices

    def position(self):
        """All there is to know, beside (epoch, step)."""
        return {"order": self._order.state()}

    def go_to(self, epoch, step, position):
        """Goes where it was."""
        if position is not None:
            self._order.set_state(position["order"])

    def begin_epoch(self, epoch, step):
        """Says that an epoch begins, or goes on; nothing is to be done."""

    def has_batch(self, epoch, step):
        """Whether there is a batch for this step: each epoch has all."""
        return True

    def rewind(self):
        """Goes back to the first batch; nothing is to be done."""

    def end_epoch(self, steps, ran_out):
        """Says that the epoch is over; nothing is to be done."""


def as_float(dtype):
    """The dtype that data is trained on: of floats, Keras's `floatx`."""
    dtype = tf.as_dtype(dtype)
    return tf.as_dtype(keras.config.floatx()) if dtype.is_floating else dtype


def arrays_or_none(structure):
    """A structure with `None` where it has `None`, and 0 elsewhere."""
    return keras.tree.map_structure(
        lambda leaf: None if leaf is None else 0, structure
    )


def array_at(path, arrays):
    """The array at a path of a structure; `None` if there is none."""
    for step in path:
        try:
            arrays = arrays[step]
        except (KeyError, IndexError, TypeError):
            return None
    return arrays if hasattr(arrays, "shape") else None


def _on_each_replica(tensor, strategy):
    """A copy of a tensor on the device of each replica."""
    if strategy.num_replicas_in_sync == 1:
        return tensor
    return strategy.experimental_distribute_values_from_function(
        lambda _: tf.identity(tensor)
    )
