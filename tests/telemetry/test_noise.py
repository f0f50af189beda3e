"""The noise scale of the gradient, by hand and by statistics."""

import logging

import keras
import numpy as np
import pytest

import gdtrain
from gdtrain.telemetry import quantity
from tests import models
from tests.telemetry import twin


def scales_by_hand(steps):
    """The formula of McCandlish et al., averaged, step by step."""
    noise = signal = 0.0
    scales = []
    for step in steps:
        examples, count = sum(step.parts), len(step.parts)
        squares = [twin.norm(g) ** 2 for g in step.gradients]
        whole = twin.norm(step.gradient) ** 2
        of_parts = np.average(squares, weights=step.parts)
        one = (of_parts - whole) * examples / (count - 1)
        noise = 0.99 * noise + 0.01 * one
        signal = 0.99 * signal + 0.01 * (whole - one / examples)
        scales.append(noise / signal if signal > 0 else np.nan)
    return scales


def test_noise_scale_is_that_of_its_twin_for_uneven_micro_batches():
    model = models.network()
    model.compile(
        gdtrain.GradientDescent(0.01, momentum=0.9), "mse", microbatches=2
    )
    x, y = models.regression_data(28)
    y += 3  # Far away, so that there is a signal
    steps = twin.train(model.get_weights(), x, y, 5, parts=2, rate=0.01)
    assert [s.parts for s in steps[-2:]] == [[2, 3], [1, 2]]
    telemetry = gdtrain.callbacks.Telemetry(["gradient_noise_scale"])
    model.fit(
        x, y, batch_size=5, shuffle=False, verbose=0, callbacks=[telemetry]
    )
    scales = scales_by_hand(steps)
    assert np.isfinite(scales).sum() > 3
    # Noise is a difference of squares: one digit less than of each
    np.testing.assert_allclose(
        telemetry["gradient_noise_scale"], scales, rtol=3e-5
    )


def test_noise_scale_of_one_step_of_a_line_by_hand():
    model = models.line(w=1.0, b=0.0)  # Gradients of an example: 2e(x, 1)
    model.compile("sgd", "mse", microbatches=2, run_eagerly=True)
    x = np.array([[1.0], [2.0]], "float32")
    y = np.array([[0.0], [1.0]], "float32")  # Errors 1, 1
    telemetry = gdtrain.callbacks.Telemetry(["gradient_noise_scale"])
    model.fit(x, y, batch_size=2, verbose=0, callbacks=[telemetry])
    # Gradients (2, 2), (4, 2), mean (3, 2): noise (14 - 13) * 2 / 1 = 2,
    # signal 13 - 2 / 2 = 12.
    assert telemetry["gradient_noise_scale"] == pytest.approx([2 / 12])


def test_noise_scale_is_variance_over_squared_mean():
    random = np.random.default_rng(5)
    x = random.normal(1, 1, [16 * 1500, 1]).astype("float32")
    y = (x - 1 + random.normal(0, 1, x.shape)).astype("float32")
    each = 2 * (x - y) * np.hstack([x, np.ones_like(x)])  # At w = 1, b = 0
    true = each.var(0).sum() / np.sum(each.mean(0) ** 2)
    model = models.line(w=1.0, b=0.0)
    model.compile(keras.optimizers.SGD(0.0), "mse", microbatches=4)
    telemetry = gdtrain.callbacks.Telemetry(["gradient_noise_scale"])
    model.fit(x, y, batch_size=16, verbose=0, callbacks=[telemetry])
    settled = telemetry["gradient_noise_scale"][500:]
    assert settled.mean() == pytest.approx(true, rel=0.1)


@pytest.mark.parametrize("eagerly", [False, True])
def test_a_batch_of_one_example_leaves_the_noise_scale_as_it_was(eagerly):
    model = models.network()
    model.compile("sgd", "mse", microbatches=2, run_eagerly=eagerly)
    x, y = models.regression_data(9)
    telemetry = gdtrain.callbacks.Telemetry(["gradient_noise_scale"])
    model.fit(
        x, y + 3, batch_size=4, shuffle=False, verbose=0, callbacks=[telemetry]
    )
    first, second, third = telemetry["gradient_noise_scale"]
    assert np.isfinite(first)
    assert first != second == third


def test_an_infinite_step_does_not_spoil_the_noise_scale():
    model = models.line()
    model.compile(
        keras.optimizers.SGD(0.0), "mse", microbatches=2, run_eagerly=True
    )
    x, y = models.regression_data(12, features=1)
    y[5] = 1e25  # A gradient whose square is infinite
    telemetry = gdtrain.callbacks.Telemetry(["gradient_noise_scale"])
    model.fit(
        x, y, batch_size=4, shuffle=False, verbose=0, callbacks=[telemetry]
    )
    first, second, third = telemetry["gradient_noise_scale"]
    assert first == second != third
    assert np.isfinite(third)


def test_noise_scale_of_a_batch_of_one_part_is_left_out(caplog):
    quantity.log_skipped_once.cache_clear()
    model = models.line()
    model.compile("sgd", "mse")
    telemetry = gdtrain.callbacks.Telemetry(["loss", "gradient_noise_scale"])
    x, y = models.regression_data(8, features=1)
    with caplog.at_level(logging.WARNING, "gdtrain"):
        model.fit(x, y, batch_size=4, verbose=0, callbacks=[telemetry])
    assert telemetry.names == ["loss"]
    assert caplog.text.count("needs a batch of several parts") == 1
