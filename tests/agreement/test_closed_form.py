"""Gradient descent on quadratics, against mathematics in float64."""

import keras
import numpy as np
import pytest

import gdtrain
from tests import models


def points():
    random = np.random.default_rng(3)
    x = random.uniform(0, 2, 50)
    return x, 0.1 * x + 0.5 + random.normal(0, 0.05, 50)


def fit_line(x, y, learning_rate, steps, **compile_arguments):
    """Weights `[w, b]` before and after each full-batch step."""
    line = models.line()
    line.compile(
        gdtrain.GradientDescent(learning_rate), "mse", **compile_arguments
    )
    path = [[0.0, -1.0]]
    for _ in range(steps):
        line.train_on_batch(x[:, None], y[:, None])
        path.append([float(w.numpy()) for w in (line.w, line.b)])
    return np.array(path)


def test_error_shrinks_by_its_eigenvalue_at_each_step():
    x, y = points()
    design = np.stack([x, np.ones_like(x)], 1)
    hessian = 2 * design.T @ design / len(x)
    eigenvalues, eigenvectors = np.linalg.eigh(hessian)
    best = np.linalg.lstsq(design, y, rcond=None)[0]
    path = fit_line(x, y, 0.2, steps=20)
    error = (path - best) @ eigenvectors
    factors = (1 - 0.2 * eigenvalues) ** np.arange(21)[:, np.newaxis]
    # Float32 weights of size 1: 1e-6 of rounding over 20 steps.
    np.testing.assert_allclose(error, error[0] * factors, atol=2e-6)
    assert np.abs(error[-1]).max() < 0.7 * np.abs(error[0]).max()


def test_learning_rate_above_two_over_the_largest_eigenvalue_diverges():
    x, y = points()
    design = np.stack([x, np.ones_like(x)], 1)
    limit = 2 / np.linalg.eigvalsh(2 * design.T @ design / len(x)).max()
    best = np.linalg.lstsq(design, y, rcond=None)[0]

    def distance_after(learning_rate):
        path = fit_line(x, y, learning_rate, steps=60)
        return np.linalg.norm(path[-1] - best) / np.linalg.norm(path[0] - best)

    assert distance_after(0.95 * limit) < 1
    assert distance_after(1.05 * limit) > 1


def test_heavy_ball_follows_its_recurrence():
    momentum, learning_rate, curvature = 0.8, 0.1, 3.0
    w = keras.Variable(1.0)
    optimizer = gdtrain.GradientDescent(learning_rate, momentum=momentum)
    expected, velocity = 1.0, 0.0
    for _ in range(40):
        optimizer.apply([curvature * w.value], [w])
        velocity = momentum * velocity - learning_rate * curvature * expected
        expected += velocity
        assert float(w) == pytest.approx(expected, abs=1e-6)


def test_hand_written_loop_gives_the_same_path():
    x, y = points()
    w, b = 0.0, -1.0
    for _ in range(20):
        error = w * x + b - y
        w -= 0.2 * 2 * np.mean(error * x)
        b -= 0.2 * 2 * np.mean(error)
    np.testing.assert_allclose(
        fit_line(x, y, 0.2, steps=20)[-1], [w, b], atol=1e-6
    )


def test_clipped_step_has_the_length_of_the_limit():
    x, y = points()
    path = fit_line(x, y, 0.5, steps=1, global_clipnorm=0.3)
    assert np.linalg.norm(path[1] - path[0]) == pytest.approx(0.15, rel=1e-5)
