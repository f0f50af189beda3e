"""Trouble in one writer takes neither training, backup nor other writers."""

import os

import keras
import pytest

import gdtrain
from gdtrain.writers import (
    CSVWriter,
    MemoryWriter,
    MultiWriter,
    csv_writer,
    reading,
)
from tests import models

X, Y = models.regression_data(40)
STEPS = list(range(1, 17))


def fit(*callbacks, epochs=4):
    """Trains for four steps an epoch, with a backup after every second."""
    keras.utils.set_random_seed(0)
    model = gdtrain.Sequential([keras.Input([3]), keras.layers.Dense(1)])
    model.compile("sgd", "mse", run_eagerly=True)  # Soon begun
    backup = gdtrain.callbacks.BackupAndRestore("backup", every_steps=2)
    model.fit(
        X, Y, 10, epochs=epochs, verbose=0, callbacks=[*callbacks, backup]
    )
    return model


class AtEnd(keras.callbacks.Callback):
    """Waits for a writer at the end of the second epoch, and does something."""

    def __init__(self, writer, do):
        super().__init__()
        self.writer, self.do = writer, do

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1:
            self.writer.wait()
            self.do()


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # Goes back at the end
    return tmp_path


def csv_steps(path="steps.csv"):
    lines = open(path).read().splitlines()
    assert lines[0] == "step,loss"
    return [int(line.split(",")[0]) for line in lines[1:]]


def csv(path="steps.csv"):
    return gdtrain.callbacks.StepWriter(CSVWriter(path), ["loss"])


def told(caught):
    return [str(one.message) for one in caught]


def test_csv_file_that_is_deleted_ends_its_writing_alone():
    writer, telemetry = csv(), gdtrain.callbacks.Telemetry(["loss"])
    deleting = AtEnd(writer, lambda: os.remove("steps.csv"))
    with pytest.warns(UserWarning) as caught:
        fit(writer, telemetry, deleting)
    (message,) = told(caught)
    assert "the file or its folder is gone" in message
    assert telemetry.steps.tolist() == STEPS
    # The backup is there; a warning says what begins again.
    with pytest.warns(UserWarning) as caught:
        fit(csv(), gdtrain.callbacks.Telemetry(["loss"]), epochs=5)
    (message,) = told(caught)
    assert "steps.csv' begins again" in message
    assert csv_steps() == [17, 18, 19, 20]


def test_full_disk_leaves_what_was_written_to_be_gone_on_with(monkeypatch):
    full = []

    def open_unless_full(path, *mode):
        if full and mode == ("ab",):
            raise OSError(28, "No space left on device")
        return open(path, *mode)

    monkeypatch.setattr(csv_writer, "open", open_unless_full, raising=False)
    writer = csv()
    with pytest.warns(UserWarning) as caught:
        fit(writer, AtEnd(writer, lambda: full.append(1)))
    (message,) = told(caught)
    assert "the disk is full" in message
    assert csv_steps() == STEPS[:8]
    full.clear()
    fit(csv(), epochs=5)
    assert csv_steps() == STEPS[:8] + [17, 18, 19, 20]


def test_csv_file_that_was_cut_short_is_left_as_it_is():
    fit(csv())
    with open("steps.csv", "w") as file:
        file.write("mine\n")
    with pytest.warns(UserWarning) as caught:
        model = fit(csv(), epochs=5)
    (message,) = told(caught)
    assert "the file was changed by others" in message
    assert int(model.optimizer.iterations.numpy()) == 20
    assert open("steps.csv").read() == "mine\n"


def test_one_of_several_writers_that_fails_is_not_taken_for_another():
    one = gdtrain.callbacks.StepWriter(
        MultiWriter([CSVWriter("gone.csv"), CSVWriter("steps.csv")]),
        ["loss"],
    )
    with pytest.warns(UserWarning) as caught:
        fit(one, AtEnd(one, lambda: os.remove("gone.csv")))
    (message,) = told(caught)
    assert "`CSVWriter` is skipped" in message
    assert csv_steps() == STEPS
    again = gdtrain.callbacks.StepWriter(
        MultiWriter([CSVWriter("gone.csv"), CSVWriter("steps.csv")]),
        ["loss"],
    )
    with pytest.warns(UserWarning, match="gone.csv' begins again"):
        fit(again, epochs=5)
    assert csv_steps() == list(range(1, 21))
    assert csv_steps("gone.csv") == [17, 18, 19, 20]


class Speechless(keras.callbacks.Callback):
    def get_state(self):
        raise ValueError("of the user's")

    def set_state(self, state):
        raise AssertionError("There is none.")


def test_callback_without_a_state_is_reported_once_and_skipped():
    with pytest.warns(UserWarning) as caught:
        fit(Speechless(), csv())
    (message,) = told(caught)
    assert "The state of `Speechless` cannot be saved" in message
    assert "of the user's" in message
    with pytest.warns(UserWarning, match="start without one: .'Speechless 0'"):
        fit(Speechless(), csv(), epochs=5)
    assert csv_steps() == list(range(1, 21))


@pytest.mark.parametrize("when", ["before fit", "within fit"])
def test_relative_paths_mean_what_they_did_when_they_were_given(when, folder):
    (folder / "sub").mkdir()
    writer = csv()
    tensorboard = gdtrain.callbacks.TensorBoard("logs", ["loss"])
    logger = keras.callbacks.CSVLogger(folder / "log.csv")
    moving = AtEnd(writer, lambda: os.chdir(folder / "sub"))
    if when == "before fit":
        backup = gdtrain.callbacks.BackupAndRestore("backup")
        os.chdir("sub")
        assert backup.backup_dir == str(folder / "backup")
    fit(writer, tensorboard, logger, moving)
    os.chdir(folder)
    assert csv_steps() == STEPS
    assert reading.read("logs").steps.tolist() == STEPS
    assert {*os.listdir("sub")} <= {"backup"}


def test_keras_csv_logger_is_gone_on_with_after_a_change_of_folder(folder):
    (folder / "sub").mkdir()
    writer = csv()

    def move():
        os.chdir("sub")
        os.symlink(folder / "backup", "backup")

    fit(writer, keras.callbacks.CSVLogger("log.csv"), AtEnd(writer, move))
    os.chdir(folder)
    fit(csv(), keras.callbacks.CSVLogger("log.csv"), epochs=5)
    lines = open("log.csv").read().splitlines()
    assert [line.split(",")[0] for line in lines] == ["epoch", *"01234"]


def test_memory_is_gone_on_with_beside_a_writer_that_fails():
    class Failing(MemoryWriter):
        def write(self, *args):
            raise OSError(28, "No space left on device")

    writer = gdtrain.callbacks.StepWriter(Failing(), ["loss"])
    with pytest.warns(UserWarning, match="the disk is full"):
        fit(writer, gdtrain.callbacks.Telemetry(["loss"]))
    telemetry = gdtrain.callbacks.Telemetry(["loss"])
    with pytest.warns(UserWarning, match="the disk is full"):
        writer = gdtrain.callbacks.StepWriter(Failing(), ["loss"])
        fit(writer, telemetry, epochs=5)
    assert telemetry.steps.tolist() == list(range(1, 21))
