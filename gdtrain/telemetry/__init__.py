"""What a step says of itself: quantities, their record and table."""

from gdtrain.telemetry.activations import (
    ActivationDeviation,
    ActivationMean,
    DeadFraction,
)
from gdtrain.telemetry.changes import (
    DistanceFromStart,
    LossChange,
    PredictedLossChange,
)
from gdtrain.telemetry.histograms import GradientHistogram, WeightHistogram
from gdtrain.telemetry.loss import LearningRate, Loss
from gdtrain.telemetry.noise import GradientCosine, GradientNoiseScale
from gdtrain.telemetry.norms import (
    GradientNorm,
    NonfiniteCount,
    UpdateNorm,
    UpdateRatio,
    WeightNorm,
)
from gdtrain.telemetry.quantity import Bins, BlockQuantity, Parts, Quantity
from gdtrain.telemetry.record import Record
from gdtrain.telemetry.system import DeviceMemory, ExamplesPerSecond

__all__ = [
    "ActivationDeviation",
    "ActivationMean",
    "Bins",
    "BlockQuantity",
    "DeadFraction",
    "DeviceMemory",
    "DistanceFromStart",
    "ExamplesPerSecond",
    "GradientCosine",
    "GradientHistogram",
    "GradientNoiseScale",
    "GradientNorm",
    "LearningRate",
    "Loss",
    "LossChange",
    "NonfiniteCount",
    "Parts",
    "PredictedLossChange",
    "Quantity",
    "Record",
    "UpdateNorm",
    "UpdateRatio",
    "WeightHistogram",
    "WeightNorm",
]
