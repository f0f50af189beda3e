"""Trials of other learning rates decide where curves alone would not."""

import keras
import numpy as np
import pytest

import gdtrain
from gdtrain.diagnosis.rate_trials import RateTrials
from gdtrain.diagnosis.task import Task
from gdtrain.diagnosis.trial import Trials

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(64, 3)).astype("float32")
Y = np.tanh(X @ [[1.0], [-2.0], [0.5]]).astype("float32")
LATER = keras.optimizers.schedules.ExponentialDecay(0.1, 3, 0.1)


def trained(optimizer, epochs=12, x=X):
    """`(telemetry, model)` of a small network."""
    keras.utils.set_random_seed(1)
    model = gdtrain.Sequential(
        [
            keras.Input([3]),
            keras.layers.Dense(8, "tanh"),
            keras.layers.Dense(1),
        ]
    )
    model.compile(optimizer, loss="mse", jit_compile=False)
    telemetry = gdtrain.callbacks.Telemetry()
    model.fit(
        x, Y, batch_size=16, epochs=epochs, verbose=0, callbacks=[telemetry]
    )
    return telemetry, model


@pytest.mark.parametrize(
    ("optimizer", "name", "kind"),
    [
        (gdtrain.GradientDescent(1e-4), "too small", "learning_rate"),
        (keras.optimizers.Adam(3.0), "too large", "learning_rate"),
        (
            gdtrain.GradientDescent(LATER),
            "decayed too early",
            "constant_learning_rate",
        ),
    ],
)
def test_another_rate_that_gains_far_more_decides(optimizer, name, kind):
    telemetry, model = trained(optimizer)
    found = gdtrain.diagnose(telemetry, model, X, Y).verdict
    assert name in found.name and found.is_trouble
    assert "in a trial of" in f"{found.text} {found.advice}".lower()
    (change,) = found.changes
    assert change.kind == kind
    rate = float(np.max(telemetry["learning_rate"]))
    assert {
        "too small": change.value > 5 * rate,
        "too large": change.value < rate / 5,
        "decayed too early": change.value <= 1.01 * rate,
    }[name]


def test_good_rate_is_no_trouble():
    telemetry, model = trained(keras.optimizers.Adam(0.03), epochs=40)
    assert not gdtrain.diagnose(telemetry, model, X, Y).verdict.is_trouble


def test_output_no_better_than_a_constant_is_not_learning():
    nothing = np.zeros_like(X)
    telemetry, model = trained(
        keras.optimizers.Adam(0.03), epochs=40, x=nothing
    )
    found = gdtrain.diagnose(telemetry, model, nothing, Y).verdict
    assert found.name == "not learning"
    variance = float(Y.var())  # The mean squared error of the mean
    assert found.evidence["loss_of_constant"] == pytest.approx(variance)
    assert found.evidence["loss"] == pytest.approx(variance, rel=0.05)


def test_shares_are_of_the_gain_from_new_weights_to_the_best():
    _, model = trained(gdtrain.GradientDescent(1e-4))
    with Trials(Task(model, X, Y, batch_size=16), expected=8) as trials:
        rates = RateTrials(trials, 1e-4, has_decayed=False)
        larger, smaller = rates.of("larger"), rates.of("smaller")
        new = trials.loss("new")
    best = larger.trial.changed
    for one in larger, smaller:
        assert one.share == pytest.approx(
            max(one.trial.without - one.trial.changed, 0) / (new - best)
        )
    assert rates.decides_for("larger") is larger
    assert rates.decides_for("smaller") is None
    assert rates.rules_out("smaller") and not rates.rules_out("larger")
    assert rates.of("held") is None


def test_targets_of_zero_that_are_reached_are_learned():
    """No constant is better than a loss of 0, and none is far off."""
    model = gdtrain.Sequential([keras.Input([3]), keras.layers.Dense(1)])
    model.compile(gdtrain.GradientDescent(0.3), loss="mse", jit_compile=False)
    telemetry = gdtrain.callbacks.Telemetry()
    zeros = np.zeros([64, 1], "float32")
    model.fit(
        X, zeros, batch_size=64, epochs=60, verbose=0, callbacks=[telemetry]
    )
    assert not gdtrain.diagnose(telemetry, model, X, zeros).verdict.is_trouble


def test_run_that_a_smaller_rate_soon_mends_is_not_called_not_learning():
    """Just below the limit, a line is worse than a constant for long."""
    x = np.linspace(-1, 4, 60).astype("float32")[:, None]
    y = 0.1 * x + 0.5 + np.random.default_rng(1).normal(0, 0.1, x.shape)
    line = keras.layers.Dense(1, kernel_initializer="zeros")
    model = gdtrain.Sequential([keras.Input([1]), line])
    model.compile(gdtrain.GradientDescent(0.2), loss="mse")
    telemetry = gdtrain.callbacks.Telemetry()
    model.fit(x, y, batch_size=60, epochs=60, verbose=0, callbacks=[telemetry])
    assert telemetry["loss"][-1] > 2 * y.var()
    names = [v.name for v in gdtrain.diagnose(telemetry, model, x, y).verdicts]
    assert "not learning" not in names
