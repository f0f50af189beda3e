"""Trainings by reproducible workers, whose bits can be compared.

    TF_CONFIG=... python -m tests.agreement.reproducible_fit PATH

is one worker: it writes what `results` gives of each kind of model, as JSON.
"""

import hashlib
import json
import pathlib
import sys

import keras
import numpy as np
import tensorflow as tf

import gdtrain
from tests import models

layers = keras.layers

# 45 examples in batches of 16: the last has 13, which neither 2 nor 4 divide.
EXAMPLES, BATCH = 45, 16


def perceptron():
    return [layers.Dense(16, "relu"), layers.Dense(1)]


def convolution():
    return [
        layers.Reshape([4, 4, 1]),
        layers.Conv2D(4, 3, activation="relu"),
        layers.BatchNormalization(),
        layers.Flatten(),
        layers.Dropout(0.3, seed=2),
        layers.Dense(1),
    ]


def recurrent():
    return [
        layers.Lambda(lambda x: tf.cast(tf.abs(x) * 10, tf.int32)),
        layers.Embedding(100, 4),
        layers.LSTM(4),
        layers.Dense(1),
    ]


def attention():
    inputs = keras.Input([8, 2])
    attended = layers.MultiHeadAttention(2, 4)(inputs, inputs)
    block = keras.Model(
        inputs, layers.LayerNormalization()(layers.add([inputs, attended]))
    )
    return [
        layers.Reshape([8, 2]),
        block,
        layers.GlobalAveragePooling1D(),
        layers.Dense(1),
    ]


KINDS = {
    "perceptron, momentum": (
        perceptron,
        lambda: gdtrain.GradientDescent(0.01, momentum=0.9),
        {"global_clipnorm": 1.0},
    ),
    "perceptron, clipnorm": (
        perceptron,
        lambda: keras.optimizers.SGD(0.01, clipnorm=0.1),
        {},
    ),
    "perceptron, muon": (
        perceptron,
        lambda: keras.optimizers.Muon(0.01, rms_rate=0.2),
        {},
    ),
    "perceptron, eager": (
        perceptron,
        lambda: keras.optimizers.Adam(0.01),
        {"run_eagerly": True},
    ),
    "convolution, adam": (
        convolution,
        lambda: keras.optimizers.Adam(0.01),
        {"metrics": ["mae"]},
    ),
    "recurrent, adam": (recurrent, lambda: keras.optimizers.Adam(0.01), {}),
    "attention, adamw with ema": (
        attention,
        lambda: keras.optimizers.AdamW(0.01, use_ema=True),
        {},
    ),
    "half precision, loss scale": (
        lambda: [
            layers.Dense(16, "relu", dtype="mixed_float16"),
            layers.Dense(1, dtype="mixed_float16"),
        ],
        lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.1)),
        {},
    ),
    "attention, loss scale": (
        attention,
        lambda: keras.optimizers.LossScaleOptimizer(
            keras.optimizers.Adam(0.01, global_clipnorm=0.5)
        ),
        {},
    ),
}


def digest(variables):
    """SHA-256 of the values of variables."""
    content = b"".join(np.asarray(v).tobytes() for v in variables)
    return hashlib.sha256(content).hexdigest()


class OwnStep(gdtrain.Sequential):
    """A `train_step` by hand, which moves and returns what it likes."""

    def __init__(self, *args):
        super().__init__(*args)
        self.mean = keras.metrics.Mean()
        self.error = keras.metrics.MeanAbsoluteError(name="error")

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = tf.reduce_mean((y - y_pred) ** 2)
        self.descend(tape, loss, self.layers[-1].trainable_weights)
        self.mean.update_state(loss)
        self.error.update_state(y, y_pred)
        return {
            "mean": self.mean.result(),
            "squares": loss,
            "error": self.error.result(),
            "largest": tf.reduce_mean(tf.reduce_max(y_pred, -1)),
        }


def results(
    strategy,
    kind,
    callbacks=(),
    dataset=False,
    base=gdtrain.Sequential,
    examples=EXAMPLES,
):
    """What a training leaves, to the bit."""
    keras.backend.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)
    make, optimizer, arguments = KINDS[kind]
    x, y = models.regression_data(examples, 16)
    with strategy.scope():
        model = base([keras.Input([16]), *make()])
        model.compile(optimizer(), "mse", reproducible_workers=4, **arguments)
    data = {"x": x, "y": y, "batch_size": BATCH}
    if dataset:
        data = {"x": tf.data.Dataset.from_tensor_slices((x, y)).batch(BATCH)}
    history = model.fit(
        **data,
        epochs=2,
        validation_data=(x[:21], y[:21]),
        callbacks=list(callbacks),
        verbose=0,
    )
    return {
        "weights": digest(model.get_weights()),
        "optimizer": digest([v.numpy() for v in model.optimizer.variables]),
        "history": history.history,
    }


def main():
    # Operations add in an order that depends on the number of threads.
    strategy = gdtrain.distributed.strategy(threads=1)
    found = {kind: results(strategy, kind) for kind in KINDS}
    pathlib.Path(sys.argv[1]).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
