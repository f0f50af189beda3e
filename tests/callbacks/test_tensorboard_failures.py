"""Training outlives its folder; what was measured can be read meanwhile."""

import shutil
import subprocess
import sys
import textwrap

import keras
import pytest

import gdtrain
from gdtrain.writers import event_files
from tests import models, waiting
from tests.writers.test_tensorboard_writer import read

X, Y = models.regression_data(40)


def fit(callbacks, epochs=4):
    model = models.network()
    model.compile("sgd", "mse", jit_compile=False)
    model.fit(
        X, Y, batch_size=10, epochs=epochs, verbose=0, callbacks=callbacks
    )
    return model


class AtEpoch(keras.callbacks.Callback):
    """Calls a function at the end of an epoch."""

    def __init__(self, epoch, function):
        super().__init__()
        self.epoch = epoch
        self.function = function

    def on_epoch_end(self, epoch, logs=None):
        if epoch == self.epoch:
            self.function()


def test_folder_that_vanishes_is_told_of_once_and_writing_goes_on(tmp_path):
    tensorboard = gdtrain.callbacks.TensorBoard(tmp_path / "logs", ["loss"])

    def vanish():
        tensorboard.wait()
        shutil.rmtree(tmp_path / "logs")

    with pytest.warns(UserWarning) as told:
        model = fit(
            [tensorboard, AtEpoch(1, vanish), AtEpoch(2, tensorboard.wait)]
        )
    (message,) = [str(one.message) for one in told]
    assert "the file or its folder is gone" in message
    assert int(model.optimizer.iterations.numpy()) == 16
    points = read(tmp_path / "logs")["step/loss"]
    assert [step for step, _ in points] == [13, 14, 15, 16]
    # The folder is free, and both callbacks write again.
    for callback in (
        gdtrain.callbacks.TensorBoard(tmp_path / "logs", ["loss"]),
        tensorboard,
    ):
        fit([callback], epochs=1)
        points = read(tmp_path / "logs")["step/loss"]
        assert [step for step, _ in points] == [1, 2, 3, 4]


FULL_DISK = """
    import resource, signal, sys, warnings
    import keras, numpy as np, gdtrain

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    model = gdtrain.Sequential([keras.Input([3]), keras.layers.Dense(1)])
    model.compile("sgd", "mse", jit_compile=False)
    x, y = np.ones([400, 3]), np.ones([400, 1])
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        model.fit(
            x, y, batch_size=4, epochs=30, verbose=0,
            callbacks=[gdtrain.callbacks.TensorBoard(sys.argv[1])],
        )
    told = [str(one.message) for one in told]
    print(sum("Writing has stopped" in text for text in told), len(told))
    print(int(model.optimizer.iterations.numpy()))
"""


def test_full_disk_is_told_of_once_and_training_ends(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FULL_DISK), tmp_path],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["1", "1", "3000"]
    points = read(tmp_path)["step/loss"]
    steps = [step for step, _ in points]
    assert 100 < len(steps) < 3000
    assert steps == list(range(1, 1 + len(steps)))


def test_points_can_be_read_soon_while_training_goes_on(tmp_path):
    tensorboard = gdtrain.callbacks.TensorBoard(tmp_path, ["loss"])

    def steps():
        if not event_files.paths(tmp_path):
            return []
        return [step for step, _ in read(tmp_path).get("step/loss", [])]

    def look():  # Nothing else asks for a flush.
        waiting.until(lambda: steps() == list(range(1, 9)))

    fit([tensorboard, AtEpoch(1, look)])
    assert len(read(tmp_path)["step/loss"]) == 16
