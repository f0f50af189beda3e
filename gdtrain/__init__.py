"""Gradient descent you can see and steer, behind `model.fit`."""

import importlib
import sys
import types
from typing import TYPE_CHECKING

from gdtrain.common import own_command

_COMMAND = own_command.given(sys.orig_argv)
if _COMMAND not in (None, "explain"):
    own_command.load_tensorflow_quietly()
# A page is printed without the seconds that TensorFlow takes to be imported.
if _COMMAND != "explain":
    from gdtrain import (
        callbacks,
        data,
        distributed,
        optimizers,
        schedules,
        telemetry,
        writers,
    )
    from gdtrain.curvature.curvature import Curvature, curvature
    from gdtrain.diagnosis.diagnose import diagnose
    from gdtrain.diagnosis.verdict import Diagnosis, Verdict
    from gdtrain.model import Model, Sequential, from_keras
    from gdtrain.optimizers import GradientDescent
    from gdtrain.trainer import DescentTrainer
    from gdtrain.tuning.landscape import LossSurface, landscape
    from gdtrain.tuning.learning_rate_finder import find_learning_rate
    from gdtrain.tuning.suggestions import RangeTestResult
    from gdtrain.tuning.sweep import sweep
    from gdtrain.tuning.sweep_result import SweepResult

if TYPE_CHECKING:  # What editors see, who do not call `__getattr__`
    from gdtrain import images, plots

__version__ = "0.2.0.dev0"

__all__ = [
    "Curvature",
    "DescentTrainer",
    "Diagnosis",
    "GradientDescent",
    "LossSurface",
    "Model",
    "RangeTestResult",
    "Sequential",
    "SweepResult",
    "Verdict",
    "callbacks",
    "curvature",
    "data",
    "diagnose",
    "distributed",
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
