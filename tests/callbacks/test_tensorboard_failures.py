"""Training outlives its folder; what was measured can be read meanwhile."""

import shutil

import keras
import pytest

import gdtrain
from gdtrain.writers import reading
from tests import models, waiting
from tests.full_disk import files_up_to
from tests.writers.test_tensorboard import read

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


def test_folder_that_vanishes_is_reported_once_and_writing_continues(tmp_path):
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


def test_full_disk_is_reported_once_and_training_ends(tmp_path):
    tensorboard = gdtrain.callbacks.TensorBoard(tmp_path)
    with files_up_to(100_000), pytest.warns(UserWarning) as told:
        model = fit([tensorboard], epochs=600)
    (message,) = [str(one.message) for one in told]
    assert "Writing has stopped" in message
    assert int(model.optimizer.iterations.numpy()) == 2400
    points = read(tmp_path)["step/loss"]
    steps = [step for step, _ in points]
    assert 100 < len(steps) < 2400
    assert steps == list(range(1, 1 + len(steps)))


def test_points_can_be_read_soon_while_training_continues(tmp_path):
    tensorboard = gdtrain.callbacks.TensorBoard(tmp_path, ["loss"])

    def steps():
        if not reading.paths(tmp_path):
            return []
        return [step for step, _ in read(tmp_path).get("step/loss", [])]

    def look():  # Nothing else asks for a flush.
        waiting.until(lambda: steps() == list(range(1, 9)))

    fit([tensorboard, AtEpoch(1, look)])
    assert len(read(tmp_path)["step/loss"]) == 16
