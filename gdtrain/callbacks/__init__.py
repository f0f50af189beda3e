"""Callbacks for `fit`. Floor 5."""

from gdtrain.callbacks.backup_and_restore import BackupAndRestore
from gdtrain.callbacks.nonfinite_guard import NonfiniteGuard
from gdtrain.callbacks.step_writer import StepWriter
from gdtrain.callbacks.telemetry import Telemetry
from gdtrain.callbacks.tensorboard import TensorBoard
from gdtrain.callbacks.weight_path import WeightPath

__all__ = [
    "BackupAndRestore",
    "NonfiniteGuard",
    "StepWriter",
    "Telemetry",
    "TensorBoard",
    "WeightPath",
]
