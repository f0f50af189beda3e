"""A training whose numbers can be compared: by one process, or by a worker.

    TF_CONFIG=... python -m tests.agreement.distributed_fit PATH FEED...

writes what `results` gives for some of the FEEDS, and that of
`reproducible_fit`, as JSON. It is what each of two workers runs. With `keras`
in place of feeds, it lets stock Keras train.
"""

import json
import os
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


def sharded():
    """Three shards for two readers."""
    some = [
        gdtrain.data.ArrayShard((X[part], Y[part]))
        for part in (slice(0, 7), slice(7, 40), slice(40, None))
    ]
    return gdtrain.data.ShardedDataset(
        some, batch_size=16, readers=2, window=8, stretch=2
    )


def own_part():
    """Half of each batch of 22; the last one is on the first worker alone."""
    task = json.loads(os.environ.get("TF_CONFIG", "{}")).get("task")
    rows, size = np.arange(len(X)), 22
    if task:
        size = 11
        rows = rows[rows // size % 2 == task["index"]]
    examples = tf.data.Dataset.from_tensor_slices((X[rows], Y[rows]))
    return gdtrain.data.WorkerData(examples.batch(size))


FEEDS = {
    "arrays": lambda: ARRAYS,
    "arrays too large": lambda: ARRAYS,
    "dataset": lambda: {"x": dataset()},
    "shards": lambda: {"x": sharded()},
    "own parts": lambda: {"x": own_part()},
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
            shuffle=feed not in ("dataset", "own parts"),
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
    strategy = gdtrain.distributed.strategy()
    path, *feeds = sys.argv[1:]
    if feeds == ["keras"]:
        train_by_keras(strategy)
        return
    found = {feed: results(strategy, feed) for feed in feeds}
    found["bits"] = reproducible_fit.results(strategy, "perceptron, momentum")
    pathlib.Path(path).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
