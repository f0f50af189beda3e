"""Limits from a single step, against closed forms."""

import math

import numpy as np
import pytest

from gdtrain.diagnosis.limits import (
    limit_by_gradient,
    limit_by_two_losses,
    limit_of_step,
    next_growth,
)


def quadratic(eigenvalues, w, rate, least=0.0):
    """`(loss, loss after a step, length of the gradient)`."""
    curve, w = np.asarray(eigenvalues), np.asarray(w)
    after = w - rate * curve * w
    return (
        least + curve @ w**2 / 2,
        least + curve @ after**2 / 2,
        np.linalg.norm(curve * w),
    )


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e12])
def test_one_direction_gives_the_limit_exactly(scale):
    loss, after, norm = quadratic([8.0 * scale], [3.0], 0.7)
    limit = 2 / (8 * scale)
    assert limit_by_gradient(loss, norm) == pytest.approx(limit)
    assert limit_by_two_losses(loss, after, 0.7, norm) == pytest.approx(limit)
    assert limit_of_step(0.7, loss, after, norm) == pytest.approx(limit)
    assert next_growth(0.7, limit) == pytest.approx(after / loss)


def test_limits_of_several_directions_are_never_too_small():
    random = np.random.default_rng(0)
    for _ in range(100):
        curve = random.lognormal(0, 2, 4)
        loss, after, norm = quadratic(
            curve, random.normal(size=4), 5.0, least=random.uniform(0, 3)
        )
        limit = 2 / curve.max()
        assert limit_by_gradient(loss, norm) >= 0.999999 * limit
        found = limit_by_two_losses(loss, after, 5.0, norm)
        assert found >= 0.999999 * limit
        assert limit_of_step(5.0, loss, after, norm) >= 0.999999 * limit


def test_the_least_loss_does_not_change_the_limit_of_two_losses():
    loss, after, norm = quadratic([8.0], [3.0], 0.7, least=1000.0)
    assert limit_by_two_losses(loss, after, 0.7, norm) == pytest.approx(0.25)
    assert limit_by_gradient(loss, norm) > 0.25


def test_lengths_whose_squares_overflow_are_no_trouble():
    assert limit_by_gradient(1e200, 1e200) == pytest.approx(4e-200)
    found = limit_by_two_losses(1e200, 1e300, 1e-50, 1e200)
    assert 0 < found < math.inf


def test_what_is_not_known_gives_no_limit():
    assert limit_of_step(1.0, 8.0, None, None) is None
    assert limit_of_step(1.0, 8.0, None, 8.0) == 0.5
    assert limit_by_gradient(8.0, 0.0) == math.inf
    assert limit_by_two_losses(8.0, 8.0, 1.0, 0.0) == math.inf
    # The loss falls faster than its gradient says: it curves down.
    assert limit_by_two_losses(8.0, -100.0, 1.0, 8.0) == math.inf
