"""A run to be killed from outside, in a process of its own.

    python -m tests.callbacks.killed_run FOLDER FEED [saves] [never]

prints a line at each step that it is told of, waits for a byte in answer while
there are any, and writes at its end what it left, as JSON. With `saves`, it
prints a line as well whenever it puts a part of a checkpoint on the disk, and
waits for an answer there too: what is half written stays so. With `never`, it
saves only at its end.
"""

import json
import os
import pathlib
import signal
import sys

import gdtrain
from tests.callbacks.runs import (
    FEEDS,
    Script,
    kept_by_keras,
    network,
    observers,
)

EPOCHS = 6


class Telling(gdtrain.callbacks.Callback):
    """Prints at each step where it is."""

    def on_position(self, run):
        tell(f"step {run.steps_done}")


def tell(line):
    """Prints a line, and waits for a byte in answer; for none at the end."""
    # From any thread, so in one piece: `print` writes the end by itself.
    os.write(sys.stdout.fileno(), f"{line}\n".encode())
    os.read(sys.stdin.fileno(), 1)


def tell_of_saves():
    sync = os.fsync

    def told(file):
        tell("saves")
        sync(file)

    os.fsync = told


def network_within(chosen):
    with chosen.scope():
        return network()


def main():
    folder, feed = sys.argv[1:3]
    chosen = (
        gdtrain.distributed.strategy()
    )  # Before anything else of TensorFlow's
    # A process in the background may have been told to ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if "saves" in sys.argv:
        tell_of_saves()
    backup = {"every_steps": None} if "never" in sys.argv else {}
    if "TF_CONFIG" in os.environ:
        backup["backup_dir"] = pathlib.Path(folder).parent / "backup"
    script = Script(
        folder,
        FEEDS[feed],
        lambda: network_within(chosen),
        backup=backup,
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
