"""Pictures of a training, for who would rather look than read.

Nothing here touches pyplot or any other state of matplotlib's, so that it can
be used on any thread.
"""

# First, so that its error is the one that is seen.
from gdtrain.plots import requirement  # noqa: F401
from gdtrain.plots.fitted_line import FittedLine
from gdtrain.plots.landscape_map import landscape
from gdtrain.plots.landscape_picture import Landscape
from gdtrain.plots.loss_panels import loss
from gdtrain.plots.norm_map import gradient_norms
from gdtrain.plots.one_page import overview
from gdtrain.plots.predictions import Predictions
from gdtrain.plots.rate_range import learning_rate_range
from gdtrain.plots.ratio_lines import update_ratios
from gdtrain.plots.sweep_panels import sweep

__all__ = [
    "FittedLine",
    "Landscape",
    "Predictions",
    "gradient_norms",
    "landscape",
    "learning_rate_range",
    "loss",
    "overview",
    "sweep",
    "update_ratios",
]
