"""What a step says of itself: quantities, their record and table. Floor 2."""

from gdtrain.telemetry.gradient_norm import GradientNorm
from gdtrain.telemetry.learning_rate import LearningRate
from gdtrain.telemetry.loss import Loss
from gdtrain.telemetry.nonfinite_count import NonfiniteCount
from gdtrain.telemetry.quantity import Quantity
from gdtrain.telemetry.record import Record
from gdtrain.telemetry.update_ratio import UpdateRatio
from gdtrain.telemetry.weight_norm import WeightNorm

__all__ = [
    "GradientNorm",
    "LearningRate",
    "Loss",
    "NonfiniteCount",
    "Quantity",
    "Record",
    "UpdateRatio",
    "WeightNorm",
]
