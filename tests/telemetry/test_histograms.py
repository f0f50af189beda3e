"""Histograms against `numpy.histogram`."""

import numpy as np
import tensorflow as tf

import gdtrain
from gdtrain import telemetry as quantities
from gdtrain.telemetry import histograms
from tests import models
from tests.telemetry import twin
from tests.telemetry.listening import Listener


def assert_like_numpy(found, numbers):
    """Checks a histogram; the edges of bins are those of float32."""
    low, high, *counts = found
    np.testing.assert_allclose(
        [low, high], [np.min(numbers), np.max(numbers)], rtol=1e-5
    )
    expected, _ = np.histogram(numbers, bins=histograms.BINS)
    np.testing.assert_array_equal(counts, expected)


def test_histogram_counts_as_numpy_does():
    numbers = np.random.default_rng(0).normal(size=[40, 50])
    parts = [tf.constant(numbers[:10]), tf.constant(numbers[10:])]
    found = histograms.histogram(parts).numpy()
    assert found[2:].sum() == 2000
    assert_like_numpy(found, numbers)


def test_histogram_of_equal_numbers_fills_one_bin():
    low, high, *counts = histograms.histogram([tf.fill([7], 3.0)]).numpy()
    assert (low, high, counts[0], sum(counts)) == (3.0, 3.0, 7.0, 7.0)


def test_histogram_leaves_out_what_is_not_finite():
    numbers = tf.constant([1.0, np.nan, 2.0, np.inf, -np.inf, 3.0])
    low, high, *counts = histograms.histogram([numbers]).numpy()
    assert (low, high, sum(counts)) == (1.0, 3.0, 3.0)
    assert counts[0] == counts[15] == counts[-1] == 1


def test_histogram_of_nothing_finite_is_empty():
    found = histograms.histogram([tf.constant([np.nan, np.inf])]).numpy()
    assert found.tolist() == [0.0] * (2 + histograms.BINS)


def test_histogram_of_half_precision_does_not_overflow():
    numbers = np.random.default_rng(1).uniform(-6e4, 6e4, 300)
    half = numbers.astype("float16")
    found = histograms.histogram([tf.constant(half)]).numpy()
    assert_like_numpy(found, half.astype("float64"))


def test_histograms_of_weights_and_gradients_are_those_of_their_twin():
    model = models.network()
    model.compile(gdtrain.GradientDescent(0.1, momentum=0.9), "mse")
    x, y = models.regression_data(20)
    steps = twin.train(model.get_weights(), x, y, batch=5)
    listener = Listener(
        [
            quantities.WeightHistogram().every(2),
            quantities.GradientHistogram(),
        ]
    )
    model.fit(
        x, y, batch_size=5, shuffle=False, verbose=0, callbacks=[listener]
    )
    for layer in ("hidden", "output"):
        weights = listener.histograms(f"weight_histogram/{layer}")
        assert list(weights) == [2, 4]
        for step, found in weights.items():
            assert_like_numpy(found, twin.of(steps[step - 1].after, layer))
        gradients = listener.histograms(f"gradient_histogram/{layer}")
        assert list(gradients) == [1, 2, 3, 4]
        for step, found in gradients.items():
            gradient = twin.of(steps[step - 1].gradient, layer)
            assert_like_numpy(found, gradient)


def test_histograms_are_no_columns_of_arrays():
    model = models.network()
    model.compile("sgd", "mse")
    telemetry = gdtrain.callbacks.Telemetry(
        [quantities.WeightHistogram(), "loss"]
    )
    x, y = models.regression_data(8)
    model.fit(x, y, verbose=0, callbacks=[telemetry])
    assert telemetry.names == ["loss"]
