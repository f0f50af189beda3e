"""How the weights of each layer are distributed."""

from gdtrain.telemetry import histogram
from gdtrain.telemetry.quantity import Bins, Quantity


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
        found = histogram.by_layer(record.weights_after, record.layers)
        return {f"{self.name}/{k}": Bins(v) for k, v in found.items()}
