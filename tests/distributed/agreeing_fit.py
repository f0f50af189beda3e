"""What two workers do that decide alike, in processes of their own.

    TF_CONFIG=... python -m tests.distributed.agreeing_fit FOLDER [long]

trains in one way after the other, writes what is found as JSON to a file with
the number of the worker, and ends by a SIGTERM that only the first receives.
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
from tests.callbacks.reading import opened, tensors

_SECONDS = 0.03  # Of a block: many of them in little time
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


def medians(telemetry):
    """The median of each number, a dict."""
    return {
        name: float(np.median(telemetry.table.points(name)[1]))
        for name in telemetry.names
    }


class Counted(keras.callbacks.Callback):
    """Counts batches, and does what `act` does after each."""

    def __init__(self, act=lambda batch, logs: None):
        super().__init__()
        self.act, self.batches = act, 0

    def on_train_batch_end(self, batch, logs=None):
        self.batches += 1
        self.act(batch, logs)


class SlowProbes(gdtrain.callbacks.Stability):
    """Probes that take `seconds` longer, and note their `steps`."""

    def _measure(self):
        self.steps.append(self.steps_done)
        time.sleep(self.seconds)
        return super()._measure()


class Worker:
    """One of the workers.

    Args:
        strategy: A `MultiWorkerMirroredStrategy`.
        folder: For what it writes.
    """

    def __init__(self, strategy, folder):
        self.strategy, self.folder = strategy, folder
        self.index = strategy.cluster_resolver.task_id
        self.slept_at = time.monotonic()

    def train(
        self, *callbacks, feed="arrays", validation_data=None, **settings
    ):
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
            epochs=2,
            verbose=0,
            callbacks=list(callbacks),
            validation_data=validation_data,
        )
        return [w.tolist() for w in self.model.get_weights()]

    def slow(self, step):
        """What is done after each block by the second worker alone.

        It takes twice as long as all else, however fast the machine is.
        """
        if self.index:
            passed = time.monotonic() - self.slept_at
            time.sleep(min(max(0.1, 2 * passed), 0.5))
        self.slept_at = time.monotonic()

    def signalled(self, number, index, more=()):
        """Receives a signal on one worker, and resumes then.

        Args:
            number: Of the signal.
            index: Of the worker.
            more: Other callbacks.

        Returns:
            How the training ended, after how many steps, and the weights at
            the end of the one that resumes.
        """
        folder = self.folder / f"{number}-{index}"

        left = [number] if index == self.index else []

        def act(step):
            if left and step > 15:  # Once: a second Ctrl-C does not wait.
                os.kill(os.getpid(), left.pop())

        def backup():
            return gdtrain.callbacks.BackupAndRestore(
                folder, every_seconds=None
            )

        blocks, ended = Blocks(act), "normally"
        try:
            self.train(blocks, backup(), *more, steps_per_execution=5)
        except (SystemExit, KeyboardInterrupt) as end:
            ended = repr(end)
        steps = int(self.model.optimizer.iterations.numpy())
        return {
            "ended": ended,
            "steps": steps,
            "lengths": blocks.lengths,
            "weights": self.train(backup(), steps_per_execution=5),
        }

    def straggling(self):
        """All that is known of a training while one worker is slow."""
        said = []
        handler = logging.Handler()
        handler.emit = lambda record: said.append(record.getMessage())
        logging.getLogger("gdtrain").addHandler(handler)
        folder = self.folder / "slow"
        blocks = Blocks(self.slow)
        board = gdtrain.callbacks.TensorBoard(folder / "board")
        telemetry = gdtrain.callbacks.Telemetry(["gradient_norm", "workers"])
        # Only the first worker's clock says when to save.
        seconds = None if self.index else 0.1
        backup = gdtrain.callbacks.BackupAndRestore(
            folder, every_seconds=seconds, keep=1000
        )
        live = gdtrain.callbacks.Diagnosis()
        weights = self.train(blocks, board, telemetry, backup, live)
        verdict = live.diagnosis and live.diagnosis.verdict
        logging.getLogger("gdtrain").removeHandler(handler)
        saved = folder.rglob(f"worker-{self.index}*/step-*")
        return {
            "weights": weights,
            "log": said,
            "lengths": blocks.lengths,
            "saved": sorted(path.name for path in saved),
            "tags": []
            if self.index
            else opened(board.log_dir).Tags()["scalars"],
            "telemetry": medians(telemetry),
            "diagnosed": verdict and [verdict.name, *verdict.steps],
            "texts": [] if self.index else sorted(tensors(board.log_dir)),
        }

    def stopped(self, index):
        """Two trainings of one model, which a callback of one worker stops.

        Args:
            index: Of the worker.

        Returns:
            Lengths of the blocks of the first, which it stops within an epoch;
            and epochs of the second, which it stops as one ends.
        """

        def stop(*of_epoch):
            self.model.stop_training = index == self.index

        blocks = Blocks(lambda step: step > 15 and stop())
        self.train(blocks)
        knows = self.model.stop_training
        history = self.model.fit(
            **FEEDS["arrays"](),
            epochs=3,
            verbose=0,
            callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=stop)],
        )
        return {
            "lengths": blocks.lengths,
            "knows": knows,
            "epochs": history.epoch,
        }

    def stopped_by_hooks(self):
        """Batches of what hooks of the second worker stop.

        Returns:
            Those of a training, of the one that resumes it, and of an
            evaluation; and whether the first two ended with equal weights.
        """

        def stop(batch, logs):
            if self.index and batch == 10:
                self.model.stop_training = True

        def backup():
            return gdtrain.callbacks.BackupAndRestore(self.folder / "stopped")

        first, second = Counted(stop), Counted(stop)
        weights = self.train(first, backup())
        again = self.train(second, backup())
        evaluated = []

        def stop_evaluating(batch, logs):
            evaluated.append(batch)
            if self.index and batch == 3:
                self.model.stop_evaluating = True

        stopping = keras.callbacks.LambdaCallback(
            on_test_batch_end=stop_evaluating
        )
        self.model.evaluate(X, Y, 10, verbose=0, callbacks=[stopping])
        return {
            "batches": [first.batches, second.batches, len(evaluated)],
            "is_same": weights == again,
        }

    def probed(self):
        """Steps of probes, which take the second worker longer."""
        probes = SlowProbes(X[:40], Y[:40], 2, budget=0.5)
        probes.seconds, probes.steps = 0.05 * self.index, []
        self.train(probes)
        return probes.steps

    def refused(self):
        """Why callbacks that differ on one worker are refused."""
        try:
            self.train(*[Counted()] * (self.index == 0))
        except ValueError as error:
            return str(error)
        return ""

    def lengths(self, feed, **settings):
        """Blocks and waiting while one worker is slow, validation and all."""
        pacing.SECONDS = 10 * _SECONDS  # Several steps on any machine
        blocks = Blocks(self.slow)
        telemetry = gdtrain.callbacks.Telemetry(["workers"])
        self.train(
            blocks,
            telemetry,
            feed=feed,
            validation_data=(X[:40], Y[:40]),
            **settings,
        )
        pacing.SECONDS = _SECONDS
        given = FEEDS[feed]()
        given.pop("y", None)
        predicted = len(self.model.predict(**given, verbose=0))
        return blocks.lengths, predicted, medians(telemetry)


def main():
    folder = pathlib.Path(sys.argv[1])
    strategy = gdtrain.distributed.strategy(threads=1)
    # A process in the background may have been told to ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    pacing.SECONDS = _SECONDS
    reports._SECONDS = 0.2
    worker = Worker(strategy, folder)
    unknown = "tf.data of unknown length"
    found = {"plain": worker.train()}
    if sys.argv[2:] == ["long"]:
        found |= {
            "lengths": [worker.lengths(feed) for feed in FEEDS],
            "fixed": [
                worker.lengths(feed, steps_per_execution=7) for feed in FEEDS
            ],
            "SIGTERM": worker.signalled(signal.SIGTERM, 0),
            "SIGINT": worker.signalled(signal.SIGINT, 1),
            "hooks": worker.signalled(signal.SIGTERM, 1, [Counted()]),
            "stopped": worker.stopped(0),
            "probed": worker.probed(),
            "stopped by hooks": worker.stopped_by_hooks(),
        }
    else:
        found |= {
            "refused": worker.refused(),
            "straggling": worker.straggling(),
            "lengths": [worker.lengths(unknown)],
            "stopped": worker.stopped(1),
            "SIGTERM": worker.signalled(signal.SIGTERM, 1),
        }
    (folder / f"{worker.index}.json").write_text(json.dumps(found))

    def terminate(step):
        if worker.index == 0 and step > 10:
            os.kill(os.getpid(), signal.SIGTERM)

    backup = gdtrain.callbacks.BackupAndRestore(folder / "end")
    worker.train(Blocks(terminate), backup, steps_per_execution=5)


if __name__ == "__main__":
    main()
