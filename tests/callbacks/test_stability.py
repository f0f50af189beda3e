"""Stability beside training: the numbers, and that they disturb nothing."""

import logging
import math
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.plugins.custom_scalar import layout_pb2

import gdtrain
from gdtrain.callbacks import (
    Stability,
    StableLearningRate,
    Telemetry,
    stability,
)
from gdtrain.curvature.objective import Objective
from gdtrain.curvature.stability_probe import LOSSES, MULTIPLES, WhatIf
from gdtrain.distributed.workers import Workers
from gdtrain.loop import block_runner
from tests import models
from tests.callbacks import reading
from tests.clock import Clock

X, Y = models.regression_data()
# A quadratic: the Hessian of a line through two points, 3 +- 5 ** 0.5
POINTS = np.array([[0.0], [2.0]], "float32")
LAMBDA = 3 + 5**0.5


def line(optimizer):
    model = gdtrain.Sequential(
        [keras.Input([1]), keras.layers.Dense(1, name="line")]
    )
    model.compile(optimizer, "mse")
    return model


def fit_line(optimizer, callback, epochs=20):
    """Telemetry of descent along the line."""
    telemetry, model = Telemetry(), line(optimizer)
    model.fit(
        POINTS,
        3 * POINTS,
        epochs=epochs,
        verbose=0,
        callbacks=[callback, telemetry],
    )
    return telemetry, model


def fit_network(callbacks, optimizer="sgd", epochs=4, **how):
    model = models.network()
    model.compile(optimizer, "mse", **how)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        model.fit(
            X, Y, batch_size=8, epochs=epochs, verbose=0, callbacks=callbacks
        )
    return model


@pytest.mark.mostly_long("heavy ball")
@pytest.mark.parametrize(
    "optimizer, product",
    [
        (gdtrain.GradientDescent(0.1), 2.0),
        (gdtrain.GradientDescent(0.1, momentum=0.5), 3.0),
        (keras.optimizers.SGD(0.1, 0.5, nesterov=True), 1.5),
    ],
    ids=["descent", "heavy ball", "nesterov"],
)
def test_a_quadratic_has_its_exact_limit(optimizer, product):
    telemetry, _ = fit_line(
        optimizer, Stability(POINTS, 3 * POINTS, 5, budget=None)
    )
    due = [0, 4, 9, 14, 19]
    for name, expected in (
        ("sharpness", LAMBDA),
        ("stable_learning_rate", product / LAMBDA),
        ("stability", 0.1 * LAMBDA / product),
    ):
        values = telemetry[name]
        assert np.flatnonzero(~np.isnan(values)).tolist() == due
        np.testing.assert_allclose(values[due], expected, rtol=1e-5)


@pytest.mark.mostly_long("sgd")
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_numbers_are_those_of_curvature_at_the_same_weights(optimizer):
    telemetry = Telemetry()
    stability = Stability(X, Y, 6, examples=None, what_if="losses", budget=None)
    model = fit_network([stability, telemetry], optimizer)
    found = gdtrain.curvature(model, X, Y)
    sharpness = found.preconditioned_sharpness or found.sharpness
    # The square of the error bound of 10% that a probe stops at
    assert telemetry["sharpness"][-1] == pytest.approx(sharpness, rel=0.01)
    stable = telemetry["stable_learning_rate"][-1]
    assert stable == pytest.approx(found.stable_learning_rate, rel=0.01)
    rate = float(model.optimizer.learning_rate)
    assert telemetry["stability"][-1] == pytest.approx(rate / stable)
    losses = WhatIf(model, Objective(model, X, Y)).losses()
    for name, loss in zip(LOSSES, losses, strict=True):
        assert telemetry[name][-1] == pytest.approx(loss, rel=1e-5)
    best = telemetry["best_multiple"][-1]
    assert best == MULTIPLES[int(np.argmin(losses))]


@pytest.mark.mostly_long("adam")
@pytest.mark.parametrize(
    "optimizer, how",
    [
        ("sgd", {}),
        ("adam", {}),
        ("sgd", {"run_eagerly": True}),
        ("adam", {"steps_per_execution": 4}),
    ],
    ids=["sgd", "adam", "run_eagerly", "steps_per_execution"],
)
def test_weights_are_the_same_with_it_and_without(optimizer, how):
    models_of = [
        fit_network(callbacks, optimizer, epochs=2, **how)
        for callbacks in ([], [Stability(X, Y, 5, what_if="losses")])
    ]
    for one, other in zip(*(m.variables for m in models_of), strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
    states = [m.optimizer.variables for m in models_of]
    for one, other in zip(*states, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


def test_dropout_and_batch_normalization_train_on_as_without():
    found = []
    for callbacks in ([], [Stability(X, Y, 5, training=True)]):
        model = models.network(
            gdtrain.Sequential,
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.5, seed=1),
        )
        model.compile("sgd", "mse")
        model.fit(X, Y, batch_size=8, epochs=3, verbose=0, callbacks=callbacks)
        found.append([v.numpy() for v in model.variables])
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_stability_of_an_unknown_limit_is_nan_and_said_once(caplog):
    telemetry, stability = Telemetry(), Stability(X, Y, 5, budget=None)
    with caplog.at_level(logging.WARNING, "gdtrain"):
        model = fit_network([stability, telemetry], "lion")
        model.fit(X, Y, verbose=0, callbacks=[stability])
    # TensorFlow may say how often it traces.
    said = [one.message for one in caplog.records if one.name == "gdtrain"]
    assert len(said) == 1 and "limit of Lion is not known" in said[0]
    assert np.isnan(telemetry["stability"]).all()
    assert np.isnan(telemetry["stable_learning_rate"]).all()
    assert np.isfinite(telemetry["sharpness"]).sum() > 2
    assert np.isfinite(telemetry["best_multiple"]).sum() > 2


def test_small_batches_have_a_lower_limit():
    optimizer = gdtrain.GradientDescent(0.01, momentum=0.5)
    telemetry, _ = fit_line(
        optimizer, Stability(POINTS, 3 * POINTS, 5, minibatch_noise=True)
    )
    limit = telemetry["stable_learning_rate"][0]
    assert limit == pytest.approx(2 * (1 - 0.5) / LAMBDA)


def test_expensive_probes_are_made_less_often(caplog, monkeypatch):
    monkeypatch.setattr(block_runner, "time", Clock(0.001))
    monkeypatch.setattr(stability, "time", Clock(0.05))
    telemetry = Telemetry()
    with caplog.at_level(logging.INFO, "gdtrain"):
        fit_network([Stability(X, Y, 2, budget=0.5), telemetry], epochs=100)
    assert 1 <= np.isfinite(telemetry["sharpness"]).sum() < 50
    assert "budget=0.5: a probe took 50.0 ms" in caplog.text


def test_workers_probe_alike_as_they_count_the_time_of_the_slowest(monkeypatch):
    monkeypatch.setattr(Workers, "longest", lambda self, seconds: 0.0)
    telemetry = Telemetry()
    fit_network([Stability(X, Y, 2, budget=1e-6), telemetry], epochs=2)
    found = np.isfinite(telemetry["sharpness"])
    assert (np.flatnonzero(found) + 1).tolist() == [
        1,
        *range(2, len(found) + 1, 2),
    ]


def test_a_run_that_blows_up_shows_it_and_continues():
    telemetry, _ = fit_line(
        gdtrain.GradientDescent(1e8),
        Stability(POINTS, 3 * POINTS, 2, budget=None),
    )
    assert telemetry["stability"][0] == pytest.approx(1e8 * LAMBDA / 2)
    assert np.isnan(telemetry["best_multiple"][-1])


def test_mixed_precision_is_measured_too():
    telemetry = Telemetry()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        fit_network([Stability(X, Y, 5, budget=None), telemetry])
    finally:
        keras.config.set_dtype_policy("float32")
    assert np.isfinite(telemetry["stability"]).sum() >= 2
    assert np.isfinite(telemetry["best_multiple"]).sum() >= 2


def test_several_replicas_measure_all_but_what_if(two_replicas, caplog):
    telemetry = Telemetry()
    with two_replicas.scope(), caplog.at_level(logging.WARNING, "gdtrain"):
        fit_network([Stability(X, Y, 5, budget=None), telemetry], epochs=2)
    alone = Telemetry()
    fit_network([Stability(X, Y, 5, budget=None), alone], epochs=2)
    np.testing.assert_allclose(
        telemetry["sharpness"], alone["sharpness"], rtol=1e-4
    )
    assert np.isnan(telemetry["best_multiple"]).all()
    assert "there are several replicas" in caplog.text


def test_training_again_continues_with_the_cadence():
    stability = Stability(X, Y, 10, budget=None)
    model = fit_network([stability], epochs=2)  # 12 steps
    telemetry = Telemetry()
    model.fit(
        X,
        Y,
        batch_size=8,
        epochs=2,
        verbose=0,
        callbacks=[stability, telemetry],
    )
    known = ~np.isnan(telemetry["sharpness"])
    assert telemetry.steps[known].tolist() == [20]


def test_it_starts_again_with_another_model():
    stability, found = Stability(X, Y, 10, budget=None), []
    for _ in range(2):
        telemetry = Telemetry()
        fit_network([stability, telemetry])  # 24 steps
        known = ~np.isnan(telemetry["sharpness"])
        found.append(telemetry.steps[known].tolist())
    assert found == [[1, 10, 20]] * 2


def test_resumed_run_has_the_numbers_of_the_uninterrupted_one(tmp_path):
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt

    def callbacks(telemetry):
        return [
            StableLearningRate(X, Y, 4),
            telemetry,
            gdtrain.callbacks.BackupAndRestore(
                str(tmp_path / telemetry.folder), every_steps=5
            ),
        ]

    def telemetry(folder):
        found = Telemetry()
        found.folder = folder
        return found

    whole, broken, again = (telemetry(f) for f in ("one", "two", "two"))
    model = fit_network(callbacks(whole))
    with pytest.raises(KeyboardInterrupt):
        fit_network([*callbacks(broken), Stop()])
    resumed = fit_network(callbacks(again))
    for name in ("sharpness", "stability", "learning_rate", "loss"):
        np.testing.assert_array_equal(again[name], whole[name], name)
    for one, other in zip(model.get_weights(), resumed.get_weights()):
        np.testing.assert_array_equal(one, other)


def test_tensorboard_has_curves_and_charts_of_it(tmp_path):
    telemetry = Telemetry()
    tensorboard = gdtrain.callbacks.TensorBoard(tmp_path / "with")
    fit_network([Stability(X, Y, 5, budget=None), tensorboard, telemetry])
    curves = reading.curves(tmp_path / "with")
    for name in ("sharpness", "stability", "best_multiple"):
        points = dict(curves[f"train/step/{name}"])
        known = ~np.isnan(telemetry[name])
        assert list(points) == telemetry.steps[known].tolist()
        assert list(points.values()) == telemetry[name][known].tolist()
    fit_network([gdtrain.callbacks.TensorBoard(tmp_path / "without")])
    charts = {}
    for folder in ("with", "without"):
        found = reading.tensors(tmp_path / folder)["custom_scalars__config__"]
        layout = layout_pb2.Layout.FromString(found[0][1].item())
        charts[folder] = {
            chart.title: list(chart.multiline.tag)
            for category in layout.category
            for chart in category.chart
        }
    stability = "stability: learning rate over its limit, 1"
    assert charts["with"][stability] == [r"step/stability$"]
    assert "stability: sharpness" in charts["with"]
    assert "best multiple of the learning rate" in charts["with"]
    assert "loss at multiples of the learning rate" not in charts["with"]
    assert not any("stability" in title for title in charts["without"])


@pytest.mark.mostly_long("0.9-1e-06")
@pytest.mark.parametrize("start", [1e-6, 0.1, 10.0])
@pytest.mark.parametrize("share", [0.25, 0.9])
def test_held_rate_of_a_quadratic_is_its_share_of_the_limit(start, share):
    telemetry, model = fit_line(
        gdtrain.GradientDescent(start),
        StableLearningRate(POINTS, 3 * POINTS, 2, share=share),
        epochs=60,
    )
    expected = share * 2 / LAMBDA
    assert telemetry["learning_rate"][0] == np.float32(start)
    rates = telemetry["learning_rate"][1:]
    assert rates[-1] == pytest.approx(expected, rel=1e-4)
    assert telemetry["stability"][-1] == pytest.approx(share, rel=1e-3)
    if start > expected:  # At once
        np.testing.assert_allclose(rates, expected, rtol=1e-5)
    else:
        assert (np.diff(rates) >= 0).all() and rates[0] < 0.8 * expected
    assert telemetry["loss"][-1] < telemetry["loss"][1]


def test_held_rate_goes_half_of_the_way_up():
    telemetry, _ = fit_line(
        gdtrain.GradientDescent(1e-4),
        StableLearningRate(POINTS, 3 * POINTS, 1000, rise=0.5),
        epochs=2,
    )
    expected = math.sqrt(1e-4 * 0.5 * 2 / LAMBDA)
    assert telemetry["learning_rate"][1] == pytest.approx(expected, rel=1e-5)


def test_rate_stays_where_nothing_curves_upwards():
    model = gdtrain.Sequential(
        [keras.Input([1]), keras.layers.Dense(1, use_bias=False)]
    )
    model.compile(gdtrain.GradientDescent(0.25), lambda y, p: keras.ops.mean(p))
    model.fit(
        POINTS,
        POINTS,
        epochs=5,
        verbose=0,
        callbacks=[StableLearningRate(POINTS, POINTS, 1)],
    )
    assert float(model.optimizer.learning_rate) == 0.25


def test_tensorboard_sees_epochs_while_a_rate_is_held(tmp_path):
    tensorboard = gdtrain.callbacks.TensorBoard(tmp_path)
    telemetry = Telemetry()
    model = line(gdtrain.GradientDescent(1e-4))
    model.fit(
        POINTS,
        3 * POINTS,
        epochs=8,
        verbose=0,
        callbacks=[
            StableLearningRate(POINTS, 3 * POINTS, 2),
            tensorboard,
            telemetry,
        ],
    )
    after = dict(reading.curves(tmp_path)["train/epoch_learning_rate"])
    np.testing.assert_array_equal(
        [after[epoch] for epoch in range(7)], telemetry["learning_rate"][1:]
    )


SCHEDULE = keras.optimizers.schedules.ExponentialDecay(0.1, 5, 0.5)


@pytest.mark.parametrize(
    "make, error, words",
    [
        (lambda: Stability(X, Y, 0), ValueError, "`every_steps` must be"),
        (lambda: Stability(X, Y, budget=0), ValueError, "`budget` must be"),
        (lambda: Stability(X, Y, what_if=True), ValueError, "`what_if` must"),
        (lambda: Stability(X, Y, max_products=0), ValueError, "`max_products`"),
        (
            lambda: StableLearningRate(X, Y, share=0),
            ValueError,
            "`share` must be",
        ),
        (
            lambda: StableLearningRate(X, Y, rise=2.0),
            ValueError,
            "`rise` must be at most 1",
        ),
        (
            lambda: StableLearningRate(X, Y, budget=0.05),
            TypeError,
            "takes no `budget`",
        ),
    ],
)
def test_arguments_that_cannot_be_used_are_refused(make, error, words):
    with pytest.raises(error, match=words):
        make()


@pytest.mark.parametrize(
    "optimizer, words",
    [("lion", "limit is known"), (keras.optimizers.SGD(SCHEDULE), "be set")],
    ids=["lion", "schedule"],
)
def test_a_rate_that_cannot_be_held_is_refused(optimizer, words):
    with pytest.raises(ValueError, match=words):
        fit_network([StableLearningRate(X, Y)], optimizer)


def test_several_workers_are_refused(monkeypatch):
    model = line("sgd")
    hold = StableLearningRate(POINTS, POINTS)
    hold.set_model(model)
    monkeypatch.setattr(
        type(model),
        "distribute_strategy",
        property(lambda self: _Workers.__new__(_Workers)),
    )
    hold._is_registered = True
    with pytest.raises(ValueError, match="of several workers"):
        hold.on_train_begin()


class _Workers(tf.distribute.MultiWorkerMirroredStrategy):
    cluster_resolver = None

    def __init__(self):
        """It has no workers."""


def test_a_model_of_keras_is_refused():
    model = models.network(keras.Sequential)
    model.compile("sgd", "mse")
    with pytest.raises(TypeError, match="needs a gdtrain model"):
        model.fit(X, Y, verbose=0, callbacks=[Stability(X, Y)])
