"""A diagnosis with the model at hand leaves it as it was, and never fails."""

import keras
import numpy as np
import pytest

import gdtrain
from gdtrain.diagnosis.task import Task
from tests import models
from tests.diagnosis.test_trial import (
    Fails,
    OwnUpdate,
    Size,
    line,
    several_outputs,
)
from tests.state.test_preserved_model import everything, network, train


def test_training_goes_on_as_if_no_diagnosis_had_been():
    ends = []
    for is_diagnosed in (False, True):
        model = network()
        telemetry = gdtrain.callbacks.Telemetry()
        train(model, callbacks=[telemetry])
        if is_diagnosed:
            x, y = models.regression_data()
            assert gdtrain.diagnose(telemetry, model, x, y).verdict
        train(model, callbacks=[telemetry])
        ends.append([*everything(model), telemetry["loss"]])
    for one, other in zip(*ends, strict=True):
        np.testing.assert_array_equal(one, other)


def own_update():
    return OwnUpdate(Size())


def several_optimizers():
    model, _, _ = line()
    model.other = keras.optimizers.SGD()
    return model


@pytest.mark.parametrize("make", [own_update, several_optimizers, Fails])
def test_what_cannot_be_tried_is_diagnosed_all_the_same(make):
    _, x, y = line()
    trained, _, _ = line()
    telemetry = gdtrain.callbacks.Telemetry()
    trained.fit(x, y, epochs=20, verbose=0, callbacks=[telemetry])
    model = make()
    model.compile("sgd", "mse")
    model(x)
    found = gdtrain.diagnose(telemetry, model, x, y)
    assert found.verdict.name


def test_examples_of_many_numbers_are_diagnosed():
    """Of 2 million numbers that enter the first layer, some are looked at."""
    pixels = np.random.default_rng(0).integers(0, 256, (640, 32, 32, 3))
    x, y = pixels.astype("float32"), pixels.mean((1, 2, 3), keepdims=True)
    model = gdtrain.Sequential(
        [
            keras.Input([32, 32, 3]),
            keras.layers.Flatten(),
            keras.layers.Dense(1),
        ]
    )
    model.compile(gdtrain.GradientDescent(1e-9), "mse", jit_compile=False)
    telemetry = gdtrain.callbacks.Telemetry()
    y = y.reshape(-1, 1).astype("float32")
    model.fit(x, y, epochs=2, verbose=0, callbacks=[telemetry])
    names = {
        one.name for one in gdtrain.diagnose(telemetry, model, x, y).verdicts
    }
    assert "inputs not scaled" in names


@pytest.mark.parametrize(
    ("loss", "last"),
    [("binary_crossentropy", "sigmoid"), ("poisson", "exponential")],
)
def test_targets_without_an_axis_of_units_are_as_in_training(loss, last):
    random = np.random.default_rng(0)
    x = random.normal(size=(50, 3)).astype("float32")
    y = random.integers(0, 2, 50).astype("float32")
    model = gdtrain.Sequential([keras.Input([3]), keras.layers.Dense(1, last)])
    model.compile("sgd", loss, jit_compile=False)
    expected = model.evaluate(x, y, batch_size=50, verbose=0)
    found = Task(model, x, y).losses_of_longer([1.0])
    assert found[0] == pytest.approx(expected, rel=1e-5)


def test_loss_of_longer_weights_has_the_weights_of_losses():
    loss = {"price": "mse", "kind": "sparse_categorical_crossentropy"}
    model, x, y = several_outputs(loss)
    model.compile("sgd", loss, loss_weights={"price": 3.0, "kind": 0.5})
    count = len(y["kind"])
    expected = model.evaluate(x, y, batch_size=count, verbose=0)
    found = Task(model, {"given": x}, y).losses_of_longer([1.0])
    assert found[0] == pytest.approx(expected[0], rel=1e-5)
