"""Runs that follow each other in a folder give one curve; two are refused."""

import os
import signal
import subprocess
import sys
import textwrap

import keras
import pytest

import gdtrain
from tests import models
from tests.callbacks import reading
from tests.callbacks.reading import assert_equal_curves, assert_forward, curves
from tests.writers.test_tensorboard import read_by_server

X, Y = models.regression_data(40)


def network(rate=0.1):
    keras.utils.set_random_seed(0)
    model = gdtrain.Sequential(
        [keras.Input([3]), keras.layers.Dense(1, name="output")], name="line"
    )
    optimizer = gdtrain.GradientDescent(rate, momentum=0.9)
    model.compile(optimizer, "mse", run_eagerly=True)  # Soon begun
    return model


def train(log_dir, first, last, model=None, more=(), **hparams):
    """Trains for some epochs of four steps, by a new callback."""
    model = model or network()
    tensorboard = gdtrain.callbacks.TensorBoard(
        log_dir, ["loss", "gradient_norm"], hparams=hparams
    )
    fit(model, first, last, [tensorboard, *more])
    return model


def fit(model, first, last, callbacks):
    model.fit(
        X,
        Y,
        batch_size=10,
        initial_epoch=first,
        epochs=last,
        shuffle=False,
        verbose=0,
        validation_data=(X, Y),
        callbacks=callbacks,
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The curves of four epochs without a break."""
    log_dir = tmp_path_factory.mktemp("whole")
    train(log_dir, 0, 4)
    found = curves(log_dir)
    assert [step for step, _ in found["train/step/loss"]] == [*range(1, 17)]
    assert [epoch for epoch, _ in found["validation/epoch_loss"]] == [*range(4)]
    return found


def saved(model, path):
    """The model as another process would load it."""
    model.save(path)
    return keras.saving.load_model(path)


def cut(found, steps, epochs):
    """The beginning of curves."""
    return {
        tag: [
            point
            for point in points
            if point[0] < (epochs if "/epoch_" in tag else steps + 1)
        ]
        for tag, points in found.items()
    }


def test_run_from_the_start_takes_the_place_of_a_longer_one(tmp_path, whole):
    train(tmp_path, 0, 6, network(rate=0.5), note="first")
    train(tmp_path, 0, 2, note="second")
    assert_equal_curves(curves(tmp_path), cut(whole, steps=8, epochs=2))
    assert reading.hyperparameters(tmp_path)["note"] == "second"
    described = reading.tensors(tmp_path)
    for tag in ("_hparams_/session_start_info", "model/summary"):
        assert len(described[tag]) == 1
    assert "_hparams_/session_end_info" in described


def test_loaded_model_continues_with_the_curve(tmp_path, whole):
    model = train(tmp_path, 0, 2, note="first")
    model = saved(model, tmp_path / "model.keras")
    assert int(model.optimizer.iterations.numpy()) == 8
    train(tmp_path, 2, 4, model, note="second")
    assert_equal_curves(curves(tmp_path), whole)
    assert reading.hyperparameters(tmp_path)["note"] == "second"


class SavedThenBroken(keras.callbacks.Callback):
    """Saves the model after the first epoch; ends training in the third."""

    def __init__(self, path):
        super().__init__()
        self.path = path
        self.epoch = None

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 0:
            self.model.save(self.path)

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == (2, 1):
            raise RuntimeError("broken")


def test_steps_that_are_repeated_after_a_break_are_shown_once(tmp_path, whole):
    path = tmp_path / "model.keras"
    with pytest.raises(RuntimeError, match="broken"):
        train(tmp_path, 0, 4, more=[SavedThenBroken(path)])
    assert len(curves(tmp_path)["train/step/loss"]) == 10
    train(tmp_path, 1, 4, keras.saving.load_model(path))
    assert_equal_curves(curves(tmp_path), whole)


def test_second_fit_with_the_same_callback_continues(tmp_path, whole):
    model = network()
    tensorboard = gdtrain.callbacks.TensorBoard(
        tmp_path, ["loss", "gradient_norm"]
    )
    fit(model, 0, 1, [tensorboard])
    fit(model, 1, 4, [tensorboard])
    assert_equal_curves(curves(tmp_path), whole)


def test_epochs_that_come_again_take_the_place_of_the_old_ones(tmp_path):
    model = network()
    tensorboard = gdtrain.callbacks.TensorBoard(tmp_path, ["loss"])
    fit(model, 0, 3, [tensorboard])
    fit(model, 0, 1, [])  # Not seen
    fit(model, 0, 2, [tensorboard])
    found = curves(tmp_path)
    assert_forward(found)
    steps = [step for step, _ in found["train/step/loss"]]
    assert steps == [*range(1, 13), *range(17, 25)]
    assert [epoch for epoch, _ in found["train/epoch_loss"]] == [0, 1]


class Within(keras.callbacks.Callback):
    """Trains another model during the second epoch of the first."""

    def __init__(self, log_dir):
        super().__init__()
        self.log_dir = log_dir
        self.error = ""

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            other = network()
            with pytest.raises(RuntimeError) as caught:
                train(self.log_dir, 0, 1, other)
            self.error = str(caught.value)
            assert int(other.optimizer.iterations.numpy()) == 0


def test_second_run_in_the_same_process_is_refused(tmp_path, whole):
    within = Within(tmp_path)
    train(tmp_path, 0, 4, more=[within])
    assert "Only one run at a time" in within.error
    assert f"process {os.getpid()}, this one" in within.error
    assert_equal_curves(curves(tmp_path), whole)
    train(tmp_path, 0, 1)  # The first one has ended.


FOREVER = """
    import sys
    import keras, numpy as np, gdtrain
    model = gdtrain.Sequential([keras.Input([3]), keras.layers.Dense(1)])
    model.compile("sgd", "mse", jit_compile=False)
    tensorboard = gdtrain.callbacks.TensorBoard(sys.argv[1], ["loss"])
    told = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: (
            tensorboard.wait(),  # Its file is there.
            print("epoch", flush=True),
        )
    )
    x, y = np.ones([40, 3]), np.ones([40, 1])
    callbacks = [tensorboard, told]
    model.fit(
        x, y, batch_size=10, epochs=10**9, verbose=0, callbacks=callbacks
    )
"""


def test_run_beside_that_of_another_process_is_refused(tmp_path, whole):
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(FOREVER), tmp_path],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout.readline() == "epoch\n"
        model = network()
        with pytest.raises(RuntimeError, match=f"process {process.pid} is"):
            train(tmp_path, 0, 4, model)
        assert int(model.optimizer.iterations.numpy()) == 0
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    train(tmp_path, 0, 4)  # Goes ahead, as the other one was killed.
    assert_equal_curves(curves(tmp_path), whole)


@pytest.mark.mostly_long("1")
@pytest.mark.parametrize("first", [0, 1])
def test_histograms_of_repeated_steps_are_shown_once(first, tmp_path):
    path = tmp_path / "model.keras"
    for begin, end in ((0, 3), (first, 2)):
        model = keras.saving.load_model(path) if begin else network()
        tensorboard = gdtrain.callbacks.TensorBoard(
            tmp_path, ["weight_histogram"]
        )
        saver = keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs, model=model: (
                epoch or model.save(path)
            )
        )
        fit(model, begin, end, [tensorboard, saver])
    steps = list(range(1, 9))
    tag = "weight_histogram/output"
    expected = {f"train/{tag}": steps}
    assert reading.by_server(tmp_path, expected, "histograms") == expected
    assert read_by_server(tmp_path)[tag] == steps
