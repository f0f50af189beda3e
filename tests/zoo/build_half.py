"""The part on which thresholds are set: its data, models and settings."""

import functools

import keras
import numpy as np
from keras import layers

import gdtrain
from tests.zoo.training import Task

CLASSES = "sparse_categorical_crossentropy"


def plane(random, count):
    """A linear target of 8 features, of which some are correlated."""
    x = random.normal(size=(count, 8)) @ random.normal(size=(8, 8)) / 3
    y = x @ random.normal(size=(8, 1)) + 1 + random.normal(0, 0.2, (count, 1))
    return x.astype("float32"), y.astype("float32")


def waves(random, count):
    """A smooth function of 3 features."""
    x = random.normal(size=(count, 3))
    y = np.sin(x @ random.normal(size=3)) + 0.5 * x[:, 0] * x[:, 1] + 0.5
    y = y[:, None] + random.normal(0, 0.05, (count, 1))
    return x.astype("float32"), y.astype("float32")


def blobs(random, count):
    """4 classes of points around 2 centres each, which overlap."""
    centres = random.normal(size=(8, 5)) * 1.4
    group = random.integers(0, 8, count)
    x = centres[group] + random.normal(0, 0.7, (count, 5))
    return x.astype("float32"), group % 4


def bars(random, count):
    """Pictures of a bright bar in one of 4 directions, with noise."""
    y = random.integers(0, 4, count)
    at = random.integers(2, 8, count)
    rows, columns = np.mgrid[:10, :10]
    x = random.normal(0, 0.4, (count, 10, 10, 1))
    for i in range(count):
        line = (
            rows - at[i], columns - at[i], rows - columns + at[i] - 5,
            rows + columns - 4 - at[i],
        )[y[i]]  # fmt: skip
        x[i, ..., 0] += line == 0
    return x.astype("float32"), y


def tones(random, count):
    """Sequences of a noisy tone; which of 3 frequencies is it?"""
    y = random.integers(0, 3, count)
    phase = random.uniform(0, 2 * np.pi, (count, 1))
    turns = np.array([0.35, 0.8, 1.3])[y][:, None] * np.arange(16) + phase
    x = np.sin(turns) + random.normal(0, 0.3, turns.shape)
    return x[..., None].astype("float32"), y


def topics(random, count):
    """Texts of 12 words out of 60; each topic has words that it prefers."""
    y = random.integers(0, 2, count)
    likes = random.permutation(60)
    common = random.integers(0, 60, (count, 12))
    own = likes[random.integers(0, 12, (count, 12)) + 12 * y[:, None]]
    x = np.where(random.uniform(size=(count, 12)) < 0.35, own, common)
    return x.astype("int32"), y.astype("float32")[:, None]


def needle(random, count):
    """Sequences with a marked place; the target is the number that is there."""
    x = random.normal(size=(count, 10, 2))
    at = random.integers(0, 10, count)
    x[..., 1] = np.arange(10) == at[:, None]
    y = x[np.arange(count), at, :1] + random.normal(0, 0.1, (count, 1))
    return x.astype("float32"), y.astype("float32")


def rings(random, count):
    """Points inside of a ring and on it, with 4 features that say nothing."""
    y = random.integers(0, 2, count)
    angle = random.uniform(0, 2 * np.pi, count)
    radius = np.where(y, 1.6, 0.7) + random.normal(0, 0.25, count)
    x = random.normal(size=(count, 6))
    x[:, 0], x[:, 1] = radius * np.cos(angle), radius * np.sin(angle)
    return x.astype("float32"), y.astype("float32")[:, None]


def factors(random, count):
    """Points of 16 features near a plane of 3 dimensions: `y` is `x`."""
    x = random.normal(size=(count, 3)) @ random.normal(size=(3, 16)) / 1.7
    x = (x + random.normal(0, 0.1, x.shape)).astype("float32")
    return x, x


def orchard(random, count):
    """Of 6 features of a tree: its yield, and which of 3 kinds it is."""
    kind = random.integers(0, 3, count)
    x = random.normal(size=(count, 6)) + random.normal(size=(3, 6))[kind] * 1.5
    crop = np.maximum(x[:, :1], 0) + 0.5 * x[:, 1:2] * (kind[:, None] == 1)
    crop += random.normal(0, 0.1, crop.shape)
    return x.astype("float32"), {"crop": crop.astype("float32"), "kind": kind}


def linear():
    x = keras.Input([8])
    return gdtrain.Model(x, layers.Dense(1)(x))


def tanh_net():
    x = keras.Input([3])
    hidden = layers.Dense(24, activation="tanh")(x)
    return gdtrain.Model(x, layers.Dense(1)(hidden))


def relu_net():
    out = x = keras.Input([5])
    for _ in range(4):
        out = layers.Dense(16, "relu", kernel_initializer="he_normal")(out)
    return gdtrain.Model(x, layers.Dense(4)(out))


def cnn():
    x = keras.Input([10, 10, 1])
    out = layers.Conv2D(6, 3, activation="relu")(x)
    out = layers.MaxPooling2D()(out)
    out = layers.Conv2D(8, 3, activation="relu")(out)
    out = layers.Dropout(0.1)(layers.Flatten()(out))
    return gdtrain.Model(x, layers.Dense(4, activation="softmax")(out))


def gru():
    x = keras.Input([16, 1])
    out = layers.GRU(12)(x)
    return gdtrain.Model(x, layers.Dense(3, activation="softmax")(out))


def mean_of_words():
    x = keras.Input([12], dtype="int32")
    out = layers.GlobalAveragePooling1D()(layers.Embedding(60, 8)(x))
    out = layers.Dense(8, activation="relu")(out)
    return gdtrain.Model(x, layers.Dense(1, activation="sigmoid")(out))


def attention():
    x = keras.Input([10, 2])
    out = layers.Dense(12)(x)
    seen = layers.MultiHeadAttention(2, 6)(out, out)
    out = layers.LayerNormalization()(layers.Add()([out, seen]))
    out = layers.GlobalMaxPooling1D()(layers.Dense(16, "relu")(out))
    return gdtrain.Model(x, layers.Dense(1)(out))


def residual():
    x = keras.Input([6])
    out = layers.Dense(16)(x)
    for _ in range(3):
        part = layers.BatchNormalization()(out)
        part = layers.Dense(16)(layers.ReLU()(part))
        out = layers.Add()([out, part])
    return gdtrain.Model(x, layers.Dense(1)(out))


def autoencoder():
    x = keras.Input([16])
    code = layers.Dense(3)(layers.Dense(12, activation="elu")(x))
    out = layers.Dense(16)(layers.Dense(12, activation="elu")(code))
    return gdtrain.Model(x, out)


def two_heads():
    x = keras.Input([6])
    out = layers.Dense(20, activation="relu")(x)
    out = layers.Dense(12, activation="relu")(out)
    crop = layers.Dense(1, name="crop")(out)
    kind = layers.Dense(3, activation="softmax", name="kind")(out)
    return gdtrain.Model(x, {"crop": crop, "kind": kind})


_logits = functools.partial(
    keras.losses.SparseCategoricalCrossentropy, from_logits=True
)
TASKS = [
    Task(plane, linear, "mse", 160),
    Task(waves, tanh_net, "mse"),
    Task(blobs, relu_net, _logits()),
    Task(bars, cnn, CLASSES),
    Task(tones, gru, CLASSES),
    Task(topics, mean_of_words, "binary_crossentropy", 400),
    Task(needle, attention, "mse"),
    Task(rings, residual, keras.losses.BinaryCrossentropy(from_logits=True)),
    Task(factors, autoencoder, "mse"),
    Task(orchard, two_heads, {"crop": "mse", "kind": CLASSES}, 300),
]
#: Of each task: optimizer, batch size, schedule, steps, whether validated
SETTINGS = {
    "plane linear": [
        ("descent", None, "constant", 200),
        ("momentum", 16, "constant", 300, True),
        ("adam", 1, "cosine", 640),
    ],
    "waves tanh_net": [
        ("descent", 32, "constant", 400),
        ("rmsprop", None, "constant", 300),
        ("momentum", None, "warm-up", 400, True),
    ],
    "blobs relu_net": [
        ("adam", 32, "constant", 400),
        ("descent", None, "constant", 300),
        ("nadam", 4, "exponential", 512, True),
    ],
    "bars cnn": [
        ("descent", 32, "constant", 240),
        ("adam", 16, "cosine", 320, True),
        ("momentum", 64, "constant", 200),
    ],
    "tones gru": [
        ("adam", 32, "constant", 240),
        ("rmsprop", 8, "constant", 320),
        ("momentum", None, "constant", 200),
    ],
    "topics mean_of_words": [
        ("adam", 16, "constant", 400, True),
        ("adamw", 50, "cosine", 400),
        ("nadam", None, "constant", 200),
    ],
    "needle attention": [
        ("adamw", 32, "constant", 400),
        ("nadam", 16, "warm-up", 400, True),
        ("momentum", 32, "constant", 400),
    ],
    "rings residual": [
        ("momentum", 32, "constant", 320),
        ("adam", 8, "constant", 480),
        ("rmsprop", 64, "exponential", 240, True),
    ],
    "factors autoencoder": [
        ("adam", None, "constant", 400),
        ("descent", 16, "cosine", 480),
        ("adamw", 1, "constant", 512),
    ],
    "orchard two_heads": [
        ("momentum", 20, "constant", 450, True),
        ("rmsprop", 30, "constant", 400),
        ("descent", 4, "constant", 450),
    ],
}
