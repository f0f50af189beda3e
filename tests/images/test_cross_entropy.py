"""How far softmax regressions are from their optimum."""

import numpy as np
import pytest
from scipy import optimize

from gdtrain.images import cross_entropy
from gdtrain.images.cross_entropy import log_softmax


def data(photos=40, axes=6, classes=3, seed=0):
    random = np.random.default_rng(seed)
    labels = np.arange(photos) % classes
    coordinates = random.normal(size=[photos, axes])
    coordinates += random.normal(size=[classes, axes])[labels]
    coordinates *= np.linspace(4, 0.2, axes)
    seen = np.vstack([np.ones(photos), random.integers(0, 2, photos)])
    weights = seen * random.uniform(0.5, 2, size=[2, photos])
    weights /= weights.sum(1, keepdims=True)
    return coordinates.astype(np.float32), labels, weights


def objective(kernel, bias, coordinates, labels, weight, l2):
    """The objective of one regression, and its gradient, in float64."""
    logits = coordinates.astype(np.float64) @ kernel + bias
    logs = log_softmax(logits)
    loss = -weight @ logs[np.arange(len(labels)), labels]
    residuals = weight[:, np.newaxis] * (
        np.exp(logs) - np.eye(len(bias))[labels]
    )
    gradient = coordinates.T.astype(np.float64) @ residuals + l2 * kernel
    value = loss + l2 / 2 * np.sum(kernel**2)
    return value, gradient, residuals.sum(0)


def least(coordinates, labels, weight, l2, classes=3):
    """The least objective, by a search of SciPy's."""
    axes = coordinates.shape[1]

    def function(flat):
        kernel = flat[: axes * classes].reshape(axes, classes)
        value, *gradients = objective(
            kernel, flat[axes * classes :], coordinates, labels, weight, l2
        )
        return value, np.concatenate([g.ravel() for g in gradients])

    start = np.zeros((axes + 1) * classes)
    options = {"gtol": 1e-9, "ftol": 1e-15, "maxiter": 1000}
    return optimize.minimize(
        function, start, jac=True, method="L-BFGS-B", options=options
    ).fun


@pytest.mark.parametrize("size", [0.0, 0.1, 1.0])
def test_gap_bounds_the_distance_from_any_kernel(size):
    coordinates, labels, weights = data()
    kernel = size * np.random.default_rng(1).normal(size=[6, 2, 3])
    proof = cross_entropy.prove(
        coordinates, labels, weights, kernel, np.zeros([2, 3]), 0.05
    )
    for i in range(2):
        value, gradient, by_bias = objective(
            kernel[:, i], proof.bias[i], coordinates, labels, weights[i], 0.05
        )
        assert proof.objective[i] == pytest.approx(value)
        assert proof.gradient_norm[i] == pytest.approx(np.linalg.norm(gradient))
        assert np.abs(by_bias).max() < 1e-12
        distance = value - least(coordinates, labels, weights[i], 0.05)
        assert 0 < distance <= proof.gap[i]


def test_axis_curvature_is_the_mean_of_the_hessians_diagonal():
    coordinates, labels, weights = data(classes=4)
    logits = np.random.default_rng(0).normal(size=[40, 2, 4])
    found = cross_entropy.axis_curvature(coordinates, logits, weights)
    expected = np.zeros(6)
    for i in range(2):
        for photo in range(40):
            chances = np.exp(log_softmax(logits[photo, i]))
            by_logits = np.diag(chances) - np.outer(chances, chances)
            # Of 4 eigenvalues, one is 0.
            mean = np.linalg.eigvalsh(by_logits).sum() / 3
            square = coordinates[photo].astype(float) ** 2
            expected += weights[i, photo] * mean * square / 2
    assert np.allclose(found, expected)


def test_best_bias_has_the_least_cross_entropy():
    random = np.random.default_rng(0)
    labels = np.array([0] * 30 + [1] * 3 + [2] * 7)
    logits = 5 * random.normal(size=[40, 3])
    weight = random.uniform(size=40) / 20
    bias = cross_entropy.best_bias(
        logits, np.eye(3)[labels], weight, np.zeros(3)
    )
    chances = np.exp(log_softmax(logits + bias))
    shares = [weight[labels == label].sum() for label in range(3)]
    assert np.allclose(weight @ chances, shares, atol=1e-13)
    assert bias.mean() == pytest.approx(0, abs=1e-12)
