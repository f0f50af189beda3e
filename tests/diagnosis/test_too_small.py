"""A learning rate that is too small, and how long it would take."""

import numpy as np
import pytest

import gdtrain
from gdtrain.diagnosis.trend import trend
from gdtrain.diagnosis.verdicts.too_small import (
    fastest,
    judge,
    path_length,
    slowing,
    steps_needed,
)
from tests.diagnosis.descents import bowl, noisy, telemetry_of
from tests.diagnosis.runs import case_of, run_of


@pytest.mark.parametrize("share", [2e-4, 5e-4, 8e-4])
@pytest.mark.parametrize("every", [1, 4])
def test_steps_needed_are_those_of_the_closed_form(share, every):
    curve, count = 3.0, 200
    rate = share * 2 / curve
    columns = bowl([curve], rate, count)
    steps = np.arange(1, count + 1)[::every]
    thin = {name: values[::every] for name, values in columns.items()}
    (found,) = judge(case_of(steps, **thin))
    assert found.name == "learning rate too small"
    # The loss is (1 - rate * curve) ** (2 * steps) of the first.
    in_all = np.log(0.01) / np.log((1 - rate * curve) ** 2)
    # Losses are float32, of which third differences tell the level.
    assert found.evidence["tends_to"] == pytest.approx(0, abs=0.02 * curve)
    assert found.evidence["steps_needed"] == pytest.approx(
        in_all - steps[-1], rel=0.05
    )
    assert f"{found.evidence['steps_needed']:,.0f} more" in found.text
    assert f"Try {10 * rate:.2g}, ten times" in found.advice


def test_the_slowest_direction_decides_how_many_steps_are_needed():
    rate, slow, count = 0.1, 0.02, 100
    loss = bowl([2.0] + [slow] * 50, rate, count)["loss"]
    found = steps_needed(np.arange(1.0, count + 1), trend(loss))
    # The fast one is gone soon; 50 slow ones shrink by the same factor.
    factor = (1 - rate * slow) ** 2
    excess, wanted = 50 * slow / 2 * factor ** (count - 1), 0.01 * loss[0]
    assert found == pytest.approx(
        np.log(wanted / excess) / np.log(factor), abs=1
    )


def test_fastest_step_is_a_share_of_the_gain():
    columns = bowl([1.0], 0.01, 100)
    course = trend(columns["loss"])
    steps = np.arange(1.0, 101)
    # Two steps at a time, the first of which lose the most.
    lost = columns["loss"][:2].mean() - columns["loss"][2:4].mean()
    assert fastest(columns["loss"], steps, course) == pytest.approx(
        lost / 2 / (course.start - course.limit), rel=1e-6
    )
    assert fastest(columns["loss"], steps, course) == pytest.approx(
        1 - 0.99**2, rel=0.02
    )
    flat = np.full(100, 2.0)
    assert fastest(flat, steps, trend(flat)) == 0


def test_path_is_the_sum_of_the_updates_over_the_weights():
    columns = bowl([1.0, 0.5], 0.01, 50)
    run = run_of(**columns)
    assert path_length(run) == pytest.approx(
        columns["update_ratio__bowl"].sum(), rel=1e-6
    )
    # Measured at every fifth step, and infinite where weights are zero.
    thin = np.full(50, np.nan)
    thin[::5] = columns["update_ratio__bowl"][2::5]
    columns["update_ratio__bowl"] = thin
    assert path_length(run_of(**columns)) == pytest.approx(
        np.nansum(thin) * 5, rel=1e-6
    )
    del columns["update_ratio__bowl"]
    assert path_length(run_of(**columns)) == 0


def test_updates_that_come_to_rest_slow_down():
    run = run_of(**bowl([1.0], 0.5, 40))
    # The error halves a step; the weights' length hardly changes: 10 to 11.
    assert slowing(run) == pytest.approx(0.5**30, rel=0.1)
    assert slowing(run_of(**bowl([1.0], 1e-5, 40))) == pytest.approx(1, 1e-3)
    assert slowing(run_of(loss=np.ones(9))) == 0


def test_short_way_to_the_least_is_no_sign_of_a_small_rate():
    columns = bowl([1.0, 0.5], 0.5, 200, least=1.0)
    assert path_length(run_of(**columns)) < 1
    assert judge(case_of(**columns)) == []


def test_weights_that_hardly_move_are_told_of_under_noise():
    count = 200
    columns = {
        "loss": noisy(5.0, 1.0, count),
        "learning_rate": np.full(count, 1e-6),
        "weight_norm__a": np.linspace(10, 10.01, count),
        "update_ratio__a": np.full(count, 1e-5),
    }
    (found,) = judge(case_of(**columns))
    assert found.evidence["path"] == pytest.approx(200 * 1e-5, rel=1e-3)
    columns["update_ratio__a"] = np.full(count, 1e-1)
    assert judge(case_of(**columns)) == []


def test_epochs_tell_a_slow_descent_that_batches_hide():
    epochs, length = 40, 8
    random = np.random.default_rng(0)
    course = 5 * 0.9995 ** np.arange(epochs * length)
    batches = random.normal(0, 2, (epochs, length))
    batches -= batches.mean(1, keepdims=True)  # Every example once an epoch
    columns = {
        "loss": course + batches.ravel(),
        "learning_rate": np.full(epochs * length, 1e-4),
    }
    assert judge(case_of(**columns)) == []
    (found,) = judge(case_of(steps_per_epoch=length, **columns))
    # A level is known to 1e-7 of it, its differences to 1%.
    more = np.log(0.01) / np.log(0.9995) - epochs * length
    assert found.evidence["steps_needed"] == pytest.approx(more, rel=0.05)


def test_measured_limit_is_told_of():
    columns = bowl([3.0], 1e-3, 100)
    columns["stable_learning_rate"] = np.full(100, np.nan)
    columns["stable_learning_rate"][50] = 2 / 3
    (found,) = judge(case_of(**columns))
    assert found.evidence["stable_learning_rate"] == pytest.approx(2 / 3)
    assert "0.001 is 0.0015 times the stable limit 0.667" in found.text


def test_good_rates_and_a_rate_of_zero_are_not_too_small():
    assert judge(case_of(**bowl([3.0, 1.0], 0.3, 60))) == []
    assert judge(case_of(**bowl([3.0, 1.0], 0.0, 60))) == []


def test_weights_that_are_not_replaced_once_have_not_begun_to_learn():
    columns = {
        "loss": noisy(1.0, 0.3, 300),
        "learning_rate": np.full(300, 1e-4),
        "update_ratio__layer": np.full(300, 1e-3),
    }
    found = gdtrain.diagnose(telemetry_of(**columns)).verdict
    assert found.name == "learning rate too small"
    columns["update_ratio__layer"] = np.full(300, 1e-2)
    found = gdtrain.diagnose(telemetry_of(**columns)).verdict
    assert found.name == "not learning"


def test_rate_that_throws_the_loss_up_is_not_too_small():
    loss = 1e-3 + 0.3 * 0.98 ** np.arange(200.0)
    loss[0] = 1e-3
    columns = {
        "loss": loss,
        "learning_rate": np.full(200, 1e-3),
        "update_ratio__layer": np.full(200, 1e-3),
    }
    found = gdtrain.diagnose(telemetry_of(**columns)).verdict
    assert found.name != "learning rate too small"
