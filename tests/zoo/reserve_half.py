"""The part that is held back: scored once, when both others are known."""

from typing import Any

import keras
import numpy as np
from keras import layers

import gdtrain
from tests.zoo.training import Task

CLASSES = "sparse_categorical_crossentropy"


def clicks(random, count):
    """Four columns of 8 categories; whether their pairs go well together."""
    x = random.integers(0, 8, (count, 4))
    likes = random.normal(size=(4, 8, 2))[np.arange(4), x]
    pairs = likes.sum(1) ** 2 - (likes**2).sum(1)
    y = pairs.sum(1, keepdims=True) + random.normal(0, 0.3, (count, 1)) > 0
    return (x + 8 * np.arange(4)).astype("int32"), y.astype("float32")


def rents(random, count):
    """A price of 7 features and two products of them; errors are skewed."""
    x = random.normal(size=(count, 7))
    y = x @ random.normal(size=7) / 3 + 0.7 * x[:, 0] * x[:, 1]
    y += 0.4 * x[:, 2] * x[:, 3] + random.exponential(0.3, count)
    return x.astype("float32"), y[:, None].astype("float32")


def regimes(random, count):
    """A linear target of 4 features, another one in each of 3 regions."""
    x = random.normal(size=(count, 4))
    region = (x[:, 0] > 0.5).astype(int) + (x[:, 0] > -0.5)
    y = (x * random.normal(size=(3, 4))[region]).sum(1, keepdims=True)
    return x.astype("float32"), (
        y + random.normal(0, 0.1, y.shape)
    ).astype("float32")  # fmt: skip


def symptoms(random, count):
    """12 findings; which of 6 diseases, of which one may have several."""
    x = random.normal(size=(count, 12))
    scores = x @ random.normal(size=(12, 6)) / 2 + x[:, :6] * x[:, 6:]
    y = scores + random.normal(0, 0.3, scores.shape) > 0
    return x.astype("float32"), y.astype("float32")


def chirps(random, count):
    """Signals of 32 values whose pitch rises, falls or stays."""
    y = random.integers(0, 3, count)
    time = np.arange(32) / 32
    low, high = np.array([[3, 9], [9, 3], [6, 6]])[y].T[..., None]
    turns = low * time + (high - low) * time**2 / 2 + random.random((count, 1))
    x = np.sin(2 * np.pi * turns) + random.normal(0, 0.25, turns.shape)
    return x[..., None].astype("float32"), y


def reviews(random, count):
    """10 words of 30; word 0 turns the next one into its opposite."""
    opinion = np.r_[0.0, random.choice([-1.0, 0.0, 1.0], 29)]
    x = random.integers(0, 30, (count, 10))
    x = np.where(random.random(x.shape) < 0.12, 0, x)
    turned = np.where(x[:, :-1] == 0, -1, 1)
    sums = opinion[x[:, 0]] + (opinion[x[:, 1:]] * turned).sum(1)
    y = sums + random.normal(0, 0.3, count) > 0
    return x.astype("int32"), y.astype("float32")[:, None]


def weaves(random, count):
    """Pictures of two channels in one of 4 patterns, at any place."""
    y = random.integers(0, 4, count)
    rows, columns = np.mgrid[:10, :10]
    x = random.normal(0, 0.5, (count, 10, 10, 2))
    for i, (at, channel) in enumerate(random.integers(0, 2, (count, 2))):
        pattern = (
            rows + at, columns + at, rows + columns + at,
            rows // 2 + columns // 2 + at,
        )[y[i]]  # fmt: skip
        x[i, ..., channel] += 2 * (pattern % 2) - 1
    return x.astype("float32"), y


def scenes(random, count):
    """Noisy pictures of two soft spots; the target has no noise."""
    rows, columns = np.mgrid[:8, :8]
    y = np.zeros((count, 8, 8))
    for _ in range(2):
        top, left = random.uniform(1, 6, (2, count, 1, 1))
        far = (rows - top) ** 2 + (columns - left) ** 2
        y += random.uniform(1, 2, (count, 1, 1)) * np.exp(-far / 3)
    x = y + random.normal(0, 0.5, y.shape)
    return x[..., None].astype("float32"), y[..., None].astype("float32")


def clouds(random, count):
    """Sets of 12 points of a plane; the target is how far they spread."""
    spread = random.uniform(-1.0, 1.0, (count, 1, 1))
    x = random.normal(size=(count, 12, 2)) * np.exp(0.7 * spread)
    y = 1.7 * spread[:, 0] + random.normal(0, 0.1, (count, 1))
    return x.astype("float32"), y.astype("float32")


def signatures(random, count):
    """Two times 8 numbers; 1 if the same one of 5 people wrote both."""
    people = random.normal(size=(5, 8))
    first = random.integers(0, 5, count)
    second = random.integers(0, 5, count)
    second = np.where(random.random(count) < 0.4, first, second)
    one, other = (
        (people[who] + random.normal(0, 0.5, (count, 8))).astype("float32")
        for who in (first, second)
    )
    y = (first == second).astype("float32")[:, None]
    return {"one": one, "other": other}, y


def factorization():
    x = keras.Input([4], dtype="int32")
    start = keras.initializers.RandomNormal(stddev=0.5)
    out = layers.Embedding(32, 6, embeddings_initializer=start)(x)
    out = layers.Dense(6, use_bias=False)(out)
    total = layers.GlobalAveragePooling1D()(out)
    own = layers.GlobalAveragePooling1D()(layers.Multiply()([out, out]))
    pairs = layers.Subtract()([layers.Multiply()([total, total]), own])
    out = layers.Concatenate()([total, pairs])
    return gdtrain.Model(x, layers.Dense(1, activation="sigmoid")(out))


def cross_net():
    x = crossed = keras.Input([7])
    for _ in range(2):
        part = layers.Multiply()([x, layers.Dense(7)(crossed)])
        crossed = layers.Add()([crossed, part])
    deep = layers.Dense(12, activation="relu")(x)
    out = layers.Concatenate()([crossed, deep])
    return gdtrain.Model(x, layers.Dense(1)(out))


def mixture_of_experts():
    x = keras.Input([4])
    share = layers.Reshape([3, 1])(layers.Dense(3, activation="softmax")(x))
    experts = layers.Reshape([3, 8])(layers.Dense(24, activation="tanh")(x))
    out = layers.Multiply()([share, experts])
    out = layers.GlobalAveragePooling1D()(out)
    return gdtrain.Model(x, layers.Dense(1)(out))


def many_labels():
    x = keras.Input([12])
    out = layers.Dense(24, activation="mish")(x)
    return gdtrain.Model(x, layers.Dense(6, activation="sigmoid")(out))


def dilated_cnn():
    x = keras.Input([32, 1])
    out = layers.Conv1D(8, 3, padding="same")(x)
    for rate in (1, 2, 4):
        options = {"padding": "causal", "dilation_rate": rate}
        part = layers.Conv1D(8, 3, activation="tanh", **options)(out)
        gate = layers.Conv1D(8, 3, activation="sigmoid", **options)(out)
        out = layers.Add()([out, layers.Multiply()([part, gate])])
    out = layers.GlobalMaxPooling1D()(layers.Conv1D(12, 5)(out))
    return gdtrain.Model(x, layers.Dense(3, activation="softmax")(out))


def bidirectional_gru():
    x = keras.Input([10], dtype="int32")
    out = layers.Bidirectional(layers.GRU(8))(layers.Embedding(30, 8)(x))
    return gdtrain.Model(x, layers.Dense(1)(out))


def depthwise_net():
    x = keras.Input([10, 10, 2])
    out = layers.DepthwiseConv2D(3, depth_multiplier=4)(x)
    out = layers.GroupNormalization(4)(layers.Conv2D(12, 1)(out))
    out = layers.Activation("hard_swish")(out)
    gate = layers.Dense(4, "relu")(layers.GlobalAveragePooling2D()(out))
    gate = layers.Reshape([1, 1, 12])(layers.Dense(12, "sigmoid")(gate))
    out = layers.Multiply()([out, gate])
    out = layers.GlobalAveragePooling2D()(layers.Conv2D(12, 3, 2, "same")(out))
    return gdtrain.Model(x, layers.Dense(4, activation="softmax")(out))


def u_net():
    x = keras.Input([8, 8, 1])
    fine = layers.Conv2D(6, 3, padding="same", activation="relu")(x)
    out = layers.MaxPooling2D()(fine)
    out = layers.Conv2D(12, 3, padding="same", activation="relu")(out)
    out = layers.Concatenate()([layers.UpSampling2D()(out), fine])
    out = layers.Conv2D(6, 3, padding="same", activation="relu")(out)
    return gdtrain.Model(x, layers.Conv2D(1, 1)(out))


def deep_sets():
    x = keras.Input([12, 2])
    out = layers.Dense(16, activation="softplus")(x)
    out = layers.GlobalAveragePooling1D()(layers.Dense(16, "relu")(out))
    out = layers.Dense(12, activation="relu")(out)
    return gdtrain.Model(x, layers.Dense(1)(out))


def siamese():
    pair = {name: keras.Input([8], name=name) for name in ("one", "other")}
    hidden, code = layers.Dense(16, activation="tanh"), layers.Dense(4)
    one, other = (code(hidden(x)) for x in pair.values())
    apart = layers.Subtract()([one, other])
    squares = layers.Multiply()([apart, apart])
    return gdtrain.Model(pair, layers.Dense(1, use_bias=False)(squares))


def quantile(y: Any, outputs: Any) -> Any:
    """Least where 7 in 10 targets are below the output."""
    error = y - outputs
    return keras.ops.mean(keras.ops.maximum(0.7 * error, -0.3 * error), -1)


def contrastive(y: Any, distance: Any) -> Any:
    """Pairs that are the same at 0, others 2 or more apart."""
    beyond = keras.ops.maximum(2.0 - distance, 0.0)
    squares = y * keras.ops.square(distance) + (1 - y) * beyond**2
    return keras.ops.mean(squares, -1)


_logits = keras.losses.BinaryCrossentropy(from_logits=True)
TASKS = [
    Task(clicks, factorization, "binary_crossentropy", 400),
    Task(rents, cross_net, quantile, 300),
    Task(regimes, mixture_of_experts, "mse"),
    Task(symptoms, many_labels, "binary_crossentropy", 300),
    Task(chirps, dilated_cnn, CLASSES),
    Task(reviews, bidirectional_gru, _logits, 320),
    Task(weaves, depthwise_net, CLASSES),
    Task(scenes, u_net, "mse", 160),
    Task(clouds, deep_sets, "mse"),
    Task(signatures, siamese, contrastive, 300),
]
#: Of each task: optimizer, batch size, schedule, steps, whether validated
SETTINGS = {
    "clicks factorization": [
        ("adagrad", 40, "constant", 400),
        ("adamax", 8, "cosine", 500, True),
    ],
    "rents cross_net": [
        ("descent", None, "constant", 300),
        ("rmsprop", 1, "exponential", 600),
    ],
    "regimes mixture_of_experts": [
        ("momentum", 32, "constant", 400),
        ("adam", None, "constant", 300, True),
    ],
    "symptoms many_labels": [
        ("adamax", 25, "constant", 300, True),
        ("descent", 10, "constant", 420),
    ],
    "chirps dilated_cnn": [
        ("adam", 32, "constant", 240),
        ("nesterov", 64, "warm-up", 240, True),
    ],
    "reviews bidirectional_gru": [
        ("lamb", 32, "constant", 300),
        ("nadam", 16, "constant", 320, True),
    ],
    "weaves depthwise_net": [
        ("nesterov", 16, "constant", 320),
        ("lamb", None, "cosine", 200),
    ],
    "scenes u_net": [
        ("adamw", 20, "constant", 304),
        ("momentum", None, "constant", 250),
    ],
    "clouds deep_sets": [
        ("descent", 32, "constant", 400),
        ("lion", 4, "exponential", 512),
    ],
    "signatures siamese": [
        ("nadam", 30, "constant", 300),
        ("momentum", 10, "warm-up", 420, True),
    ],
}
