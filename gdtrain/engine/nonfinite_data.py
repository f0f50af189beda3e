"""Numbers of a batch that are not finite, and the batch without them."""

import keras
import numpy as np
import tensorflow as tf

from gdtrain.engine.nonfinite_report import kind_of


def leaves_of(data):
    """The tensors of a batch, by the names that a user knows.

    Args:
        data: `(x, y, sample_weight)`.

    Returns:
        A list of `(name, tensor)`, as `("x['image']", ...)`.
    """
    found = []
    for word, part in zip(("x", "y", "sample_weight"), data):
        for path, leaf in keras.tree.flatten_with_path(part):
            keys = "".join(f"[{key!r}]" for key in path)
            if leaf is not None:
                found.append((word + keys, leaf))
    return found


def cleaned(data, but=None):
    """A batch with 0 in the place of what is not finite.

    Args:
        data: A structure of tensors.
        but: A tensor to leave as it is, or `None`.
    """
    return keras.tree.map_structure(
        lambda leaf: leaf if leaf is but or not kind_of(leaf) else _clean(leaf),
        data,
    )


def _clean(leaf):
    if isinstance(leaf, tf.RaggedTensor):
        return leaf.with_flat_values(_clean(leaf.flat_values))
    if isinstance(leaf, tf.SparseTensor):
        return tf.SparseTensor(
            leaf.indices, _clean(leaf.values), leaf.dense_shape
        )
    return tf.where(tf.math.is_finite(leaf), leaf, tf.zeros_like(leaf))


def without(data, examples, batch_size):
    """A batch of dense tensors without some of its examples.

    Args:
        data: A structure of tensors.
        examples: Positions of the examples to leave out.
        batch_size: How many examples there are.
    """
    kept = np.setdiff1d(np.arange(batch_size), examples)
    return keras.tree.map_structure(
        lambda leaf: leaf if leaf is None else tf.gather(leaf, kept), data
    )


def labels_outside(y, y_pred):
    """Where integer labels are none of the classes.

    Args:
        y: Labels, a tensor of integers `[examples, ...]`.
        y_pred: Outputs, `[examples, ..., classes]`.

    Returns:
        A bool array `[examples]`; `None` if `y` is nothing of that kind.
    """
    if not tf.is_tensor(y) or not tf.is_tensor(y_pred) or not y.shape.rank:
        return None
    labels = np.asarray(y).reshape([y.shape[0], -1])
    if labels.dtype.kind not in "iuf":
        return None
    return ((labels < 0) | (labels >= y_pred.shape[-1])).any(axis=1)
