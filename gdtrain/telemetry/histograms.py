"""Histograms of gradients and weights."""

import abc
from collections.abc import Sequence

import tensorflow as tf

from gdtrain.telemetry.quantity import Histogram, Measured, Quantity
from gdtrain.telemetry.record import Record

BINS = 30  # As many as TensorBoard shows


def histogram(tensors: Sequence[tf.Tensor]) -> tf.Tensor:
    """The histogram of all finite numbers in some tensors.

    Args:
        tensors: Float tensors of any shape.

    Returns:
        Float32 `[2 + BINS]`; see `Histogram`. Zeros if no number is finite.

    Example:

    >>> numbers = histogram([tf.constant([0.0, 1.0, 1.0, float("nan")])])
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


class _LayerHistogram(Quantity):
    """A histogram for each layer, of all its tensors."""

    preset_every_steps = 100

    @abc.abstractmethod
    def tensors(self, record: Record) -> Sequence[tf.Tensor]:
        """A tensor for each weight."""

    def measure(self, record: Record) -> Measured:
        """A histogram for each layer."""
        by_layer: dict[str, list[tf.Tensor]] = {}
        for tensor, layer in zip(
            self.tensors(record), record.layers, strict=True
        ):
            by_layer.setdefault(layer, []).append(tensor)
        return {
            f"{self.name}/{layer}": Histogram(histogram(tensors))
            for layer, tensors in by_layer.items()
        }


class GradientHistogram(_LayerHistogram):
    """Histogram of the gradient of each layer, before clipping.

        count in bin k = number of entries between
                         smallest + k * width and smallest + (k + 1) * width
        width = (largest - smallest) / 30

    Two peaks, or a few entries far from all others, do not show in a norm: a
    few examples, or units, make the gradient then. One bin that has nearly
    all entries, at 0, is that of units that learn nothing. TensorBoard shows
    it in its tab Histograms; `Telemetry` and files do not keep it.

    Columns: `gradient_histogram/<layer>`

    Unit: that of the loss per weight.

    Cost: some five passes over the gradients. `every(100)` makes it cheap.

    Example:

    >>> from gdtrain.telemetry.measurement import evaluate
    >>> gradients = [tf.constant([0.0, 1.0, 1.0])]
    >>> found = evaluate(
    ...     GradientHistogram(), gradients=gradients, layers=["line"]
    ... )
    >>> low, high, *counts = found["gradient_histogram/line"]
    >>> low, high, counts[0], counts[-1]
    (0.0, 1.0, 1.0, 2.0)
    """

    name = "gradient_histogram"

    def tensors(self, record: Record) -> Sequence[tf.Tensor]:
        """The gradients."""
        return record.gradients


class WeightHistogram(_LayerHistogram):
    """Histogram of the weights of each layer, after the update.

        count in bin k = number of weights between
                         smallest + k * width and smallest + (k + 1) * width
        width = (largest - smallest) / 30

    Of trainable weights only. Weights spread as a layer learns; a histogram
    that keeps its form is of a layer that does not. A narrow peak at 0 comes
    from decay that the data hardly work against. TensorBoard shows it in its
    tab Histograms; `Telemetry` and files do not keep it.

    Columns: `weight_histogram/<layer>`

    Unit: that of weights.

    Cost: some five passes over the weights. `every(100)` makes it cheap.

    Example:

    >>> from gdtrain.telemetry.measurement import evaluate
    >>> weights = [tf.constant([0.0, 1.0, 1.0])]
    >>> found = evaluate(
    ...     WeightHistogram(), weights_after=weights, layers=["line"]
    ... )
    >>> found["weight_histogram/line"][:3]
    [0.0, 1.0, 1.0]
    """

    name = "weight_histogram"

    def tensors(self, record: Record) -> Sequence[tf.Tensor]:
        """The weights after the update."""
        return record.weights_after
