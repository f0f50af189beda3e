"""Arrays too large for the device: batches are gathered on the host."""

import math

import keras
import numpy as np
import tensorflow as tf

from gdtrain.data import data_fingerprint
from gdtrain.data.arrays import array_at, arrays_or_none, as_float
from gdtrain.data.dataset import Dataset

_AHEAD = 2  # Batches that are gathered while a step runs


class Streamed(Dataset):
    """A feed of arrays that stay where they are, a memory map for example.

    Its batches are those of a `Resident` feed of the same order. Beside the
    arrays, it needs memory for a few batches and the order of one epoch.

    Args:
        arrays: A structure of NumPy arrays of the same length; `None` stays.
        batch_size: How many examples are in a batch; the last may have fewer.
        order: The `Order` of the examples.
        strategy: The `tf.distribute.Strategy` to train under.
    """

    def __init__(self, arrays, batch_size, order, strategy):
        self._given = arrays
        self._structure = arrays_or_none(arrays)
        self._arrays = [a for a in keras.tree.flatten(arrays) if a is not None]
        self._dtypes = [as_float(a.dtype) for a in self._arrays]
        self.examples = len(self._arrays[0])
        self._batch_size = min(batch_size, self.examples)
        self.num_batches = math.ceil(self.examples / self._batch_size)
        self._order = order
        self._indices = np.arange(self.examples)
        self._strategy = strategy
        super().__init__(self, strategy)

    def array_at(self, path):
        """The array at a path of the batch; `None` if there is none."""
        return array_at(path, self._given)

    def fingerprint(self):
        """What tells other data; see `gdtrain.data.data_fingerprint`."""
        rest = iter(self._arrays)
        arrays = keras.tree.map_structure(
            lambda leaf: None if leaf is None else next(rest), self._structure
        )
        return data_fingerprint.of(arrays, self._batch_size)

    def batch(self, epoch, step):
        """A batch once more: `(data, indices of its examples)`."""
        indices = self._order.of_batch(epoch, step)
        rest = iter(
            tf.constant(np.asarray(a[indices], dtype.as_numpy_dtype))
            for a, dtype in zip(self._arrays, self._dtypes, strict=True)
        )
        data = keras.tree.map_structure(
            lambda leaf: None if leaf is None else next(rest), self._structure
        )
        return data, indices

    def position(self):
        """Where it is. See `Dataset.position`."""
        return {
            "order": self._order.state(),
            "seen": self._seen,
            "ran_out": self._ran_out,
        }

    def go_to(self, epoch, step, position):
        """Goes where it was. See `Dataset.go_to`."""
        if position is not None:
            self._order.set_state(position["order"])
        super().go_to(epoch, step, position)

    def _iterator_at(self, position):
        seen = position["seen"]
        if seen in (0, self.num_batches):
            return None  # The next epoch makes one.
        return iter(self._distributed(self._strategy, seen))

    def on_epoch_begin(self):
        """Sets the order of the epoch."""
        if self._order.shuffle:
            self._indices = self._order.of_epochs(self._epoch, 1)[0]

    def on_epoch_end(self):
        """Does nothing; an adapter of Keras may need it."""

    def _distributed(self, strategy, start=0):
        # Each worker gathers what its own replicas take, and no more.
        self.batch_spec = self._batches(0, 1, 1).element_spec
        replicas = strategy.num_replicas_in_sync
        if replicas == 1:
            return self._batches(0, 1, 1, start)
        return strategy.distribute_datasets_from_function(
            lambda context: self._batches(
                context.input_pipeline_id,
                replicas // context.num_input_pipelines,
                replicas,
                start,
            )
        )

    def _batches(self, pipeline, local, replicas, start=0):
        """The parts of batches that one worker takes, one after another."""
        even = self.examples % self._batch_size == 0
        length = self._batch_size if even and replicas == 1 else None

        def gather(count):
            step, replica = divmod(int(count), local)
            replica += pipeline * local
            batch = self._indices[step * self._batch_size :]
            batch = batch[: self._batch_size]
            begin = len(batch) * replica // replicas
            end = len(batch) * (replica + 1) // replicas
            return [
                np.asarray(array[batch[begin:end]], dtype.as_numpy_dtype)
                for array, dtype in zip(self._arrays, self._dtypes, strict=True)
            ]

        def packed(count):
            parts = tf.numpy_function(gather, [count], self._dtypes)
            rest = iter(
                tf.ensure_shape(part, [length, *array.shape[1:]])
                for part, array in zip(parts, self._arrays, strict=True)
            )
            return keras.tree.map_structure(
                lambda leaf: None if leaf is None else next(rest),
                self._structure,
            )

        counts = tf.data.Dataset.range(start * local, self.num_batches * local)
        return counts.map(packed).prefetch(_AHEAD)
