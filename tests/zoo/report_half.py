"""The part that was reported first; since then thresholds are set on it too."""

import keras
import numpy as np
from keras import layers

import gdtrain
from tests.zoo.training import Task

CLASSES = "sparse_categorical_crossentropy"


def survey(random, count):
    """Ten answers of a person, and which of 5 groups that is."""
    x = random.normal(size=(count, 10))
    scores = x @ random.normal(size=(10, 5)) + random.normal(0, 1, (count, 5))
    return x.astype("float32"), np.argmax(scores, axis=1)


def friedman(random, count):
    """Friedman's first function of 10 features, of which 5 matter; scaled."""
    x = random.uniform(size=(count, 10))
    y = 10 * np.sin(np.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2
    y += 10 * x[:, 3] + 5 * x[:, 4] + random.normal(0, 1, count)
    x, y = (x - 0.5) * np.sqrt(12), (y[:, None] - 14.4) / 5
    return x.astype("float32"), y.astype("float32")


def moons(random, count):
    """Two half circles that reach into each other."""
    y = random.integers(0, 2, count)
    angle = random.uniform(0, np.pi, count)
    x = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    x = np.where(y[:, None], [1, 0.5] - x, x) - [0.5, 0.25]
    x = 1.5 * x + random.normal(0, 0.2, x.shape)
    return x.astype("float32"), y.astype("float32")[:, None]


def shapes(random, count):
    """Pictures of a square, a disc or a cross somewhere, with noise."""
    y = random.integers(0, 3, count)
    x = random.normal(0, 0.25, (count, 12, 12, 1))
    rows, columns = np.mgrid[:12, :12]
    for i, (top, left) in enumerate(random.integers(3, 9, (count, 2))):
        down, right = abs(rows - top), abs(columns - left)
        near = np.maximum(down, right) <= 3
        outline = np.maximum(down, right) == 3
        disc = down**2 + right**2 <= 7
        cross = near & (np.minimum(down, right) == 0)
        x[i, ..., 0] += (outline, disc, cross)[y[i]]
    return x.astype("float32"), y


def forecast(random, count):
    """20 values of two waves together; the target is the next but one."""
    phases = random.uniform(0, 2 * np.pi, (2, count, 1))
    sizes = random.uniform(0.5, 1.5, (2, count, 1))
    time = np.arange(22)
    values = sizes[0] * np.sin(0.4 * time + phases[0])
    values += sizes[1] * np.sin(0.9 * time + phases[1])
    values += random.normal(0, 0.05, values.shape)
    values = values.astype("float32")
    return values[:, :20, None], values[:, 21:]


def shop(random, count):
    """Three columns of 12 categories each, of which a price follows."""
    x = random.integers(0, 12, (count, 3))
    effects = random.normal(size=(3, 12))
    y = effects[np.arange(3), x].sum(axis=1) + (x[:, 0] % 2) * (x[:, 1] % 2)
    y = y[:, None] + random.normal(0, 0.1, (count, 1))
    return (x + 12 * np.arange(3)).astype("int32"), y.astype("float32")


def grammar(random, count):
    """12 symbols out of 10, each with two that may follow; which follow?"""
    likely, other = random.permutation(10), random.permutation(10)
    text = [random.integers(0, 10, count)]
    for _ in range(12):
        usual = random.uniform(size=count) < 0.85
        text.append(np.where(usual, likely[text[-1]], other[text[-1]]))
    text = np.stack(text, axis=1).astype("int32")
    return text[:, :-1], text[:, 1:]


def textures(random, count):
    """Pictures of three gratings, each of random strength: `y` is `x`."""
    rows, columns = np.mgrid[:8, :8]
    waves = random.normal(0, 0.8, (3, 2, 1, 1))
    gratings = np.sin(waves[:, 0] * rows + waves[:, 1] * columns + 1)
    x = np.einsum("nk,kij->nij", random.normal(size=(count, 3)), gratings)
    x = (x + random.normal(0, 0.1, x.shape))[..., None].astype("float32")
    return x, x


def counts(random, count):
    """A Poisson count whose mean depends on 5 features."""
    x = random.normal(size=(count, 5))
    weights = random.normal(size=5)
    weights /= np.linalg.norm(weights)
    y = random.poisson(np.exp(1.2 + 0.8 * np.tanh(x @ weights) + 0.3 * x[:, 0]))
    return x.astype("float32"), y[:, None].astype("float32")


def sensors(random, count):
    """Three signals of 12 values: a level, and whether there was an alarm."""
    x = random.normal(size=(count, 12, 3))
    level = 2 * x[..., 0].mean(axis=1, keepdims=True)
    alarm = random.integers(0, 2, count)
    x[np.arange(count), random.integers(0, 12, count), 1] += 4 * alarm
    y = {"level": level, "alarm": alarm[:, None]}
    return x.astype("float32"), {n: v.astype("float32") for n, v in y.items()}


def logistic():
    x = keras.Input([10])
    return gdtrain.Model(x, layers.Dense(5, activation="softmax")(x))


def gelu_net():
    out = x = keras.Input([10])
    for _ in range(2):
        out = layers.Dense(32, activation="gelu")(out)
        out = layers.LayerNormalization()(out)
    return gdtrain.Model(x, layers.Dense(1)(out))


def selu_net():
    out = x = keras.Input([2])
    for _ in range(5):
        out = layers.Dense(12, "selu", kernel_initializer="lecun_normal")(out)
    return gdtrain.Model(x, layers.Dense(1)(out))


def residual_cnn():
    x = keras.Input([12, 12, 1])
    out = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(8, 3)(x)))
    for _ in range(2):
        part = layers.SeparableConv2D(8, 3, padding="same")(out)
        part = layers.ReLU()(layers.BatchNormalization()(part))
        out = layers.Add()([out, part])
    out = layers.Flatten()(layers.AveragePooling2D(2)(out))
    return gdtrain.Model(x, layers.Dense(3, activation="softmax")(out))


def lstm():
    x = keras.Input([20, 1])
    return gdtrain.Model(x, layers.Dense(1)(layers.LSTM(16)(x)))


def embedded_columns():
    x = keras.Input([3], dtype="int32")
    out = layers.Flatten()(layers.Embedding(36, 4)(x))
    out = layers.Dense(16, activation="silu")(out)
    return gdtrain.Model(x, layers.Dense(1)(out))


def transformer():
    x = keras.Input([12], dtype="int32")
    out = layers.Embedding(10, 16)(x)
    seen = layers.MultiHeadAttention(2, 8)(out, out, use_causal_mask=True)
    out = layers.LayerNormalization()(layers.Add()([out, seen]))
    part = layers.Dense(16)(layers.Dense(32, activation="gelu")(out))
    out = layers.LayerNormalization()(layers.Add()([out, part]))
    return gdtrain.Model(x, layers.Dense(10)(out))


def conv_autoencoder():
    x = keras.Input([8, 8, 1])
    out = layers.Conv2D(8, 3, 2, "same", activation="relu")(x)
    out = layers.Conv2D(4, 3, 2, "same")(out)
    out = layers.Conv2DTranspose(8, 3, 2, "same", activation="relu")(out)
    return gdtrain.Model(x, layers.Conv2DTranspose(1, 3, 2, "same")(out))


def exponential_net():
    x = keras.Input([5])
    out = layers.Dense(12, activation="tanh")(x)
    out = layers.Dense(12, activation="tanh")(out)
    return gdtrain.Model(x, layers.Dense(1, activation="exponential")(out))


def heads_from_sequence():
    x = keras.Input([12, 3])
    out = layers.Conv1D(12, 3, activation="leaky_relu")(x)
    highest = layers.GlobalMaxPooling1D()(out)
    out = layers.Concatenate()([highest, layers.GlobalAveragePooling1D()(out)])
    level = layers.Dense(1, name="level")(out)
    alarm = layers.Dense(1, activation="sigmoid", name="alarm")(out)
    return gdtrain.Model(x, {"level": level, "alarm": alarm})


TASKS = [
    Task(survey, logistic, CLASSES, 300),
    Task(friedman, gelu_net, "mse", 300),
    Task(moons, selu_net, keras.losses.BinaryCrossentropy(from_logits=True)),
    Task(shapes, residual_cnn, CLASSES),
    Task(forecast, lstm, "huber"),
    Task(shop, embedded_columns, "mae", 400),
    Task(
        grammar, transformer,
        keras.losses.SparseCategoricalCrossentropy(from_logits=True), 160,
    ),
    Task(textures, conv_autoencoder, "mse", 200),
    Task(counts, exponential_net, "poisson"),
    Task(
        sensors, heads_from_sequence,
        {"level": "mse", "alarm": "binary_crossentropy"}, 240,
    ),
]  # fmt: skip
#: Of each task: optimizer, batch size, schedule, steps, whether validated
SETTINGS = {
    "survey logistic": [
        ("descent", None, "constant", 250),
        ("nesterov", 20, "constant", 300, True),
        ("adam", 1, "exponential", 600),
    ],
    "friedman gelu_net": [
        ("adam", 30, "constant", 400),
        ("momentum", None, "constant", 300),
        ("adagrad", 10, "constant", 450, True),
    ],
    "moons selu_net": [
        ("descent", 16, "constant", 480),
        ("lion", 32, "constant", 320),
        ("nesterov", None, "cosine", 300, True),
    ],
    "shapes residual_cnn": [
        ("momentum", 32, "constant", 240),
        ("adam", 16, "warm-up", 320, True),
        ("adagrad", 64, "constant", 200),
    ],
    "forecast lstm": [
        ("adam", 32, "constant", 320),
        ("nesterov", 16, "constant", 320),
        ("lion", None, "cosine", 240),
    ],
    "shop embedded_columns": [
        ("adagrad", 25, "constant", 400, True),
        ("lion", 50, "exponential", 320),
        ("momentum", 4, "constant", 500),
    ],
    "grammar transformer": [
        ("lion", 16, "constant", 300),
        ("adam", None, "constant", 250, True),
        ("momentum", 8, "warm-up", 400),
    ],
    "textures conv_autoencoder": [
        ("nesterov", 25, "constant", 400),
        ("adam", 1, "constant", 600),
        ("descent", None, "constant", 300),
    ],
    "counts exponential_net": [
        ("adagrad", None, "constant", 300),
        ("descent", 8, "constant", 480, True),
        ("lion", 64, "warm-up", 300),
    ],
    "sensors heads_from_sequence": [
        ("adam", 12, "cosine", 400, True),
        ("momentum", 60, "constant", 320),
        ("descent", 30, "constant", 400),
    ],
}
