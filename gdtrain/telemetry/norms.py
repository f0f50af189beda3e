"""Norms and products of lists of tensors, whole and layer by layer."""

import math

import tensorflow as tf

from gdtrain import compilation
from gdtrain.telemetry.quantity import Parts

_FEW = 1024  # Numbers, of which no matrix is worth while
_NARROW = 16  # Numbers of a row, likewise


def squared_norms(tensors):
    """The sum of squares of each tensor, in float32.

    Args:
        tensors: A list of float tensors of any shape.

    Returns:
        A float32 vector; infinite where squares overflow.
    """
    flat = [_flat(t) for t in tensors]
    if compilation.by_xla():
        return tf.stack([_sum(t * t) for t in flat])
    # Few operations a tensor, as a small network spends more time on their
    # number than on its numbers.
    return 2.0 * tf.stack([tf.nn.l2_loss(t) for t in flat])


def dot_products(tensors, others):
    """The sum of products of each tensor with another, in float32.

    Args:
        tensors, others: Lists of float tensors of the same shapes.

    Returns:
        A float32 vector.
    """
    return tf.stack(
        [
            _sum(_flat(a) * _flat(b))
            for a, b in zip(tensors, others, strict=True)
        ]
    )


def _sum(vector):
    """The sum of a vector.

    XLA for CPUs (in TensorFlow 2.21) adds up one number after another, but
    is four times as fast at a matrix times a vector of ones.
    """
    size = vector.shape[0]
    if not compilation.by_xla() or size < _FEW:
        return tf.reduce_sum(vector)
    width = next(
        (w for w in range(math.isqrt(size), _NARROW, -1) if size % w == 0), 1
    )
    if width == 1:
        return tf.reduce_sum(vector)
    rows = tf.reshape(vector, [-1, width])
    return tf.reduce_sum(tf.linalg.matvec(rows, tf.ones([width])))


def _flat(tensor):
    """A tensor as a float32 vector, of which XLA is twice as fast."""
    tensor = tf.cast(tensor, tf.float32)
    return tensor if tensor.shape.rank == 1 else tf.reshape(tensor, [-1])


def sums_by_layer(values, layers):
    """Sums by layer of a number for each weight.

    Args:
        values: A vector, a number for each weight.
        layers: The name of each weight's layer.

    Returns:
        `Parts` of the layers, in the order of first appearance.
    """
    names = list(dict.fromkeys(layers))
    places = tf.constant([names.index(one) for one in layers], tf.int32)
    sums = tf.math.unsorted_segment_sum(values, places, len(names))
    return Parts(names, sums)


def whole_and_by_layer(values, layers):
    """As `sums_by_layer`, with the sum of all, named `""`, in front."""
    names, sums = sums_by_layer(values, layers)
    whole = tf.reduce_sum(values, keepdims=True)
    return Parts(["", *names], tf.concat([whole, sums], 0))


def by_layer(squares, layers):
    """Norms by layer: the root of the sum of squares of its weights.

    Args:
        squares: A vector, a number for each weight.
        layers: The name of each weight's layer.

    Returns:
        `Parts` of the layers, in the order of first appearance.
    """
    names, sums = sums_by_layer(squares, layers)
    return Parts(names, tf.sqrt(sums))
