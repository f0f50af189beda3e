"""Deep and recurrent tasks of both halves, in which layers can fail.

None of these architectures or data sets is in both halves either.
"""

from typing import Any

import keras
import numpy as np
from keras import layers

import gdtrain
from tests.zoo.training import Task

LABELS = "sparse_categorical_crossentropy"
BINARY = "binary_crossentropy"
Drawn = tuple[np.ndarray, np.ndarray]


# The half "build"


def corners(random: np.random.Generator, count: int) -> Drawn:
    """Two classes, of opposite corners of a square: xor."""
    sides = random.choice([-1.0, 1.0], (count, 2))
    x = sides + random.normal(0, 0.5, sides.shape)
    y = sides[:, :1] * sides[:, 1:] > 0
    return x.astype("float32"), y.astype("float32")


def shells(random: np.random.Generator, count: int) -> Drawn:
    """3 classes by the distance of 3 features from 0."""
    y = random.integers(0, 3, count)
    x = random.normal(size=(count, 3))
    x *= (0.5 + y + random.normal(0, 0.1, count))[:, None] / np.linalg.norm(
        x, axis=1, keepdims=True
    )
    return x.astype("float32"), y


def ripple(random: np.random.Generator, count: int) -> Drawn:
    """A wave over 2 features, with a mean of 0 and a deviation near 1."""
    x = random.normal(size=(count, 2))
    y = 1.4 * np.sin(2 * x[:, :1] + x[:, 1:]) + random.normal(
        0, 0.1, (count, 1)
    )
    return x.astype("float32"), y.astype("float32")


def walk(random: np.random.Generator, count: int) -> Drawn:
    """Steps of a walk; does it end above where it began?"""
    x = random.normal(size=(count, 14, 1))
    y = x.sum(1) > 0
    return x.astype("float32"), y.astype("float32")


def corner_net() -> keras.Model:
    x = keras.Input([2])
    out = layers.Dense(12, activation="tanh")(x)
    return gdtrain.Model(x, layers.Dense(1, activation="sigmoid")(out))


def _stack(
    x: Any, depth: int, units: int, activation: str, initializer: str
) -> Any:
    for _ in range(depth):
        x = layers.Dense(units, activation, kernel_initializer=initializer)(x)
    return x


def deep_relu() -> keras.Model:
    x = keras.Input([3])
    out = _stack(x, 8, 16, "relu", "he_normal")
    return gdtrain.Model(x, layers.Dense(3, activation="softmax")(out))


def deep_relu_value() -> keras.Model:
    x = keras.Input([2])
    out = _stack(x, 7, 20, "relu", "he_uniform")
    return gdtrain.Model(x, layers.Dense(1)(out))


def simple_rnn() -> keras.Model:
    x = keras.Input([14, 1])
    out = layers.SimpleRNN(12)(layers.Dense(6)(x))
    return gdtrain.Model(x, layers.Dense(1, activation="sigmoid")(out))


# The half "report"


def stripes(random: np.random.Generator, count: int) -> Drawn:
    """Two classes in stripes along a slanted direction, 3 features."""
    x = random.uniform(-1.5, 1.5, (count, 3))
    y = np.floor(x[:, :1] + 0.6 * x[:, 1:2]) % 2
    return x.astype("float32"), y.astype("float32")


def spirals(random: np.random.Generator, count: int) -> Drawn:
    """4 classes, one an arm of a spiral in the plane."""
    y = random.integers(0, 4, count)
    radius = random.uniform(0.2, 1.8, count)
    angle = radius + y * np.pi / 2 + random.normal(0, 0.1, count)
    x = radius * np.stack([np.cos(angle), np.sin(angle)])
    return x.T.astype("float32"), y


def bowl(random: np.random.Generator, count: int) -> Drawn:
    """Half a square of 4 features, less its mean."""
    x = random.normal(size=(count, 4))
    y = (
        0.5 * (x**2).sum(1, keepdims=True)
        - 2
        + random.normal(0, 0.1, (count, 1))
    )
    return x.astype("float32"), y.astype("float32")


def pulses(random: np.random.Generator, count: int) -> Drawn:
    """Sequences of 2 numbers; which of 3 thirds has the larger second one?"""
    y = random.integers(0, 3, count)
    x = random.normal(0, 0.6, (count, 12, 2))
    for i in range(count):
        x[i, 4 * y[i] : 4 * y[i] + 4, 1] += 1.2
    return x.astype("float32"), y


def stripe_net() -> keras.Model:
    x = keras.Input([3])
    out = layers.Dense(24, activation="relu")(x)
    return gdtrain.Model(x, layers.Dense(1, activation="sigmoid")(out))


def deep_elu() -> keras.Model:
    x = keras.Input([2])
    out = _stack(x, 10, 14, "elu", "he_normal")
    return gdtrain.Model(x, layers.Dense(4, activation="softmax")(out))


def funnel() -> keras.Model:
    x = keras.Input([4])
    out = layers.Dense(32, activation="relu")(x)
    out = _stack(out, 6, 18, "relu", "he_normal")
    return gdtrain.Model(x, layers.Dense(1)(out))


def convolved_sequence() -> keras.Model:
    x = out = keras.Input([12, 2])
    for _ in range(5):
        out = layers.Conv1D(
            10, 3, padding="same", activation="relu",
            kernel_initializer="he_normal",
        )(out)  # fmt: skip
    out = layers.Flatten()(out)
    return gdtrain.Model(x, layers.Dense(3, activation="softmax")(out))


TASKS = {
    "build": [
        Task(corners, corner_net, BINARY),
        Task(shells, deep_relu, LABELS),
        Task(ripple, deep_relu_value, "mse"),
        Task(walk, simple_rnn, BINARY),
    ],
    "report": [
        Task(stripes, stripe_net, BINARY),
        Task(spirals, deep_elu, LABELS),
        Task(bowl, funnel, "mse"),
        Task(pulses, convolved_sequence, LABELS),
    ],
}
#: As in the halves; momentum, Adam and descent are in both.
_SETTINGS = [
    ("adam", 32, "constant", 400),
    ("momentum", 16, "constant", 400),
    ("descent", None, "constant", 400),
]
SETTINGS = {
    half: {task.name: _SETTINGS for task in tasks}
    for half, tasks in TASKS.items()
}
