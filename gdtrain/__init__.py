"""Gradient descent you can see and steer, behind `model.fit`."""

import importlib
import types

from gdtrain import callbacks, optimizers, schedules, telemetry, writers
from gdtrain.curvature.curvature import curvature
from gdtrain.diagnosis.diagnose import diagnose
from gdtrain.model import Model, Sequential, from_keras
from gdtrain.optimizers import GradientDescent
from gdtrain.trainer import DescentTrainer
from gdtrain.tuning.landscape import landscape
from gdtrain.tuning.learning_rate_finder import find_learning_rate
from gdtrain.tuning.sweep import sweep

__version__ = "0.1.0"

__all__ = [
    "DescentTrainer",
    "GradientDescent",
    "Model",
    "Sequential",
    "callbacks",
    "curvature",
    "diagnose",
    "find_learning_rate",
    "from_keras",
    "images",
    "landscape",
    "optimizers",
    "plots",
    "schedules",
    "sweep",
    "telemetry",
    "writers",
]


_LOADED_WHEN_ASKED_FOR = ("images", "plots")  # Need Pillow, Matplotlib


def __getattr__(name: str) -> types.ModuleType:
    """A part that is not imported before it is asked for."""
    if name in _LOADED_WHEN_ASKED_FOR:
        return importlib.import_module(f"gdtrain.{name}")
    raise AttributeError(f"module 'gdtrain' has no attribute {name!r}")


def __dir__() -> list[str]:
    """All names, so that completion finds those not imported yet."""
    return sorted({*globals(), *_LOADED_WHEN_ASKED_FOR})
