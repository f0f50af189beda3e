"""What `distribution` measures in each worker, in a process of its own."""

import json
import os
import pathlib
import signal
import statistics
import time

import keras
import numpy as np
import tensorflow as tf

import gdtrain
from gdtrain.distributed.workers import Workers
from tests.benchmarks import jobs, peers_keras

WIDTH = 5000  # Of a layer of 25 million weights
_KILL_AT = 30  # The step after which a worker is killed, once


def step_seconds(job, distributed, epochs, repeats=5):
    """Median seconds a step of a job, on one worker.

    Args:
        job: Its name, in `jobs`.
        distributed: Whether under the strategy of a group, of one worker:
            `gdtrain.distributed.strategy` gives none to one that is alone.
        epochs: How many a training has.
        repeats: Of how many trainings.
    """
    work = jobs.make(job)
    if distributed:
        with tf.distribute.MultiWorkerMirroredStrategy().scope():
            model = peers_keras.model(
                gdtrain.Sequential, work, jit_compile=False
            )
    else:
        model = peers_keras.model(gdtrain.Sequential, work, jit_compile=False)
    seconds = []
    for _ in range(1 + repeats):  # The first one warms up
        start = time.perf_counter()
        model.fit(
            work.x,
            work.y,
            batch_size=work.batch_size,
            epochs=epochs,
            verbose=0,
        )
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:]) / epochs / work.steps_per_epoch


def traffic(batch_size, steps):
    """Seconds a step of a layer of 25 million weights, and bytes sent.

    Args:
        batch_size: Of all workers together.
        steps: How many are timed.

    Returns:
        A dict: the seconds; and the bytes that went over the loopback
        interface in a step, from all workers on this machine.
    """
    with gdtrain.distributed.strategy(threads=1).scope():
        model = gdtrain.Sequential(
            [
                keras.Input([WIDTH]),
                keras.layers.Dense(WIDTH, use_bias=False),
            ]
        )
        model.compile(gdtrain.GradientDescent(1e-6), "mse", jit_compile=False)
    x = np.ones([batch_size, WIDTH], "float32")
    model.fit(x, x, batch_size=batch_size, epochs=3, verbose=0)
    sent, start = _bytes_sent(), time.perf_counter()
    model.fit(x, x, batch_size=batch_size, epochs=steps, verbose=0)
    seconds = time.perf_counter() - start
    return {
        "seconds": seconds / steps,
        "bytes": (_bytes_sent() - sent) / steps,
    }


def _bytes_sent():
    """Bytes that the loopback interface has sent."""
    for line in pathlib.Path("/proc/net/dev").read_text().splitlines():
        name, _, numbers = line.partition(":")
        if name.strip() == "lo":
            return int(numbers.split()[8])
    raise RuntimeError("There is no loopback interface `lo`.")


class _Diary(gdtrain.callbacks.Callback):
    """Notes when each block ended; kills its process once."""

    def __init__(self, note, may_kill):
        super().__init__()
        self._note, self._may_kill = note, may_kill

    def on_position(self, fit_state):
        self._note(f"step {fit_state.steps_done}")
        if fit_state.steps_done >= _KILL_AT and self._may_kill():
            self._note("killed")
            os.kill(os.getpid(), signal.SIGKILL)


def restarted(folder, victim, backup=None):
    """Trains, and notes in a file when what happened.

    Args:
        folder: Where notes and the backup go.
        victim: The worker that kills itself, the first time.
        backup: Makes the callback that saves. Defaults to `BackupAndRestore`.
    """
    strategy = gdtrain.distributed.strategy(threads=1)
    workers = Workers(strategy)
    rank = max(workers.name[-1:], "0")
    folder = pathlib.Path(folder)

    def note(what):
        with open(folder / f"notes-{rank}.jsonl", "a") as file:
            file.write(json.dumps([time.time(), what]) + "\n")

    def may_kill():
        flag = folder / "killed"
        first = rank == str(victim) and not flag.exists()
        if first:
            flag.touch()
        return first

    note("strategy")
    with strategy.scope():
        keras.utils.set_random_seed(0)
        work = jobs.make("digits_mlp")
        model = peers_keras.model(gdtrain.Sequential, work, jit_compile=False)
    if backup is None:
        backup = gdtrain.callbacks.BackupAndRestore(
            folder / "backup", every_steps=10
        )
    model.fit(
        work.x,
        work.y,
        batch_size=work.batch_size,
        epochs=4,
        verbose=0,
        callbacks=[backup, _Diary(note, may_kill)],
    )
    note("ended")
