"""Callbacks for `fit`. Floor 5."""

from gdtrain.callbacks.telemetry import Telemetry
from gdtrain.callbacks.tensorboard import TensorBoard

__all__ = ["Telemetry", "TensorBoard"]
