"""Histograms of gradients and weights."""

import tensorflow as tf

from gdtrain.telemetry.quantity import Bins, Quantity

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


class GradientHistogram(Quantity):
    """Histogram of the gradient of each layer, before clipping.

    In 30 equal bins from the least to the greatest. TensorBoard shows it
    under "histograms"; as arrays it is not kept.

    Cost: some five passes over the gradients, as much as `WeightHistogram`:
    best on a cadence, as `every(100)`.

    Example:

    >>> GradientHistogram().every(100)
    GradientHistogram().every(100)
    """

    name = "gradient_histogram"

    def measure(self, record):
        """`{"gradient_histogram/<layer>": Bins}`."""
        found = by_layer(record.gradients, record.layers)
        return {f"{self.name}/{k}": Bins(v) for k, v in found.items()}


class WeightHistogram(Quantity):
    """Histogram of the weights of each layer, after the update.

    In 30 equal bins from the least to the greatest. Of trainable weights
    only. TensorBoard shows it under "histograms"; as arrays it is not kept.

    Cost: some five passes over the weights, 17% of a small MLP's step: best on
    a cadence, as `every(100)`.

    Example:

    >>> WeightHistogram().every(100)
    WeightHistogram().every(100)
    """

    name = "weight_histogram"

    def measure(self, record):
        """`{"weight_histogram/<layer>": Bins}`."""
        found = by_layer(record.weights_after, record.layers)
        return {f"{self.name}/{k}": Bins(v) for k, v in found.items()}
