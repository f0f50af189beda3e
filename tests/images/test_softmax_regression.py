"""Softmax regressions side by side."""

import numpy as np
import pytest

from gdtrain.images import cross_entropy
from gdtrain.images.softmax_regression import SoftmaxRegressions
from tests.images.test_cross_entropy import data, least


def test_regressions_with_weights_of_their_own_are_each_solved():
    coordinates, labels, weights = data()
    regressions = SoftmaxRegressions(coordinates, labels, weights, classes=3)
    for l2 in (1.0, 0.03):  # From strong to weak, with one model
        proof = regressions.solve(l2, 1e-9, 2000)
        assert proof.gap.max() <= 1e-9
        for i in range(2):
            value = least(coordinates, labels, weights[i], l2)
            assert proof.objective[i] - value < 2e-9
    first = SoftmaxRegressions(coordinates, labels, weights[:1], classes=3)
    alone = first.solve(0.03, 1e-9, 2000)
    assert np.abs(alone.logits[:, 0] - proof.logits[:, 0]).max() < 1e-3


def test_solved_regressions_take_no_step():
    regressions = SoftmaxRegressions(*data(), classes=3)
    regressions.solve(0.1, 1e-6, 1000)
    steps = len(regressions.losses)
    assert steps > 0
    regressions.solve(0.1, 1e-6, 1000)
    assert len(regressions.losses) == steps


def test_descent_recovers_from_a_learning_rate_that_is_too_large(monkeypatch):
    monkeypatch.setattr(
        SoftmaxRegressions, "_sharpness", lambda regressions: 0.02
    )
    regressions = SoftmaxRegressions(*data(), classes=3)
    assert regressions.solve(0.1, 1e-8, 3000).gap.max() <= 1e-8


def test_loss_is_the_sum_of_the_objectives():
    coordinates, labels, weights = data()
    regressions = SoftmaxRegressions(coordinates, labels, weights, classes=3)
    regressions.solve(0.1, 1e-8, 1000)
    # The first step is at kernels of zero, with the best bias.
    proof = cross_entropy.prove(
        coordinates, labels, weights, np.zeros([6, 2, 3]), np.zeros([2, 3]), 1.0
    )
    assert regressions.losses[0] == pytest.approx(
        proof.objective.sum(), rel=1e-5
    )
