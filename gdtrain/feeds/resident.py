"""Arrays that are kept on the device."""

import math

import keras
import numpy as np
import tensorflow as tf

from gdtrain.feeds import fingerprint
from gdtrain.feeds.gather import Gather, Source

_LARGEST_ORDER = 2**18  # Indices passed to a block: 2 MiB


class Resident:
    """A feed of arrays that are on the device. See `gdtrain.feeds`.

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
        """What tells other data; see `gdtrain.feeds.fingerprint`."""
        first = self._strategy.experimental_local_results
        rest = iter(first(array)[0] for array in self._arrays)
        arrays = keras.tree.map_structure(
            lambda leaf: None if leaf is None else next(rest), self._structure
        )
        return fingerprint.of(arrays, self._batch_size)

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
