"""A run that any number of workers and replicas can continue.

    TF_CONFIG=... python -m tests.callbacks.elastic_run FOLDER FEED [STOP_AT]

is one worker: it saves in `FOLDER/backup`, stops after step STOP_AT, and else
writes what it leaves as JSON to `FOLDER/left-INDEX.json`. If a fit is refused,
it writes why to `FOLDER/refused-INDEX` and tries again until it is not.
"""

import json
import pathlib
import sys
import time

import keras
import numpy as np
import tensorflow as tf

import gdtrain
from gdtrain.distributed.workers import Workers
from tests.callbacks import runs
from tests.callbacks.runs import KillAt, Killed

ONE = tf.distribute.get_strategy()


def shards():
    """Examples of `runs` in shards of different lengths."""
    bounds = [0, 5, 6, len(runs.X)]
    parts = [
        gdtrain.data.ArrayShard((runs.X[a:b], runs.Y[a:b]))
        for a, b in zip(bounds, bounds[1:], strict=False)
    ]
    return {"x": gdtrain.data.ShardedDataset(parts, batch_size=8, readers=4)}


FEEDS = runs.FEEDS | {"shards": shards}


def network(strategy):
    """A model whose replicas draw no random numbers of their own."""
    with strategy.scope():
        model = gdtrain.Sequential(
            [keras.Input([3]), keras.layers.Dense(1, activation="tanh")]
        )
        model.compile("adam", "mse", metrics=["mae"])
    return model


def run(folder, strategy, stop_at=None, feed="arrays", **backup):
    """Trains for three epochs of four steps; `None` if it was stopped.

    Args:
        folder: Where it saves.
        strategy: A `tf.distribute.Strategy`.
        stop_at: After which step it is stopped; `None` to run to the end.
        feed: A key of `FEEDS`, or a function.
        **backup: Of `BackupAndRestore`.

    Returns:
        Weights, optimizer's variables and history, as lists by name.
    """
    keras.backend.clear_session(free_memory=False)
    keras.utils.set_random_seed(3)
    model = network(strategy)
    telemetry = gdtrain.callbacks.Telemetry(["loss"])
    defaults = {"every_steps": 1, "every_seconds": None}
    try:
        history = model.fit(
            **(feed if callable(feed) else FEEDS[feed])(),
            epochs=3,
            verbose=0,
            callbacks=[
                gdtrain.callbacks.BackupAndRestore(
                    f"{folder}/backup", **defaults | backup
                ),
                telemetry,
                KillAt(stop_at),
            ],
        )
    except Killed:
        return None
    variables = [*model.variables, *model.optimizer.variables]
    return {
        "variables": [np.asarray(v).ravel().tolist() for v in variables],
        "steps": telemetry.steps.tolist(),
        "losses": telemetry["loss"].tolist() if telemetry.names else [],
    } | history.history


def assert_same(left, expected, names=None):
    """Checks that two runs left the same, up to rounding."""
    for name in names or expected:
        for one, other in zip(left[name], expected[name], strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def main():
    folder, feed, *stop_at = sys.argv[1:]
    # At its end, it waits for the others, which may still need it.
    strategy = gdtrain.distributed.strategy(threads=1)
    index = Workers(strategy).index
    while True:
        try:
            left = run(folder, strategy, *map(int, stop_at), feed=feed)
            break
        except RuntimeError as error:
            refused = pathlib.Path(folder, f"refused-{index}")
            if not refused.exists():
                refused.write_text(str(error))
            time.sleep(0.1)
    path = pathlib.Path(folder, f"left-{index}.json")
    path.write_text(json.dumps(left))


if __name__ == "__main__":
    main()
