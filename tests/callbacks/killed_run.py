"""A run to be killed from outside, in a process of its own.

    python -m tests.callbacks.killed_run FOLDER FEED [slow]

prints a line at each step that it is told of, and writes at its end what it
left, as JSON. With `slow`, putting a checkpoint on the disk takes a while, so
that it is there half for most of the time.
"""

import json
import os
import pathlib
import signal
import sys
import time

import keras
import tensorflow as tf

from tests.callbacks.runs import (
    FEEDS,
    Script,
    kept_by_keras,
    network,
    observers,
)

EPOCHS = 6


class Telling(keras.callbacks.Callback):
    """Prints at each step where it is."""

    sees = "logs"

    def on_run_reached(self, run):
        print("step", run.steps_done, flush=True)
        time.sleep(0.01)


def slow_down():
    sync = os.fsync

    def slow(file):
        time.sleep(0.02)
        sync(file)

    os.fsync = slow


def strategy():
    if "TF_CONFIG" in os.environ:
        return tf.distribute.MultiWorkerMirroredStrategy()
    return tf.distribute.get_strategy()


def network_within(chosen):
    with chosen.scope():
        return network()


def main():
    folder, feed = sys.argv[1:3]
    chosen = strategy()  # Before anything else of TensorFlow's
    # A process in the background may have been told to ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if "slow" in sys.argv:
        slow_down()
    script = Script(
        folder,
        FEEDS[feed],
        lambda: network_within(chosen),
        backup={"backup_dir": pathlib.Path(folder).parent / "backup"}
        if "TF_CONFIG" in os.environ
        else {},
        callbacks=lambda folder: [
            *kept_by_keras(folder)[1:3],
            *observers(folder),
            Telling(),
        ],
    )
    left, began_at = script(epochs=EPOCHS)
    found = {str(key): repr(value) for key, value in left.items()}
    found["log"] = pathlib.Path(folder, "log.csv").read_text()
    steps = pathlib.Path(folder, "steps.csv")  # Which only the chief writes
    found["steps"] = steps.read_text() if steps.exists() else ""
    pathlib.Path(folder, "left.json").write_text(json.dumps(found))
    print("ended", began_at, flush=True)


if __name__ == "__main__":
    main()
