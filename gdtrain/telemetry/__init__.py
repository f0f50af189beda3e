"""Quantities that each step measures, and their record."""

from gdtrain.telemetry.activations import (
    ActivationDeviation,
    ActivationMean,
    DeadFraction,
)
from gdtrain.telemetry.histograms import GradientHistogram, WeightHistogram
from gdtrain.telemetry.loss import (
    LearningRate,
    Loss,
    LossChange,
    PredictedLossChange,
)
from gdtrain.telemetry.noise import GradientCosine, GradientNoiseScale
from gdtrain.telemetry.norms import (
    DistanceFromStart,
    GradientNorm,
    NonfiniteCount,
    UpdateNorm,
    UpdateRatio,
    WeightNorm,
)
from gdtrain.telemetry.quantity import (
    BlockQuantity,
    Histogram,
    Quantity,
    Scalars,
)
from gdtrain.telemetry.record import Record
from gdtrain.telemetry.step_table import BlockTable, StepTable
from gdtrain.telemetry.system import (
    DeviceMemory,
    ExamplesPerSecond,
    InputWait,
    Workers,
)

__all__ = [
    # Quantities, in the order of their columns; each says its preset.
    "Loss",
    "LearningRate",
    "GradientNorm",
    "WeightNorm",
    "UpdateRatio",
    "NonfiniteCount",
    "UpdateNorm",
    "GradientCosine",
    "DistanceFromStart",
    "PredictedLossChange",
    "LossChange",
    "GradientNoiseScale",
    "ActivationMean",
    "ActivationDeviation",
    "DeadFraction",
    "WeightHistogram",
    "GradientHistogram",
    "InputWait",
    "ExamplesPerSecond",
    "DeviceMemory",
    "Workers",
    # To write one of your own
    "BlockQuantity",
    "BlockTable",
    "Histogram",
    "Quantity",
    "Record",
    "Scalars",
    "StepTable",
]
