"""What a step says of itself: quantities, their record and table. Floor 2."""

from gdtrain.telemetry.activation_deviation import ActivationDeviation
from gdtrain.telemetry.activation_mean import ActivationMean
from gdtrain.telemetry.dead_fraction import DeadFraction
from gdtrain.telemetry.device_memory import DeviceMemory
from gdtrain.telemetry.distance_from_start import DistanceFromStart
from gdtrain.telemetry.examples_per_second import ExamplesPerSecond
from gdtrain.telemetry.gradient_cosine import GradientCosine
from gdtrain.telemetry.gradient_histogram import GradientHistogram
from gdtrain.telemetry.gradient_noise_scale import GradientNoiseScale
from gdtrain.telemetry.gradient_norm import GradientNorm
from gdtrain.telemetry.learning_rate import LearningRate
from gdtrain.telemetry.loss import Loss
from gdtrain.telemetry.loss_change import LossChange
from gdtrain.telemetry.nonfinite_count import NonfiniteCount
from gdtrain.telemetry.predicted_loss_change import PredictedLossChange
from gdtrain.telemetry.quantity import Bins, BlockQuantity, Parts, Quantity
from gdtrain.telemetry.record import Record
from gdtrain.telemetry.update_norm import UpdateNorm
from gdtrain.telemetry.update_ratio import UpdateRatio
from gdtrain.telemetry.weight_histogram import WeightHistogram
from gdtrain.telemetry.weight_norm import WeightNorm

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
