"""How the gradient of each layer is distributed."""

from gdtrain.telemetry import histogram
from gdtrain.telemetry.quantity import Bins, Quantity


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
        found = histogram.by_layer(record.gradients, record.layers)
        return {f"{self.name}/{k}": Bins(v) for k, v in found.items()}
