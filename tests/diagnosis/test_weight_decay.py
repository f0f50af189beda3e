"""Weights that shrink at the rate of their decay."""

import keras
import numpy as np
import pytest

import gdtrain
from gdtrain.diagnosis.verdicts import weight_decay
from tests.diagnosis.runs import case_of
from tests.diagnosis.tasks import case_with, compiled

STEPS = np.arange(200)


def judge(*norms):
    columns = {f"weight_norm__{i}": v for i, v in enumerate(norms)}
    return weight_decay.judge(case_of(loss=np.full(200, 0.7), **columns))


def test_layers_that_shrink_at_one_rate_decay():
    shrinks = np.exp(-0.02 * STEPS)
    (found,) = judge(3 * shrinks, shrinks, 0.1 * shrinks + 1e-4)
    assert found.evidence["decay_a_step"] == pytest.approx(0.02, rel=0.05)
    assert [change.kind for change in found.changes] == ["weight_decay"]


@pytest.mark.parametrize(
    "norms",
    [
        [np.exp(-0.02 * STEPS), np.exp(-0.04 * STEPS)],  # Each as its data say
        [np.exp(-0.02 * STEPS), np.ones(200)],
        [np.exp(-0.005 * STEPS), np.exp(-0.005 * STEPS)],  # 2.7 times
        [np.exp(-0.02 * STEPS)],  # One layer alone may shrink for its data
    ],
)
def test_others_do_not(norms):
    assert judge(*norms) == []


def trained(optimizer, epochs=40, regularizer=None, noise=0.0):
    """A small net after its training: telemetry, and the case with data."""
    random = np.random.default_rng(0)
    x = random.normal(size=(256, 4)).astype("float32")
    y = np.tanh(x[:, :1]) + random.normal(0, noise, (256, 1))
    model = compiled(
        [
            keras.layers.Dense(
                8, activation="tanh", kernel_regularizer=regularizer
            ),
            keras.layers.Dense(1, kernel_regularizer=regularizer),
        ],
        "mse",
        [4],
        optimizer=optimizer,
    )
    telemetry = gdtrain.callbacks.Telemetry()
    model.fit(x, y, epochs=epochs, verbose=0, callbacks=[telemetry])
    return telemetry, case_with(model, x, y.astype("float32"))


@pytest.mark.mostly_long("0.0", "30.0")
@pytest.mark.parametrize("decay", [0.0, 1e-3, 30.0])
def test_decay_in_a_real_training(decay):
    adam = keras.optimizers.AdamW(3e-3, weight_decay=decay)
    telemetry, case = trained(adam)
    names = [one.name for one in gdtrain.diagnose(telemetry).verdicts]
    assert (weight_decay.NAME in names) is (decay == 30)
    assert bool(weight_decay.judge(case)) is (decay == 30)


@pytest.mark.parametrize("factor", [0.0, 1e-3, 0.5])
def test_regularizers_hold_weights_back(factor):
    sgd = keras.optimizers.SGD(0.1)
    _, case = trained(sgd, regularizer=keras.regularizers.L2(factor))
    found = weight_decay.judge(case)
    assert bool(found) is (factor == 0.5)


def test_a_small_rate_or_noise_is_no_strong_decay():
    _, case = trained(keras.optimizers.SGD(1e-4, weight_decay=1e-3), epochs=2)
    assert weight_decay.judge(case) == []
    _, case = trained(keras.optimizers.SGD(0.1, weight_decay=1e-3), noise=2.0)
    assert weight_decay.judge(case) == []


def test_the_model_stays_as_it_is():
    _, case = trained(keras.optimizers.SGD(0.1, weight_decay=1.0))
    before = [np.asarray(v.value) for v in case.task.model.variables]
    assert weight_decay.judge(case)
    for one, other in zip(before, case.task.model.variables, strict=True):
        np.testing.assert_array_equal(one, np.asarray(other.value))
