"""A small program for each page, which brings about the page's message."""

import os
import pathlib
import runpy
import sys
import warnings

import keras
import numpy as np
import tensorflow as tf

import gdtrain
from gdtrain.checkpoint.crashes import CrashLog
from gdtrain.common import forks
from gdtrain.distributed import cluster
from gdtrain.distributed.reports import Stragglers, Times
from gdtrain.distributed.worker_lost import from_error
from gdtrain.images import store
from gdtrain.loop import hooks
from gdtrain.plots import canvas
from gdtrain.writers import MemoryWriter
from gdtrain.writers.folder_lock import FolderLock
from tests import models
from tests.images.photos import make_random_photos

X, Y = models.regression_data(8)
PROGRAMS = {}


def page(topic):
    """Adds a program, by the topic of its page."""

    def add(program):
        assert topic not in PROGRAMS
        PROGRAMS[topic] = program
        return program

    return add


def message_of(topic, request):
    """The message that the program of a page brings about.

    Args:
        topic: Of the page.
        request: Pytest's fixture, from which programs have others.
    """
    caplog = request.getfixturevalue("caplog")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            PROGRAMS[topic](request)
        except Exception as error:
            return str(error)
    said = [str(warning.message) for warning in caught] + caplog.messages
    (message,) = [text for text in said if "\nMore: " in text]
    return message


def model(optimizer="sgd", loss="mse", **settings):
    network = models.network()
    network.compile(optimizer, loss, **settings)
    return network


def fit(network, *callbacks, x=X, y=Y, **arguments):
    arguments = {"batch_size": 4, "verbose": 0, "callbacks": [*callbacks]} | (
        arguments
    )
    return network.fit(x, y, **arguments)


class WithStep(gdtrain.Model):
    """A line whose step is given."""

    def __init__(self, step):
        super().__init__(name="line")
        self.line = keras.layers.Dense(1, name="line")
        self.step = step

    def call(self, x):
        return self.line(x)

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            loss = self.compute_loss(x, y, self(x, training=True))
        return self.step(self, tape, loss)


def trained(step, *callbacks):
    network = WithStep(step)
    network.compile("sgd", "mse")
    fit(network, *callbacks)


@page("arguments")
def _(request):
    gdtrain.callbacks.BackupAndRestore("backup", every_steps=0)


@page("extras")
def _(request):
    monkeypatch = request.getfixturevalue("monkeypatch")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    runpy.run_path(canvas.__file__)


@page("gdtrain-model")
def _(request):
    network = models.network(keras.Sequential)
    network.compile("sgd", "mse")
    network.fit(X, Y, verbose=0, callbacks=[gdtrain.callbacks.Telemetry()])


@page("unusable-data")
def _(request):
    fit(model(), x=[1.0, 2.0, 3.0], y=[2.0, 4.0, 6.0])


@page("data-shapes")
def _(request):
    fit(model(), x=X[:, :2])


@page("labels")
def _(request):
    x, y = models.classification_data()
    network = gdtrain.Sequential([keras.Input([4]), keras.layers.Dense(3)])
    network.compile("sgd", "sparse_categorical_crossentropy")
    fit(network, x=x, y=y + 1)


@page("data-ran-out")
def _(request):
    dataset = tf.data.Dataset.from_tensor_slices((X, Y)).batch(4)
    model().fit(dataset, steps_per_epoch=3, verbose=0)


@page("data-position")
def _(request):
    def batches():
        while True:
            yield X, Y

    model().fit(
        batches(),
        steps_per_epoch=2,
        verbose=0,
        callbacks=[gdtrain.callbacks.BackupAndRestore("backup")],
    )


@page("record-files")
def _(request):
    with tf.io.TFRecordWriter("train.tfrecord") as writer:
        for number in range(3):
            writer.write(str(number).encode())
    os.truncate("train.tfrecord", os.path.getsize("train.tfrecord") - 5)
    gdtrain.data.TFRecordShards(["train.tfrecord"], tf.strings.to_number)


@page("worker-data")
def _(request):
    gdtrain.data.WorkerData(iter([(X, Y)]))


@page("train-step")
def _(request):
    trained(lambda self, tape, loss: self.descend(tape, loss))


@page("no-gradient")
def _(request):
    trained(lambda self, tape, loss: self.descend(tape, tf.constant(1.0)))


@page("no-update")
def _(request):
    trained(lambda self, tape, loss: {"loss": loss})


@page("optimizer")
def _(request):
    model(keras.optimizers.SGD(gradient_accumulation_steps=4))


@page("parts-of-a-batch")
def _(request):
    loss = keras.losses.MeanSquaredError(reduction="sum")
    fit(model(loss=loss, microbatches=2))


@page("random-numbers")
def _(request):
    def noisy(self, tape, loss):
        self.descend(tape, loss)
        return {"loss": loss + 0.0 * tf.random.normal([])}

    folder = request.getfixturevalue("tmp_path")
    trained(noisy, gdtrain.callbacks.BackupAndRestore(folder))


@page("reproducible-workers")
def _(request):
    fit(model(reproducible_workers=4, microbatches=2))


@page("learning-rate-schedule")
def _(request):
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 100)
    scheduler = gdtrain.callbacks.LearningRateScheduler(lambda epoch: 0.1)
    fit(model(gdtrain.GradientDescent(schedule)), scheduler)


@page("nonfinite")
def _(request):
    y = Y.copy()
    y[5] = np.nan
    guard = gdtrain.callbacks.NonfiniteGuard()
    fit(model(), guard, y=y, shuffle=False)


@page("xla-refused")
def _(request):
    with request.getfixturevalue("two_replicas").scope():
        network = model(jit_compile=True)
    fit(network)


@page("another-run")
def _(request):
    for rate in (0.001, 0.1):
        keras.utils.set_random_seed(0)
        backup = gdtrain.callbacks.BackupAndRestore("backup")
        fit(model(gdtrain.GradientDescent(rate)), backup)


@page("damaged-checkpoint")
def _(request):
    backup = gdtrain.callbacks.BackupAndRestore("backup")
    fit(model(), backup)
    for folder, _, names in os.walk("backup"):
        if "arrays.npz" in names:
            os.truncate(os.path.join(folder, "arrays.npz"), 100)
    keras.utils.set_random_seed(0)
    fit(model(), gdtrain.callbacks.BackupAndRestore("backup"))


@page("folder-in-use")
def _(request):
    lock = FolderLock("backup")
    try:
        FolderLock("backup")
    finally:
        lock.release()


@page("repeated-crash")
def _(request):
    for _ in range(4):
        log = CrashLog("backup/crashes", worker=1)
        log.check()
        try:
            raise ValueError("no such file: shard-7")
        except ValueError as error:
            log.add(error, step=700, until=720)


@page("writing-stopped")
def _(request):
    class FullDisk:
        def write(self, *_):
            raise OSError(28, "No space left on device")

        def close(self):
            pass

    writer = gdtrain.writers.MultiWriter([FullDisk(), MemoryWriter()])
    writer.write([1], ["loss"], [[0.5]])


@page("callback-state")
def _(request):
    class Counter(gdtrain.callbacks.Callback):
        def get_state(self):
            return {"count": self.count}

        def set_state(self, state):
            self.count = state["count"]

    fit(model(), Counter(), gdtrain.callbacks.BackupAndRestore("backup"))


@page("forked-process")
def _(request):
    monkeypatch = request.getfixturevalue("monkeypatch")
    monkeypatch.setattr(forks, "_lacks_threads", True)
    monkeypatch.setattr(os, "getpid", lambda: 4711)
    forks.check_threads(runs_eagerly=False)


@page("worker-lost")
def _(request):
    error = tf.errors.UnavailableError(
        None, None, "error information from remote target /job:worker/task:1"
    )
    raise from_error(error)


@page("workers-differ")
def _(request):
    class Two:
        count, name, names = 2, "worker-0", ["worker-0", "worker-1"]

        def numbers(self, number):
            return [number, number + 1]

    hooks.check_alike(Two(), [keras.callbacks.EarlyStopping()])


@page("cluster-start")
def _(request):
    cluster.of_tf_config('{"cluster": {"worker": ["host1:1", "host2:1"]}}')


@page("slow-worker")
def _(request):
    seconds, waiting = np.array([1.0, 1.0, 1.0]), np.array([0.5, 0.6, 0.0])
    names = ["worker-0", "worker-1", "worker-2"]
    slow = Times(names, np.full(3, 10.0), seconds, waiting)
    stragglers = Stragglers()
    for _ in range(3):
        stragglers.add(slow)


@page("stacked-sweep")
def _(request):
    def build():
        return model(jit_compile=True)

    gdtrain.sweep(
        build, X, Y, learning_rates=[0.1, 0.2], vectorize=True, verbose=0
    )


@page("data-read-again")
def _(request):
    gdtrain.find_learning_rate(model(), iter([(X, Y)]), verbose=0)


@page("no-suggestion")
def _(request):
    network = gdtrain.Sequential([keras.Input([3]), keras.layers.Dense(1)])
    network.compile("sgd", "mse")
    gdtrain.find_learning_rate(
        network, 0 * X, 0 * Y, steps=20, apply=True, verbose=0
    )


@page("curvature")
def _(request):
    dataset = tf.data.Dataset.from_tensor_slices((X, Y)).batch(4).repeat()
    gdtrain.curvature(model(), dataset)


@page("limit-unknown")
def _(request):
    fit(model("lion"), gdtrain.callbacks.Stability(X, Y))


@page("no-telemetry")
def _(request):
    os.makedirs("output/logs")
    gdtrain.diagnose("output/logs")


@page("quantity-skipped")
def _(request):
    def step(self, tape, loss):
        self.descend(tape, loss)
        return {"loss": loss}

    trained(step, gdtrain.callbacks.Telemetry(["loss_change"]))


@page("unreadable-photos")
def _(request):
    folder = make_random_photos(pathlib.Path("photos"), {"cat": 2, "dog": 2})
    for name in ("0.png", "1.png"):
        os.truncate(folder / "cat" / name, 100)
    gdtrain.images.read_folder(folder, verbose=0)


@page("photo-folders")
def _(request):
    folder = make_random_photos(pathlib.Path("photos"), {"cat": 3})
    gdtrain.images.read_folder(folder, verbose=0)


@page("photo-tables")
def _(request):
    pathlib.Path("photos.csv").write_text("image,label\n1.jpg,cat\n")
    gdtrain.images.read_table("photos.csv", verbose=0)


@page("photo-arrays")
def _(request):
    images = np.random.default_rng(0).uniform(size=[10, 28, 28])
    gdtrain.images.from_arrays(images, np.arange(10) % 2)


@page("backbones")
def _(request):
    gdtrain.images.open_backbone("MobileNetV3", weights=None)


@page("classifier-files")
def _(request):
    gdtrain.images.load("model.keras")


@page("photo-cache")
def _(request):
    full = OSError(28, "No space left on device")
    raise store._no_room("activations-9", "/home/me/.cache/gdtrain", full)
