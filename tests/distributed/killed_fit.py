"""One of several workers of a training that is killed again and again.

    TF_CONFIG=... python -m tests.distributed.killed_fit FOLDER [grain]

prints a line at each position, saves in `FOLDER/backup`, and at its end writes
the SHA-256 of weights, optimizer and History to `FOLDER/hash-INDEX`. With
`grain`, each worker reads its own part of the examples by Grain.
"""

import hashlib
import json
import pathlib
import sys
import time

import grain
import keras
import numpy as np

import gdtrain
from gdtrain.distributed.workers import Workers

EPOCHS, STEPS = 30, 8
X = np.random.default_rng(0).normal(size=[16 * STEPS, 4]).astype("float32")
ARRAYS = {"x": X, "y": X[:, :1], "batch_size": 16}


def own_part(workers):
    """A worker's examples, in another order in each epoch."""
    examples = grain.MapDataset.source(np.arange(len(X))).shuffle(seed=1)
    examples = examples.repeat(EPOCHS)[workers.index :: workers.count]
    batches = examples.map(lambda i: (X[i], X[i, :1])).batch(
        16 // workers.count
    )
    return {"x": gdtrain.data.WorkerData(batches), "steps_per_epoch": STEPS}


class Position(gdtrain.callbacks.Callback):
    """Prints where it is, and leaves time to be killed there."""

    sync = "batch"

    def on_position(self, fit_state):
        print("position", fit_state.steps_done, flush=True)
        time.sleep(0.01)


def main():
    folder = pathlib.Path(sys.argv[1])
    strategy = gdtrain.distributed.strategy(threads=1, heartbeat=4)
    keras.utils.set_random_seed(3)
    with strategy.scope():
        model = gdtrain.Sequential(
            [
                keras.Input([4]),
                keras.layers.Dense(8, activation="tanh"),
                keras.layers.Dropout(0.2),
                keras.layers.Dense(1),
            ]
        )
        model.compile("adam", "mse", metrics=["mae"])
    workers = Workers(strategy)
    data = own_part(workers) if sys.argv[2:] == ["grain"] else ARRAYS
    history = model.fit(
        **data,
        epochs=EPOCHS,
        verbose=0,
        callbacks=[
            gdtrain.callbacks.BackupAndRestore(
                folder / "backup", every_steps=2, every_seconds=None
            ),
            Position(),
        ],
    )
    found = hashlib.sha256(json.dumps(history.history).encode())
    for variable in [*model.variables, *model.optimizer.variables]:
        found.update(np.asarray(variable).tobytes())
    (folder / f"hash-{workers.index}").write_text(found.hexdigest())


if __name__ == "__main__":
    main()
