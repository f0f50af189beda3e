"""Examples of the user's data, as tensors: all, or as many as are enough."""

import collections
import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from gdtrain.keras_bridge import data as keras_data
from gdtrain.state.preserved import preserved_data

#: The most that is taken: bytes, and batches of what is read in sequence
MOST_BYTES, MOST_BATCHES = 2**26, 64
_BATCH_SIZE = 32  # As in `fit`


@dataclasses.dataclass(frozen=True)
class Sample:
    """Examples in the order in which they were given.

    Args:
        data: A structure of tensors `[n, ...]`, as a batch of n examples.
        batch_size: How many of them make a batch.
        steps_per_epoch: Batches of all data; `None` if it is not known.
        is_whole: Whether these are all examples.
        is_shuffled: Whether training takes them in random order.
    """

    data: Any
    batch_size: int
    steps_per_epoch: int | None
    is_whole: bool
    is_shuffled: bool

    @property
    def parts(self) -> tuple[Any, Any, Any]:
        """Inputs, targets and sample weights; `None` for those missing."""
        return keras.utils.unpack_x_y_sample_weight(self.data)

    @property
    def examples(self) -> int:
        """How many examples there are."""
        return len(_leaves(self.data)[0])


def take(
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    *,
    batch_size: int | None = None,
    shuffle: bool = True,
    steps_per_epoch: int | None = None,
) -> Sample:
    """A sample of data, which are as if they were never read.

    Of arrays all examples, or as many as `MOST_BYTES` hold, spread evenly. Of
    other data up to `MOST_BATCHES` batches: of a `PyDataset` spread evenly,
    else the first ones. Where shapes of batches differ, those of the most
    frequent shape.

    Args:
        x, y, sample_weight: As in `keras.Model.fit`.
        batch_size: Of arrays. Defaults to `None`: what `steps_per_epoch`
            says, or 32.
        shuffle: As in `keras.Model.fit`, of arrays and a `PyDataset`.
        steps_per_epoch: Steps of an epoch of the training, if known.

    Raises:
        ValueError, TypeError: if no batch can be taken.

    Example:

    >>> found = take(np.zeros([100, 3]), np.zeros(100), steps_per_epoch=2)
    >>> found.batch_size, found.steps_per_epoch, found.parts[0].shape
    (64, 2, TensorShape([100, 3]))
    """
    if isinstance(x, (tf.data.Dataset, keras.utils.PyDataset)):
        return _of_batches(x, shuffle, steps_per_epoch)
    with preserved_data(x) as again:
        adapter = keras_data.data_adapter(
            again, y, sample_weight, batch_size or _BATCH_SIZE
        )
        arrays = keras_data.arrays_of(adapter)
        if arrays is None:
            return _of_batches(adapter.get_tf_dataset(), False, steps_per_epoch)
    count = len(_leaves(arrays)[0])
    if not count:
        raise ValueError("the data have no examples")
    size = batch_size or _likely_batch_size(count, steps_per_epoch)
    a_row = sum(_bytes(leaf) for leaf in _leaves(arrays)) / count
    taken = min(count, max(int(MOST_BYTES / max(a_row, 1)), min(size, count)))
    rows = None
    if taken < count:
        rows = np.arange(taken) * count // taken
    data = keras.tree.map_structure(lambda leaf: _rows(leaf, rows), arrays)
    return Sample(
        data, min(size, count), math.ceil(count / size), taken == count, shuffle
    )


def _likely_batch_size(count: int, steps: int | None) -> int:
    """The batch size of a training with so many steps an epoch.

    Of the sizes that are possible 32, else a power of 2, else the smallest.
    """
    if not steps or steps > count:
        return _BATCH_SIZE
    least = math.ceil(count / steps)
    most = count if steps == 1 else math.ceil(count / (steps - 1)) - 1
    power = 2 ** math.ceil(math.log2(least))
    for size in (_BATCH_SIZE, power):
        if least <= size <= most:
            return size
    return least


def _of_batches(x: Any, shuffle: bool, steps: int | None) -> Sample:
    """The sample of data that come as batches."""
    with preserved_data(x) as again:
        batches, count = [], 0
        for batch in _batches(again):
            batch = keras.tree.map_structure(_tensor, batch)
            batches.append(batch)
            count += sum(_bytes(leaf) for leaf in _leaves(batch))
            if count >= MOST_BYTES:
                break
        length = _length(again)
    if not batches:
        raise ValueError("the data have no batches")
    shapes = [_shapes(batch) for batch in batches]
    [(usual, _)] = collections.Counter(shapes).most_common(1)
    alike = [b for b, s in zip(batches, shapes, strict=True) if s == usual]
    data = keras.tree.map_structure(
        lambda *leaves: None if leaves[0] is None else tf.concat(leaves, 0),
        *alike,
    )
    return Sample(
        data,
        len(_leaves(alike[0])[0]),
        steps or length,
        len(batches) == length == len(alike),
        shuffle and isinstance(x, keras.utils.PyDataset),
    )


def _batches(x: Any) -> Iterator[Any]:
    """Up to `MOST_BATCHES` batches."""
    if not isinstance(x, keras.utils.PyDataset):
        yield from x.take(MOST_BATCHES)
        return
    length = _length(x) or MOST_BATCHES
    taken = min(length, MOST_BATCHES)
    for index in range(taken):
        yield x[index * length // taken]


def _length(x: Any) -> int | None:
    """The number of batches, if it is known."""
    if isinstance(x, keras.utils.PyDataset):
        return x.num_batches
    length = int(x.cardinality())
    return length if length >= 0 else None


def _shapes(batch: Any) -> tuple:
    """Shapes of all examples of a batch, and their structure."""
    shapes = [tuple(leaf.shape[1:]) for leaf in _leaves(batch)]
    return tuple(shapes), str(keras.tree.map_structure(lambda _: 0, batch))


def _tensor(leaf: Any) -> tf.Tensor | None:
    """An array as a dense tensor.

    Raises:
        ValueError: if it is ragged or sparse.
    """
    if leaf is None or isinstance(leaf, tf.experimental.Optional):
        return None
    if isinstance(leaf, (tf.RaggedTensor, tf.SparseTensor)):
        raise ValueError("ragged and sparse data are not tried")
    return tf.convert_to_tensor(leaf)


def _rows(array: Any, rows: np.ndarray | None) -> tf.Tensor | None:
    """Rows of an array as a tensor; all for `None`."""
    if array is None or rows is None:
        return _tensor(array)
    if tf.is_tensor(array):
        return tf.gather(array, rows)
    return tf.convert_to_tensor(array[rows])


def _bytes(leaf: Any) -> int:
    return math.prod(leaf.shape) * max(tf.as_dtype(leaf.dtype).size, 1)


def _leaves(data: Any) -> list[Any]:
    return [leaf for leaf in keras.tree.flatten(data) if leaf is not None]
