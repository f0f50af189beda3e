"""Callbacks can be pickled and copied, before, in and after `fit`."""

import copy
import pickle

import keras
import numpy as np
import pytest

import gdtrain
from gdtrain.writers import (
    AggregatingWriter,
    CSVWriter,
    MemoryWriter,
    MultiWriter,
    TensorBoardWriter,
)
from tests import models

X, Y = models.regression_data(8)


def step_writer(folder):
    writers = [
        MemoryWriter(),
        AggregatingWriter(TensorBoardWriter(folder / "events"), 2),
        CSVWriter(folder / "run.csv"),
    ]
    return gdtrain.callbacks.StepWriter(MultiWriter(writers))


MADE = {
    "BackupAndRestore": lambda folder: gdtrain.callbacks.BackupAndRestore(
        folder
    ),
    "Diagnosis": lambda _: gdtrain.callbacks.Diagnosis(),
    "LearningRateScheduler": lambda _: gdtrain.callbacks.LearningRateScheduler(
        gdtrain.schedules.WarmUp(0.1, 2), unit="step"
    ),
    "NonfiniteGuard": lambda _: gdtrain.callbacks.NonfiniteGuard(),
    "Stability": lambda _: gdtrain.callbacks.Stability(X, Y),
    "StableLearningRate": lambda _: gdtrain.callbacks.StableLearningRate(X, Y),
    "StepWriter": step_writer,
    "Telemetry": lambda _: gdtrain.callbacks.Telemetry(),
    "TensorBoard": lambda folder: gdtrain.callbacks.TensorBoard(
        folder, aggregate=True, every_steps=2
    ),
    "WeightPath": lambda _: gdtrain.callbacks.WeightPath(),
}
COPIES = {
    "pickle": lambda callback: pickle.loads(pickle.dumps(callback)),
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
}


class Local(gdtrain.Sequential):
    """A model that cannot be pickled."""

    def __reduce__(self):
        raise TypeError("cannot be pickled")


def fit(*callbacks, run_eagerly=False):
    model = models.network(Local)
    model.compile(
        gdtrain.GradientDescent(0.1),
        "mse",
        run_eagerly=run_eagerly,
        jit_compile=False,
    )
    model.fit(X, Y, batch_size=4, verbose=0, callbacks=list(callbacks))
    return model.get_weights()


def test_every_callback_is_tried():
    # `RayReport`, which needs Ray, is tried in test_ray_report.py.
    others = {"Callback", "FitState", "RayReport", "Rollback"}
    assert {*MADE, *others} == set(gdtrain.callbacks.__all__)


@pytest.mark.parametrize("name", MADE)
def test_copy_serves_as_the_original(name, tmp_path):
    original = again = MADE[name](tmp_path)
    for make in COPIES.values():
        again = make(again)
    fit(again, run_eagerly=True)
    for way, make in COPIES.items():
        used = make(again)
        assert type(used) is type(original), way
        assert used.model is None, way
        assert vars(used).keys() == vars(original).keys(), way


@pytest.mark.parametrize("way", ["pickle", "deepcopy"])
def test_copy_holds_what_was_measured_and_continues_by_itself(way):
    telemetry = gdtrain.callbacks.Telemetry(["loss"])
    path = gdtrain.callbacks.WeightPath()
    fit(telemetry, path)
    again, path_again = COPIES[way](telemetry), COPIES[way](path)
    assert again.steps.tolist() == [1, 2]
    np.testing.assert_array_equal(again["loss"], telemetry["loss"])
    np.testing.assert_array_equal(path_again.weights, path.weights)
    fit(again)
    assert again.steps.tolist() == [1, 2, 1, 2]
    assert telemetry.steps.tolist() == [1, 2]


def test_copy_made_in_fit_has_all_steps_so_far_and_no_lock(tmp_path):
    copies = []

    class Copy(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            copies[:] = [COPIES["deepcopy"](one) for one in watched]

    kinds = ["Telemetry", "TensorBoard", "BackupAndRestore", "Stability"]
    watched = [MADE[kind](tmp_path / kind) for kind in kinds]
    fit(*watched, Copy())
    telemetry, board, *_ = copies
    assert telemetry.steps.tolist() == [1, 2]
    fit(board)
