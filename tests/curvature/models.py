"""Small models of many kinds, with data, for probes to look at."""

import keras
import numpy as np
import tensorflow as tf

import gdtrain
from gdtrain.state import variables

layers = keras.layers


def numbers(*shape, seed=0):
    """Normal random numbers, float32."""
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def labels(count, classes, seed=0):
    return np.random.default_rng(seed).integers(0, classes, count)


def line(optimizer=None):
    """A line and points about it: `(model, x, y)`."""
    model = gdtrain.Sequential([keras.Input([1]), layers.Dense(1)])
    model.compile(optimizer or gdtrain.GradientDescent(0.1), "mse")
    x = np.linspace(0, 2, 100, dtype="float32")[:, None]
    return model, x, 0.1 * x + 0.5


def sharpness_of_line(x):
    """The eigenvalues of 2 X'X / n, the largest first, in float64."""
    design = np.column_stack([x.ravel(), np.ones(len(x))]).astype("float64")
    return np.linalg.eigvalsh(2 * design.T @ design / len(x))[::-1]


def smooth(optimizer="sgd"):
    """A 3-4-1 network with regularisation: `(model, x, y)`."""
    model = gdtrain.Sequential(
        [
            keras.Input([3]),
            layers.Dense(4, "tanh", kernel_regularizer="l2"),
            layers.Dense(1),
        ]
    )
    model.compile(optimizer, "mse")
    return model, numbers(20, 3), numbers(20, 1, seed=1)


class Double(gdtrain.Sequential):
    """Keras's own losses are float32, whatever the model is."""

    def compute_loss(self, x, y, y_pred, sample_weight=None, training=True):
        return tf.reduce_mean((y_pred - tf.cast(y, "float64")) ** 2)


def double(optimizer="sgd"):
    """A 3-4-1 network in float64: `(model, x, y)`."""
    model = Double(
        [
            keras.Input([3], dtype="float64"),
            layers.Dense(4, "tanh", dtype="float64"),
            layers.Dense(1, dtype="float64"),
        ]
    )
    model.compile(optimizer)
    return model, numbers(20, 3), numbers(20, 1, seed=1)


def convolutional():
    """Convolution, batch normalization, dropout, regularisation."""
    model = gdtrain.Sequential(
        [
            keras.Input([6, 6, 1]),
            layers.Conv2D(3, 3, padding="same"),
            layers.BatchNormalization(),
            layers.Activation("tanh"),
            layers.MaxPooling2D(),
            layers.Dropout(0.5),
            layers.Flatten(),
            layers.Dense(3, kernel_regularizer="l2"),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"])
    return model, numbers(11, 6, 6, 1), labels(11, 3)


def several():
    """Two inputs, two outputs by name, two losses with weights."""
    first, second = keras.Input([3]), keras.Input([2])
    hidden = layers.Dense(4, "tanh")(layers.Concatenate()([first, second]))
    outputs = {name: layers.Dense(1, name=name)(hidden) for name in "ab"}
    model = gdtrain.Model([first, second], outputs)
    model.compile(
        "sgd",
        {"a": "mse", "b": "huber"},
        loss_weights={"a": 1.0, "b": 0.3},
        metrics={"a": ["mae"]},
    )
    x = [numbers(11, 3), numbers(11, 2, seed=1)]
    return model, x, {"a": numbers(11, 1), "b": numbers(11, 1, seed=2)}


def recurrent():
    """An embedding that masks, and a recurrent layer, which is a loop."""
    model = keras.Sequential(
        [
            keras.Input([5], dtype="int32"),
            layers.Embedding(10, 3, mask_zero=True),
            layers.SimpleRNN(3),
            layers.Dense(1),
        ]
    )
    model.compile("sgd", "mse")
    return model, labels(55, 10).reshape(11, 5), numbers(11, 1)


def attention():
    """Attention and layer normalization."""
    inputs = keras.Input([5, 4])
    hidden = layers.MultiHeadAttention(2, 2)(inputs, inputs)
    hidden = layers.LayerNormalization()(hidden)
    hidden = layers.GlobalAveragePooling1D()(hidden)
    model = gdtrain.Model(inputs, layers.Dense(1)(hidden))
    model.compile("adam", "mse")
    return model, numbers(11, 5, 4), numbers(11, 1)


KINDS = [smooth, double, convolutional, several, recurrent, attention]


def everything(model):
    """The values of all variables, and the states of all generators."""
    known = [*model.variables, *model.optimizer.variables]
    known += model.metrics_variables
    return repr(
        (
            [v.numpy().tobytes() for v in known],
            {k: repr(s) for k, s in variables.get_random_state().items()},
            model.stop_training,
            model.train_function,
        )
    )
