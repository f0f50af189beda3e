"""Euclidean norms of lists of tensors, whole and layer by layer."""

import tensorflow as tf


def squared_norms(tensors):
    """The sum of squares of each tensor, in float32.

    Args:
        tensors: A list of float tensors of any shape.

    Returns:
        A list of float32 scalars; infinite where squares overflow.
    """
    return [tf.reduce_sum(tf.square(tf.cast(t, tf.float32))) for t in tensors]


def by_layer(squares, layers):
    """Norms by layer: the root of the sum of squares of its weights.

    Args:
        squares: A list of scalars, one for each weight.
        layers: The name of each weight's layer.

    Returns:
        A dict from layer to scalar, in the order of first appearance.
    """
    groups: dict[str, list] = {}
    for layer, square in zip(layers, squares, strict=True):
        groups.setdefault(layer, []).append(square)
    return {layer: tf.sqrt(tf.add_n(group)) for layer, group in groups.items()}
