"""The course of a loss, against courses that are known."""

import numpy as np
import pytest

from gdtrain.diagnosis.trend import drift_of, limit_of, noise_of, trend
from tests.diagnosis.descents import noisy


@pytest.mark.parametrize("pace", [0.9, 0.98, 0.995])
def test_limit_and_share_left_of_a_geometric_descent(pace):
    loss = 3 + 2 * pace ** np.arange(200.0)
    found = trend(loss)
    assert found.limit == pytest.approx(3, rel=1e-6)
    last_quarter = np.mean(2 * pace ** np.arange(175, 200.0))
    assert found.left == pytest.approx(last_quarter / 2, rel=1e-3)
    assert found.gain == pytest.approx(2 - last_quarter)
    assert not found.is_noisy


def test_limit_of_what_does_not_slow_down_is_the_floor():
    assert trend(np.linspace(9, 5, 80)).tends_to == 0
    assert trend(np.linspace(-1, -5, 80)).tends_to == -5
    # For verdicts it is where twice as many steps more would come to.
    for level in (0, -7, 1000):
        found = trend(np.linspace(9, 5, 81) + level)
        assert found.limit == pytest.approx(found.end - 8.0)
        assert found.left == pytest.approx(8 / (8 + found.gain))


def test_limit_of_what_does_not_fall_is_the_last_level():
    assert limit_of(1.0, 2.0, 3.0, floor=0.0) == 3
    found = trend(np.full(40, 7.0))
    assert (found.limit, found.left, found.fall, found.drift) == (7, 0, 0, 0)


def test_noise_is_the_deviation_of_what_was_added():
    course = 1 + np.exp(-np.arange(4000) / 800)
    values = noisy(course, 0.03, 4000)
    assert noise_of(values) == pytest.approx(0.03, rel=0.05)
    assert noise_of(course) < 1e-5
    assert noise_of(np.array([1.0, 5.0])) == 0
    found = trend(values)
    assert found.is_noisy
    assert found.error == pytest.approx(0.03 / np.sqrt(500), rel=0.1)


def test_fall_and_drift_are_in_standard_errors():
    """Of noise alone they are like normal numbers of deviation 1."""
    falls, drifts = [], []
    for seed in range(300):
        values = noisy(5, 0.1, 200, seed)
        falls.append(trend(values).fall)
        drifts.append(drift_of(values))
    # Of 300 draws, a deviation is known to 4%; noise itself to some 10%.
    assert np.std(falls) == pytest.approx(1, abs=0.2)
    assert np.std(drifts) == pytest.approx(1, abs=0.2)
    assert abs(np.mean(falls)) < 0.2


def test_drift_of_a_line_is_its_slope_over_its_error():
    slope, noise, count = 0.004, 0.1, 400
    values = noisy(9 - slope * np.arange(count), noise, count)
    error = noise * np.sqrt(12 / count**3)
    assert drift_of(values) == pytest.approx(slope / error, rel=0.15)


def test_levels_are_means_of_the_last_half_and_of_quarters():
    found = trend(np.arange(16.0))
    assert found.levels == (8.5, 10.5, 12.5, 14.5)
    assert found.quarters == (5.5, 13.5)
    assert (found.start, found.end) == (0, 14.5)


def test_first_updates_that_throw_the_loss_up_are_no_start_to_fall_from():
    random = np.random.default_rng(0)
    loss = 1.4 + 0.05 * random.normal(size=320)
    loss[3:20] += 30
    found = trend(loss, loss.reshape(-1, 8).mean(1))
    assert found.start > found.end + 5
    assert found.jumped and found.came_down and not found.ends_lower
    assert not trend(loss[20:]).jumped
    # A fall below the very first loss is one.
    loss[20:] -= 0.5
    assert trend(loss, loss.reshape(-1, 8).mean(1)).ends_lower


def test_means_of_epochs_show_a_fall_that_batches_hide():
    batches = np.tile(noisy(0, 0.2, 16), 25)
    loss = 1.6 - 1e-4 * np.arange(400) + batches
    assert not trend(loss).ends_lower
    assert trend(loss, loss.reshape(-1, 16).mean(1)).ends_lower
