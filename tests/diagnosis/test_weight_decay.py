"""Weights that shrink at the rate of their decay."""

import keras
import numpy as np
import pytest

import gdtrain
from gdtrain.diagnosis.verdicts import weight_decay
from tests.diagnosis.runs import case_of

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


@pytest.mark.parametrize("decay", [0.0, 1e-3, 30.0])
def test_decay_in_a_real_training(decay):
    random = np.random.default_rng(0)
    x = random.normal(size=(256, 4)).astype("float32")
    y = np.tanh(x[:, :1])
    keras.utils.set_random_seed(0)
    model = gdtrain.Sequential(
        [
            keras.Input([4]),
            keras.layers.Dense(8, activation="tanh"),
            keras.layers.Dense(1),
        ]
    )
    model.compile(keras.optimizers.AdamW(3e-3, weight_decay=decay), loss="mse")
    telemetry = gdtrain.callbacks.Telemetry()
    model.fit(x, y, epochs=40, verbose=0, callbacks=[telemetry])
    names = [one.name for one in gdtrain.diagnose(telemetry).verdicts]
    assert (weight_decay.NAME in names) is (decay == 30)
