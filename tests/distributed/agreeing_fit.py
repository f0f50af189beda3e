"""What two workers do that decide alike, in processes of their own.

    TF_CONFIG=... python -m tests.distributed.agreeing_fit FOLDER

trains in one way after the other, writes what is found as JSON to a file with
the number of the worker, and ends by a SIGTERM that only the chief receives.
"""

import json
import logging
import os
import pathlib
import signal
import sys
import time

import keras
import numpy as np
import tensorflow as tf

import gdtrain
from gdtrain.distributed import reports
from gdtrain.loop import pacing
from tests.callbacks.reading import opened

X = np.random.default_rng(0).normal(size=[400, 3]).astype("float32")
Y = X.sum(1, keepdims=True)


def batches():
    return tf.data.Dataset.from_tensor_slices((X, Y)).batch(10)


FEEDS = {
    "arrays": lambda: {"x": X, "y": Y, "batch_size": 10},
    "tf.data": lambda: {"x": batches()},
    "tf.data of unknown length": lambda: {
        "x": batches().filter(lambda x, y: True)
    },
}


class Blocks(gdtrain.callbacks.Callback):
    """Notes the lengths of blocks, and what `act` does after each.

    Args:
        act: A function of the number of the last step.
    """

    def __init__(self, act=lambda step: None):
        super().__init__()
        self.act, self.lengths = act, []

    def on_block(self, table):
        self.lengths.append(len(table))
        self.act(table.last_step)


class Counted(keras.callbacks.Callback):
    """Has a hook of batches."""

    batches = 0

    def on_train_batch_end(self, batch, logs=None):
        self.batches += 1


class Worker:
    """One of the workers.

    Args:
        strategy: A `MultiWorkerMirroredStrategy`.
        folder: For what it writes.
    """

    def __init__(self, strategy, folder):
        self.strategy, self.folder = strategy, folder
        self.index = strategy.cluster_resolver.task_id

    def train(self, *callbacks, feed="arrays", epochs=2, **settings):
        keras.utils.set_random_seed(3)
        keras.backend.clear_session(free_memory=False)
        with self.strategy.scope():
            self.model = gdtrain.Sequential(
                [
                    keras.Input([3]),
                    keras.layers.Dense(8, activation="tanh"),
                    keras.layers.Dense(1),
                ]
            )
            self.model.compile(gdtrain.GradientDescent(0.1), "mse", **settings)
        self.model.fit(
            **FEEDS[feed](),
            epochs=epochs,
            verbose=0,
            callbacks=list(callbacks),
            validation_data=(X[:40], Y[:40]),
        )
        return [w.tolist() for w in self.model.get_weights()]

    def slow(self, step):
        """What is done after each block by the second worker alone."""
        time.sleep(0.05 * self.index)

    def signalled(self, name, number, index, at=15):
        """Receives a signal after a step, and resumes then."""

        def act(step):
            nonlocal at
            if index == self.index and step >= at:
                at = 10**9
                os.kill(os.getpid(), number)

        def backup():
            return gdtrain.callbacks.BackupAndRestore(
                self.folder / name, every_seconds=None
            )

        blocks = Blocks(act)
        try:
            self.train(blocks, backup())
            code = None
        except SystemExit as end:
            code = end.code
        except KeyboardInterrupt:
            code = 130
        done = int(self.model.optimizer.iterations.numpy())
        weights = self.train(backup())
        return {"code": code, "steps": done, "weights": weights}

    def saved_by_the_clock(self):
        """At which steps it saves; only the first worker's clock says so."""
        backup = gdtrain.callbacks.BackupAndRestore(
            self.folder / "clock",
            every_seconds=None if self.index else 0.1,
            keep=1000,
        )
        self.train(Blocks(self.slow), backup, epochs=1)
        folder = self.folder / "clock" / f"worker-{self.index}"
        return sorted(path.name for path in folder.glob("step-*"))

    def straggling(self):
        """What the log and TensorBoard show of a slow worker."""
        said = []
        handler = logging.Handler()
        handler.emit = lambda record: said.append(record.getMessage())
        logging.getLogger("gdtrain").addHandler(handler)
        board = gdtrain.callbacks.TensorBoard(self.folder / f"{self.index}")
        telemetry = gdtrain.callbacks.Telemetry(["workers"])
        self.train(Blocks(self.slow), board, telemetry)
        logging.getLogger("gdtrain").removeHandler(handler)
        return {
            "log": said,
            "tags": []
            if self.index
            else opened(board.log_dir).Tags()["scalars"],
            "telemetry": {
                name: float(np.median(telemetry.table.points(name)[1]))
                for name in telemetry.names
            },
        }

    def lengths(self):
        """Lengths of blocks, while one of the workers is slow."""
        found = {}
        for feed in FEEDS:
            blocks = Blocks(self.slow)
            self.train(blocks, feed=feed)
            found[feed] = blocks.lengths
            blocks = Blocks(self.slow)
            self.train(blocks, feed=feed, steps_per_execution=7)
            found[f"{feed}, fixed"] = blocks.lengths
            predicted = self.model.predict(
                **{"x": X, "batch_size": 10}
                if feed == "arrays"
                else FEEDS[feed](),
                verbose=0,
            )
            found[f"{feed}, predicted"] = len(predicted)
        counted = Counted()
        self.train(counted, Blocks(self.slow), epochs=1)
        found["hooks of batches"] = counted.batches
        return found


def main():
    folder = pathlib.Path(sys.argv[1])
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    # A process in the background may have been told to ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    pacing.SECONDS = 0.03  # Many blocks in little time
    reports._SECONDS = 0.2
    worker = Worker(strategy, folder)
    full = gdtrain.callbacks.Telemetry(["loss", "gradient_norm", "workers"])
    found = {
        "plain": worker.train(),
        "with telemetry": worker.train(full),
        "straggling": worker.straggling(),
        "lengths": worker.lengths(),
        "clock": worker.saved_by_the_clock(),
        "SIGTERM": worker.signalled("term", signal.SIGTERM, 1),
        "SIGINT": worker.signalled("int", signal.SIGINT, 0),
        "last": worker.signalled("last", signal.SIGTERM, 1, at=80),
    }
    (folder / f"{worker.index}.json").write_text(json.dumps(found))

    def terminate(step):
        if worker.index == 0 and step > 10:
            os.kill(os.getpid(), signal.SIGTERM)

    backup = gdtrain.callbacks.BackupAndRestore(folder / "end")
    worker.train(Blocks(terminate), backup)


if __name__ == "__main__":
    main()
