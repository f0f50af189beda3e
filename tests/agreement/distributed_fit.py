"""A training whose numbers can be compared: by one process, or by a worker.

    TF_CONFIG=... python -m tests.agreement.distributed_fit PATH [keras]

writes what `results` gives, and that of `reproducible_fit`, as JSON. It is what
each of two workers runs. With `keras`, it lets stock Keras train.
"""

import json
import pathlib
import sys
from unittest import mock

import keras
import numpy as np
import tensorflow as tf

import gdtrain
from gdtrain.data import choice
from tests.agreement import reproducible_fit

X = np.random.default_rng(0).normal(size=[45, 3]).astype("float32")
Y = X @ np.array([[1.0], [-2.0], [0.5]], "float32") + 0.3


def dataset():
    """Batches of 16, the last of them ragged."""
    return tf.data.Dataset.from_tensor_slices((X, Y)).batch(16)


ARRAYS = {"x": X, "y": Y, "batch_size": 22}  # The last batch has 1 example.
FEEDS = {
    "arrays": lambda: ARRAYS,
    "arrays too large": lambda: ARRAYS,
    "dataset": lambda: {"x": dataset()},
}


def results(strategy, feed):
    """Trains under a strategy; weights, history and telemetry as lists.

    Args:
        strategy: A `tf.distribute.Strategy`.
        feed: A key of `FEEDS`.
    """
    keras.utils.set_random_seed(3)
    with strategy.scope():
        model = gdtrain.Sequential(
            [
                keras.Input([3]),
                keras.layers.Dense(8, activation="tanh"),
                keras.layers.Dense(1),
            ]
        )
        model.compile(
            gdtrain.GradientDescent(0.1, momentum=0.9),
            "mse",
            metrics=["mae"],
            global_clipnorm=1.0,
        )
    telemetry = gdtrain.callbacks.Telemetry()
    with mock.patch.object(
        choice,
        "memory_limit",
        lambda: 0 if feed == "arrays too large" else 10**9,
    ):
        history = model.fit(
            **FEEDS[feed](),
            epochs=3,
            verbose=0,
            shuffle=feed != "dataset",
            validation_data=(X[:21], Y[:21]),
            callbacks=[telemetry],
        )
    return {
        "weights": [w.ravel().tolist() for w in model.get_weights()],
        "history": history.history,
        "evaluate": model.evaluate(X, Y, batch_size=16, verbose=0),
        "predict": model.predict(X, batch_size=16, verbose=0).tolist(),
        "steps": telemetry.steps.tolist(),
        "telemetry": {n: telemetry[n].tolist() for n in telemetry.names},
    }


def train_by_keras(strategy):
    """Trains the smallest of models by stock Keras."""
    with strategy.scope():
        model = keras.Sequential([keras.Input([3]), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
    model.fit(X, Y, batch_size=16, verbose=0)


def main():
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    if sys.argv[2:] == ["keras"]:
        train_by_keras(strategy)
        return
    found = {feed: results(strategy, feed) for feed in FEEDS}
    found["bits"] = reproducible_fit.results(strategy, "perceptron, momentum")
    pathlib.Path(sys.argv[1]).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
