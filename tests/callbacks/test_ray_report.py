"""`RayReport` with a storage that is a folder of the test, without Ray."""

import copy
import importlib.util
import json
import math
import os
import pathlib
import pickle
import shutil

import keras
import numpy as np
import pytest

import gdtrain
from gdtrain.common.failures import RepeatedCrash
from gdtrain.distributed import ray_session

X = np.random.default_rng(0).normal(size=[32, 3]).astype("float32")
Y = X.sum(axis=1, keepdims=True)


class Storage:
    """Takes the place of a `RaySession`."""

    count, is_trial, name, key = 1, False, "run", "of the test"

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.fails_at = math.inf
        self.clear()

    def clear(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        self.crashes = self.folder / "crashes"
        self.crashes.mkdir(parents=True)
        self.reports = []
        self.newest = None

    def report(self, metrics, folder):
        self.reports.append((json.loads(json.dumps(metrics)), bool(folder)))
        if len(self.reports) >= self.fails_at:
            raise ConnectionError("The storage is not there")
        if folder:
            self.newest = self.folder / str(len(self.reports))
            shutil.copytree(folder, self.newest)

    def fetch(self, folder, own):
        if self.newest is not None:
            shutil.copytree(self.newest, folder)
        return self.newest and str(self.newest)

    def fetch_crashes(self, folder):
        shutil.copytree(self.crashes, folder, dirs_exist_ok=True)
        return "crashes of the run"

    def store_crashes(self, folder, new, old):
        for name in new:
            shutil.copy(pathlib.Path(folder, name), self.crashes)
        for name in old:
            (self.crashes / name).unlink()


@pytest.fixture
def storage(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    found = Storage(tmp_path / "storage")
    monkeypatch.setattr(ray_session, "current", lambda user: found)
    return found


class DieAt(keras.callbacks.Callback):
    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            raise InterruptedError


def train(*callbacks, epochs=4, rate=0.01, **arguments):
    if not any(isinstance(c, gdtrain.callbacks.RayReport) for c in callbacks):
        callbacks = [*callbacks, gdtrain.callbacks.RayReport(**arguments)]
    keras.utils.set_random_seed(1)
    model = gdtrain.Sequential([keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(rate), "mse", metrics=["mae"])
    history = model.fit(
        X,
        Y,
        batch_size=8,
        epochs=epochs,
        verbose=0,
        callbacks=list(callbacks),
    )
    return history.history, np.concatenate(
        [weight.ravel() for weight in model.get_weights()]
    )


def pickled(callback):
    return pickle.loads(pickle.dumps(callback))


def test_each_epoch_is_reported_and_the_end_has_a_checkpoint(storage):
    history, _ = train()
    assert storage.reports == [
        (
            {name: values[epoch] for name, values in history.items()}
            | {"epoch": epoch + 1, "steps": 4 * epoch + 4},
            epoch == 3,
        )
        for epoch in range(4)
    ]


def test_checkpoints_within_epochs_have_the_metrics_of_the_last(storage):
    history, _ = train(epochs=2, every_steps=3)
    found = [(m["steps"], m.get("loss"), saved) for m, saved in storage.reports]
    first, last = history["loss"]
    assert found == [
        (3, None, True),
        (4, first, False),
        (6, first, True),
        (8, last, True),
    ]


def test_epochs_are_reported_as_often_as_ray_reads(storage, monkeypatch):
    monkeypatch.setenv("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "1000")
    train()
    assert [metrics["epoch"] for metrics, _ in storage.reports] == [1, 4]
    storage.clear()
    storage.is_trial = True
    train()  # Ray Tune reads at once.
    assert [metrics["epoch"] for metrics, _ in storage.reports] == [1, 2, 3, 4]


def test_a_lost_run_continues_from_the_storage_alone(storage, tmp_path, capsys):
    expected = train()
    storage.clear()
    with pytest.raises(InterruptedError):
        train(DieAt(2), every_steps=3)
    assert os.listdir(tmp_path) == ["storage"]  # No local folder is left.
    capsys.readouterr()
    place = str(storage.newest)
    history, weights = train(every_steps=3)
    assert history == expected[0]
    assert weights.tobytes() == expected[1].tobytes()
    printed = capsys.readouterr().out
    assert f"after 6 steps, from {place!r}" in printed
    assert printed.startswith("RayReport: continues at epoch 2 of 4, step 3")


def test_a_finished_run_continues_if_epochs_are_raised(storage):
    expected = train(epochs=6)
    storage.clear()
    train(epochs=4)
    history, weights = train(epochs=6)
    assert history == expected[0]
    assert weights.tobytes() == expected[1].tobytes()


def test_what_a_killed_process_left_is_not_read(storage, tmp_path):
    left = tmp_path / "gdtrain-ray-of the test" / "checkpoint"
    left.mkdir(parents=True)
    (left / "step-000000000099").mkdir()
    train(epochs=1)
    assert os.listdir(tmp_path) == ["storage"]
    assert not list(storage.newest.glob("*99"))


def test_a_storage_that_fails_ends_the_run(storage):
    storage.fails_at = 2
    with pytest.raises(ConnectionError):
        train(epochs=50)
    assert len(storage.reports) == 2  # Others wait for as many of this one.


def test_a_crash_that_repeats_is_refused_and_names_the_storage(storage):
    for _ in range(3):
        with pytest.raises(InterruptedError):
            train(DieAt(2), every_steps=3)
    with pytest.raises(RepeatedCrash) as raised:
        train(DieAt(2), every_steps=3)
    assert "3 crashes in a row after step 8" in str(raised.value)
    assert "on_epoch_begin\n    raise InterruptedError" in str(raised.value)
    assert "delete 'crashes of the run' to try" in str(raised.value)


def test_crashes_are_forgotten_once_training_gets_beyond(storage):
    for _ in range(2):
        with pytest.raises(InterruptedError):
            train(DieAt(2), every_steps=3)
    assert len(os.listdir(storage.crashes)) == 2
    train(every_steps=3)
    assert not os.listdir(storage.crashes)


def test_trials_are_restarted_as_often_as_ray_tune_says(storage):
    storage.is_trial = True
    for _ in range(4):
        with pytest.raises(InterruptedError):
            train(DieAt(2), every_steps=3)
    assert not os.listdir(storage.crashes)


def test_the_verdict_is_reported(storage):
    telemetry = gdtrain.callbacks.Telemetry()
    train(telemetry, telemetry=telemetry)
    found = [(m["verdict"], m["trouble"]) for m, _ in storage.reports]
    assert found[0] == ("nothing to report", 0)
    assert len(set(found)) > 1 and not any(trouble for _, trouble in found)
    storage.clear()
    telemetry = gdtrain.callbacks.Telemetry()
    train(telemetry, rate=1e5, telemetry=telemetry)
    metrics, _ = storage.reports[-1]
    assert metrics["verdict"] == "learning rate too large: overshot"
    assert metrics["trouble"] == 1


def test_workers_without_a_strategy_are_refused(storage):
    storage.count = 2
    with pytest.raises(ValueError, match="Received: 2 workers of Ray.*of 1"):
        train()


def test_outside_ray_an_error_says_what_to_do(monkeypatch):
    with pytest.raises(RuntimeError, match="TensorflowTrainer.*BackupAndRest"):
        train()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install gdtrain\[ray\]"):
        train()


def test_wrong_telemetry_is_refused():
    with pytest.raises(TypeError, match="Received: telemetry=True of type"):
        gdtrain.callbacks.RayReport(telemetry=True)


@pytest.mark.mostly_long("pickled")
@pytest.mark.parametrize("make", [copy.deepcopy, pickled])
def test_copy_serves_as_the_original(make, storage):
    report = gdtrain.callbacks.RayReport(every_steps=3)
    again = make(report)
    train(again)
    used = make(again)
    assert used.model is None
    assert vars(used).keys() == vars(report).keys()
