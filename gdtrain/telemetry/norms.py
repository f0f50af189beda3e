"""Euclidean norms of lists of tensors, whole and layer by layer."""

import tensorflow as tf


def squared_norms(tensors):
    """The sum of squares of each tensor, in float32.

    Args:
        tensors: A list of float tensors of any shape.

    Returns:
        A float32 vector; infinite where squares overflow.
    """
    # Few operations a tensor, as a small network spends more time on their
    # number than on its numbers; and flat ones, of which XLA is twice as fast.
    flat = [tf.reshape(tf.cast(t, tf.float32), [-1]) for t in tensors]
    return 2.0 * tf.stack([tf.nn.l2_loss(t) for t in flat])


def by_layer(squares, layers):
    """Norms by layer: the root of the sum of squares of its weights.

    Args:
        squares: A vector, a number for each weight.
        layers: The name of each weight's layer.

    Returns:
        `(names, norms)`: the layers in the order of first appearance, and a
        vector of as many norms.
    """
    names = list(dict.fromkeys(layers))
    places = [names.index(layer) for layer in layers]
    sums = tf.math.unsorted_segment_sum(squares, places, len(names))
    return names, tf.sqrt(sums)


def named(prefix, names, values):
    """`{"<prefix>/<name>": scalar}` of a vector of values."""
    values = tf.unstack(values, num=len(names))
    return {f"{prefix}/{n}": v for n, v in zip(names, values, strict=True)}
