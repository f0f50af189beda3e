"""Gradient descent you can see and steer, behind `model.fit`."""

from gdtrain import callbacks, telemetry
from gdtrain.descent.gradient_descent import GradientDescent
from gdtrain.model import Model, Sequential, from_keras
from gdtrain.trainer import DescentTrainer

__version__ = "0.1.0"

__all__ = [
    "DescentTrainer",
    "GradientDescent",
    "Model",
    "Sequential",
    "callbacks",
    "from_keras",
    "telemetry",
]
