"""Deep and recurrent tasks of each part, in which layers can fail.

None of these architectures or data sets is in two parts either.
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


# The part "build"


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


# The part "report"


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


# The part "reserve"


def petals(random: np.random.Generator, count: int) -> Drawn:
    """Points of a plane inside of a flower with 3 petals, and outside."""
    x = random.normal(size=(count, 2))
    edge = 1.1 + 0.5 * np.cos(3 * np.arctan2(x[:, 1], x[:, 0]))
    y = np.linalg.norm(x, axis=1) < edge
    return x.astype("float32"), y.astype("float32")[:, None]


def valley(random: np.random.Generator, count: int) -> Drawn:
    """The distance of 3 features from a curve, less its mean."""
    x = random.normal(size=(count, 3))
    y = abs(x[:, :1] - np.sin(2 * x[:, 1:2])) + 0.5 * x[:, 2:] - 0.9
    return x.astype("float32"), y.astype("float32")


def tiles(random: np.random.Generator, count: int) -> Drawn:
    """Pictures with a bright square in one of 3 thirds from left to right."""
    y = random.integers(0, 3, count)
    x = random.normal(0, 0.4, (count, 9, 9, 1))
    for i, top in enumerate(random.integers(0, 7, count)):
        x[i, top : top + 3, 3 * y[i] : 3 * y[i] + 3] += 1.0
    return x.astype("float32"), y


def pyramid() -> keras.Model:
    x = out = keras.Input([2])
    for units in (40, 30, 20, 15, 10):
        out = _stack(out, 1, units, "relu", "he_normal")
    return gdtrain.Model(x, layers.Dense(1, activation="sigmoid")(out))


def leaky_chain() -> keras.Model:
    x = keras.Input([3])
    out = _stack(x, 9, 16, "leaky_relu", "he_uniform")
    return gdtrain.Model(x, layers.Dense(1)(out))


def deep_cnn() -> keras.Model:
    x = out = keras.Input([9, 9, 1])
    for units in (8, 8, 8, 6):
        out = layers.Conv2D(
            units, 3, padding="same", activation="relu",
            kernel_initializer="he_normal",
        )(out)  # fmt: skip
    out = layers.Flatten()(layers.MaxPooling2D(3)(out))
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
    "reserve": [
        Task(petals, pyramid, BINARY),
        Task(valley, leaky_chain, "mse"),
        Task(tiles, deep_cnn, LABELS),
    ],
}
#: As in the parts; momentum, Adam and descent are in all.
_SETTINGS = [
    ("adam", 32, "constant", 400),
    ("momentum", 16, "constant", 400),
    ("descent", None, "constant", 400),
]
SETTINGS = {
    half: {task.name: _SETTINGS for task in tasks}
    for half, tasks in TASKS.items()
}
