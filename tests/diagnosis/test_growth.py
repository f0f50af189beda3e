"""Growth of a loss, and the limit that follows, against closed forms."""

import numpy as np
import pytest

from gdtrain.diagnosis.limits import growth, stable_limit
from tests.diagnosis.descents import bowl


@pytest.mark.parametrize("share", [1.05, 1.5, 3.1, 8.0])
def test_limit_of_a_bowl_is_two_over_its_sharpness(share):
    sharpness, rate = 12.5, share * 2 / 12.5
    loss = bowl([sharpness, 3.0, 0.1], rate, 60)["loss"]
    found = growth(loss, np.arange(60))
    # The steepest direction alone: its error is 1 - rate * sharpness a step.
    assert found.factor == pytest.approx((1 - 2 * share) ** 2, rel=1e-3)
    assert stable_limit(rate, found.factor) == pytest.approx(
        2 / sharpness, rel=1e-3
    )


def test_growth_is_shared_among_steps_that_were_left_out():
    loss, steps = 2.25 ** np.arange(40.0), np.arange(40)
    assert growth(loss[::5], steps[::5]).factor == pytest.approx(2.25)


def test_rise_begins_at_the_lowest_loss():
    loss = np.array([8.0, 4.0, 2.0, 1.0, 3.0, 9.0, 27.0])
    found = growth(loss, np.arange(7))
    assert found.rows == (3, 6)
    assert found.total == pytest.approx(27)
    assert found.factor == pytest.approx(3)


def test_rise_that_falls_again_ends_at_its_top():
    loss = np.array([1.0, 5.0, 25.0, 2.0, 1.0])
    assert growth(loss, np.arange(5)).rows == (0, 2)


@pytest.mark.parametrize(
    "loss", [[1.0], [3.0, 2.0, 1.0], [1.0, 1.0], [0.0, 1.0], [-1.0, 2.0]]
)
def test_there_is_no_growth_without_a_rise_or_logarithm(loss):
    assert growth(np.array(loss), np.arange(len(loss))) is None
