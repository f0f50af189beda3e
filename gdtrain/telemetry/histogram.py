"""Histograms of numbers, in the graph.

A histogram is a float32 vector: the left edge of its first bin, the right
edge of its last one, and how many numbers are in each of `BINS` equal bins.
Numbers that are not finite are not counted; the edges are the least and the
greatest of the others, and both 0 if there are none.
"""

import tensorflow as tf

BINS = 30  # As many as TensorBoard shows


def of(tensors):
    """The histogram of all numbers in some tensors.

    Args:
        tensors: A list of float tensors of any shape.

    Returns:
        Float32 `[2 + BINS]`.

    Example:

    >>> numbers = of([tf.constant([0.0, 1.0, 1.0, float("nan")])])
    >>> numbers[:3].numpy().tolist(), float(numbers[-1])
    ([0.0, 1.0, 1.0], 2.0)
    """
    values = tf.concat(
        [tf.reshape(tf.cast(t, tf.float32), [-1]) for t in tensors], 0
    )
    finite = tf.math.is_finite(values)
    is_known = tf.reduce_any(finite)
    low = tf.reduce_min(tf.where(finite, values, float("inf")))
    high = tf.reduce_max(tf.where(finite, values, -float("inf")))
    low, high = tf.unstack(tf.where(is_known, tf.stack([low, high]), 0.0))
    share = tf.math.divide_no_nan(values - low, high - low)
    share = tf.where(finite, share, 0.0)
    places = tf.minimum(tf.cast(share * BINS, tf.int32), BINS - 1)
    counts = tf.math.unsorted_segment_sum(
        tf.cast(finite, tf.float32), places, BINS
    )
    return tf.concat([[low, high], counts], 0)


def by_layer(tensors, layers):
    """A histogram for each layer, of all its tensors.

    Args:
        tensors: A list of float tensors.
        layers: The name of each one's layer.

    Returns:
        A dict from a layer's name to float32 `[2 + BINS]`.
    """
    grouped: dict[str, list] = {}
    for tensor, layer in zip(tensors, layers, strict=True):
        grouped.setdefault(layer, []).append(tensor)
    return {layer: of(group) for layer, group in grouped.items()}
