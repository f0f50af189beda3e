"""A batch that is at hand, as `train_on_batch` is given it."""

import numbers
from typing import Any

import keras
import tensorflow as tf


def tensors(batch: Any) -> Any:
    """A batch as tensors of the dtypes that its arrays have; `None` stays.

    A step that runs eagerly gets what a compiled one gets. A list of numbers
    is one tensor, as the `y` of a batch, not a structure of scalars.

    Args:
        batch: A tuple `(x, y, sample_weight)`, each an array, a tensor, or a
            structure of these.

    Example:

    >>> x, y, nothing = tensors(([[1, 2], [3, 4]], {"sign": [0.5]}, None))
    >>> x.shape.as_list(), y["sign"].dtype.name, nothing
    ([2, 2], 'float32', None)
    """
    return keras.tree.map_structure(
        _tensor, keras.tree.traverse(_array_of_numbers, batch)
    )


def _tensor(leaf: Any) -> Any:
    return leaf if leaf is None else tf.convert_to_tensor(leaf)


def _array_of_numbers(part: Any) -> Any:
    """A list of numbers as a tensor; `None` to look into what it has."""
    if not isinstance(part, list) or not part:
        return None
    if all(isinstance(n, numbers.Number) for n in keras.tree.flatten(part)):
        return tf.convert_to_tensor(part)
    return None
