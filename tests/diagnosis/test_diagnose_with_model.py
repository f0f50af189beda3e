"""A diagnosis with the model at hand leaves it as it was, and never fails."""

import keras
import numpy as np
import pytest

import gdtrain
from tests import models
from tests.diagnosis.test_trial import Fails, OwnUpdate, Size, line
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
