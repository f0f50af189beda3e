"""Trainings in which no weight changes."""

import keras
import numpy as np
import pytest

import gdtrain
from gdtrain.diagnosis.verdicts import nothing_moves
from tests.diagnosis.runs import case_of

STANDS = {"loss": np.full(60, 0.7)}


def judge(**columns):
    return nothing_moves.judge(case_of(**(STANDS | columns)))


def test_a_rate_of_zero_moves_nothing_whatever_the_batches_do():
    random = np.random.default_rng(0)
    loss = random.normal(1, 0.1, 60)
    (found,) = judge(loss=loss, learning_rate=np.zeros(60))
    assert found.evidence == {"learning_rate": 0.0}
    assert "the learning rate is 0" in found.text
    assert found.confidence == 1
    warms_up = np.zeros(60)
    warms_up[-1] = 0.1
    assert judge(loss=loss, learning_rate=warms_up) == []


def test_a_gradient_of_zero_at_every_step_moves_nothing():
    (found,) = judge(gradient_norm=np.zeros(60))
    assert found.evidence == {"gradient_norm": 0.0}
    assert "trainable" in found.advice
    (found,) = judge(gradient_norm=np.zeros(60), weight_norm__a=np.ones(60))
    assert "trainable" not in found.advice
    once = np.zeros(60)
    once[30] = 1e-9
    assert judge(gradient_norm=once) == []


def test_a_loss_of_zero_has_nothing_to_learn():
    assert judge(loss=np.zeros(60), gradient_norm=np.zeros(60)) == []


def test_updates_that_float32_rounds_away_get_a_rate_that_moves():
    (found,) = judge(
        learning_rate=np.full(60, 1e-9),
        weight_norm__a=np.full(60, 2.0),
        update_ratio__a=np.full(60, 1e-10),
    )
    ((kind, value),) = found.changes
    assert kind == "learning_rate"
    assert value == pytest.approx(1e-2)  # 1e-3 of the weights
    assert "float32" in found.text


@pytest.mark.parametrize(
    ("norms", "ratios"),
    [
        (np.linspace(2, 2.001, 60), np.full(60, 1e-10)),
        (np.full(60, 2.0), np.full(60, 1e-5)),
    ],
)
def test_weights_that_move_a_little_do_move(norms, ratios):
    assert judge(weight_norm__a=norms, update_ratio__a=ratios) == []


def test_all_layers_frozen_in_a_real_training():
    model = gdtrain.Sequential([keras.Input([2]), keras.layers.Dense(1)])
    model.trainable = False
    model.compile(gdtrain.GradientDescent(0.1), loss="mse")
    telemetry = gdtrain.callbacks.Telemetry()
    x = np.ones([20, 2], "float32")
    model.fit(x, x[:, :1], epochs=12, verbose=0, callbacks=[telemetry])
    found = gdtrain.diagnose(telemetry).verdict
    assert found.name == nothing_moves.NAME
    assert "trainable" in found.advice
