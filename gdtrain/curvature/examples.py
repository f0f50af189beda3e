"""The examples of a probe, chosen from data."""

from typing import Any

import keras
import tensorflow as tf

from gdtrain.common import checks
from gdtrain.keras_bridge import data as keras_data


def take(
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    *,
    examples: int | None = None,
    batch_size: int = 256,
) -> Any:
    """All examples of some data, or a number of them, as tensors.

    Of arrays with n examples, example i of those taken is number
    i * n // examples, so that they are spread evenly and are the same at each
    call. Of a dataset they are the first ones; it is read once, here.

    Args:
        x, y, sample_weight: As in `keras.Model.fit`: arrays or tensors, also
            in lists and dicts, or for `x` alone a `tf.data.Dataset` of
            batches.
        examples: How many to take, at most. Defaults to `None`, all.
        batch_size: How many are worked on at a time.

    Returns:
        A structure of tensors of shape `[examples, ...]`: a batch as
        `train_step` receives it.

    Raises:
        TypeError: if the data are neither arrays nor a dataset.
        ValueError: if there are no examples, or the dataset has no end and
            `examples` is not given.

    Example:

    >>> x = take(tf.range(10), examples=4)
    >>> x.numpy().tolist()
    [0, 2, 5, 7]
    """
    if examples is not None:
        examples = checks.positive_integer("examples", examples)
    if isinstance(x, tf.data.Dataset):
        return _first(x, examples)
    adapter = keras_data.data_adapter(
        x, y, sample_weight, batch_size, None, False, None
    )
    arrays = keras_data.arrays_of(adapter)
    if arrays is None:
        raise TypeError(
            "`x` must be arrays, dense tensors or a `tf.data.Dataset`. "
            f"Received: x of type {type(x).__name__}. Pass some examples as "
            "NumPy arrays."
        )
    count = count_of(arrays)
    if not count:
        raise ValueError(
            "The data must have at least one example. Received none."
        )
    rows = None
    if examples is not None and examples < count:
        rows = [i * count // examples for i in range(examples)]
    return keras.tree.map_structure(lambda leaf: _rows(leaf, rows), arrays)


def _rows(array: Any, rows: list[int] | None) -> tf.Tensor | None:
    """Some rows of an array as a tensor; all for `None`."""
    if array is None:
        return None
    if rows is None:
        return tf.convert_to_tensor(array)
    if tf.is_tensor(array):
        return tf.gather(array, rows)
    return tf.convert_to_tensor(array[rows])


def _first(dataset: tf.data.Dataset, examples: int | None) -> Any:
    """The first examples of a dataset of batches."""
    endless = dataset.cardinality() == tf.data.INFINITE_CARDINALITY
    if examples is None and endless:
        raise ValueError(
            "The dataset has no end. Pass `examples` to take its first ones, "
            "for example examples=1000."
        )
    batches, count = [], 0
    for batch in dataset:
        batches.append(batch)
        count += count_of(batch)
        if examples is not None and count >= examples:
            break
    if not count:
        raise ValueError(
            "The dataset must have at least one example. Received none."
        )
    return keras.tree.map_structure(
        lambda *leaves: tf.concat(leaves, 0)[:examples], *batches
    )


def count_of(data: Any) -> int:
    """Number of examples: the length of the first array."""
    leaves = [leaf for leaf in keras.tree.flatten(data) if leaf is not None]
    return len(leaves[0])
