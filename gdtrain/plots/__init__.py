"""Pictures of a training, and of what a model makes of its data.

Nothing here touches pyplot or any other state of matplotlib's, so that it can
be used on any thread.
"""

# First, so that its error is the one that is seen.
from gdtrain.plots import canvas  # noqa: F401
from gdtrain.plots.classifier import Predictions, confusion, predictions
from gdtrain.plots.fitted_line import FittedLine
from gdtrain.plots.layers import gradient_norms, update_ratios
from gdtrain.plots.learning_rates import learning_rate_range, sweep
from gdtrain.plots.loss_landscape import Landscape, landscape
from gdtrain.plots.photos import (
    most_suspect,
    most_wrong,
    precision_recall,
    reliability,
)
from gdtrain.plots.quantities import quantity
from gdtrain.plots.training import compare, loss, overview

__all__ = [
    "FittedLine",
    "Landscape",
    "Predictions",
    "compare",
    "confusion",
    "gradient_norms",
    "landscape",
    "learning_rate_range",
    "loss",
    "most_suspect",
    "most_wrong",
    "overview",
    "precision_recall",
    "predictions",
    "quantity",
    "reliability",
    "sweep",
    "update_ratios",
]
