"""Callbacks for `fit`."""

from gdtrain.callbacks.backup_and_restore import BackupAndRestore
from gdtrain.callbacks.diagnosis import Diagnosis
from gdtrain.callbacks.learning_rate_scheduler import LearningRateScheduler
from gdtrain.callbacks.nonfinite_guard import NonfiniteGuard
from gdtrain.callbacks.ray_report import RayReport
from gdtrain.callbacks.stability import Stability, StableLearningRate
from gdtrain.callbacks.telemetry import StepWriter, Telemetry
from gdtrain.callbacks.tensorboard import TensorBoard
from gdtrain.callbacks.weight_path import WeightPath
from gdtrain.loop.callback import Callback
from gdtrain.loop.fit_state import FitState, Rollback

__all__ = [
    "BackupAndRestore",
    "Callback",
    "Diagnosis",
    "FitState",
    "LearningRateScheduler",
    "NonfiniteGuard",
    "RayReport",
    "Rollback",
    "Stability",
    "StableLearningRate",
    "StepWriter",
    "Telemetry",
    "TensorBoard",
    "WeightPath",
]
