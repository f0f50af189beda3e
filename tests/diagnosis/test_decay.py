"""A learning rate that decays to nothing, in time and too early."""

import numpy as np
import pytest

import gdtrain
from tests.diagnosis.descents import noisy, telemetry_of
from tests.diagnosis.runs import run_of


def descent(rates, curve=1.0, least=0.5):
    """Columns of plain descent in `least + curve * w ** 2 / 2` from 2."""
    w, rows = 2.0, []
    for rate in rates:
        rows.append((least + curve * w**2 / 2, curve * abs(w)))
        w -= rate * curve * w
    loss, norms = np.array(rows).T
    return {"loss": loss, "learning_rate": rates, "gradient_norm": norms}


def share_of_last_half(run):
    half = len(run.distance) // 2
    return 1 - run.distance[half] / run.distance[-1]


def verdict_on(columns):
    return gdtrain.diagnose(telemetry_of(**columns)).verdict


AT_ONCE = 0.1 * 0.316 ** np.arange(300.0)


def test_rate_that_decays_at_once_is_told_and_not_called_converged():
    found = verdict_on(descent(AT_ONCE))
    assert found.name == "learning rate decayed too early"
    # 0.1 * 0.316 ** 299 is 0 in float32: telemetry keeps no more.
    assert "decayed from 0.1 to 0: steps 4 to 300, 99% of all" in found.text
    assert found.advice == (
        "Let the learning rate decay later: keep it near 0.1 for more steps."
    )
    assert found.evidence["largest_learning_rate"] == pytest.approx(0.1)


@pytest.mark.parametrize("last", [0.0, 9e-7])
def test_rate_that_falls_to_a_last_one_too_early_is_told(last):
    rates = np.where(np.arange(200) < 12, 0.02, last)
    found = verdict_on(descent(rates))
    assert found.name == "learning rate decayed too early"
    assert f"from 0.02 to {last:.3g}: steps 1" in found.text
    assert "near 0.02" in found.advice


def test_descent_that_ended_before_the_rate_did_has_converged():
    rates = np.where(np.arange(300) < 100, 0.5, 1e-7)
    found = verdict_on(descent(rates))
    assert found.name == "converged"
    assert found.advice == (
        "Stop here: more steps at learning_rate 1e-07 change nothing."
    )


def test_minimum_that_was_found_within_few_steps_has_converged():
    # The rate is gone after 2 steps, but so is the gradient.
    columns = descent(0.999 * 0.1 ** np.arange(100.0))
    assert verdict_on(columns).name == "converged"


def test_schedules_that_last_are_judged_as_before():
    places = np.arange(300)
    cosine = 0.05 * (1 + np.cos(np.pi * places / 299))
    run = run_of(**descent(cosine))
    assert run.moving is run
    # The mean of the last half of a cosine is 1/2 - 1/pi of the first.
    assert share_of_last_half(run) == pytest.approx(0.5 - 1 / np.pi, rel=0.03)
    assert verdict_on(descent(cosine)).name == "converged"
    rising = np.geomspace(1e-6, 0.1, 300)
    run = run_of(**descent(rising))
    assert run.moving is run


def test_noise_of_the_batches_after_the_decay_is_no_oscillation():
    rates = 0.1 * 0.9 ** np.arange(200.0)
    loss = 1 + np.exp(-np.arange(200) / 4)
    loss[150:] += 0.2 * (-1.0) ** np.arange(50)
    found = verdict_on({"loss": loss, "learning_rate": rates})
    assert "oscillating" not in found.name


def test_oscillation_is_told_with_the_rate_that_was_in_force():
    rates = np.where(np.arange(100) < 95, 0.4, 9e-7)
    loss = 2 + 0.5 * (-1.0) ** np.arange(100)
    found = verdict_on({"loss": loss, "learning_rate": rates})
    assert found.name == "learning rate too large: oscillating"
    assert found.advice == "Try 0.2."


def test_noise_floor_of_a_decayed_rate_is_not_told_to_lower_it():
    rates = np.where(np.arange(300) < 200, 0.1, 1e-4)
    loss = noisy(1 + np.exp(-np.arange(300) / 20), 0.05, 300)
    found = verdict_on({"loss": loss, "learning_rate": rates})
    assert found.name == "noise floor"
    assert "lower the learning rate" not in found.advice
    assert "between 0.0001 and 0.1 for longer" in found.advice


def test_steps_between_measurements_count():
    rates = np.where(np.arange(10) < 5, 0.1, 1e-3)
    loss = 1 - 0.01 * np.arange(10.0)
    for steps in np.arange(1, 11), 100 * np.arange(1, 11):
        run = run_of(steps, loss=loss, learning_rate=rates)
        spacing = steps[0]
        assert run.distance[-1] == pytest.approx(0.505 * spacing)
    uneven = np.array([1, 2, 3, 4, 5, 10, 20, 30, 40, 1000])
    run = run_of(uneven, loss=loss, learning_rate=rates)
    assert run.distance[-1] == pytest.approx(0.5 + 0.995)


@pytest.mark.parametrize(("end", "is_early"), [(20, True), (200, False)])
@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_what_was_to_come_when_the_rate_decayed_decides(end, is_early, noise):
    """By the closed form of the loss at a constant rate."""
    rates = np.where(np.arange(600) < end, 0.01, 1e-6)
    columns = descent(rates, least=1.0)
    columns["loss"] = noisy(columns["loss"], noise, 600)
    left = 0.99 ** (2 * end)
    found = verdict_on(columns)
    assert (found.name == "learning rate decayed too early") == is_early
    if is_early and not noise:
        share = found.evidence["share_left"]
        assert share == pytest.approx(left, rel=0.1)
        assert found.changes == (
            ("constant_learning_rate", pytest.approx(0.01)),
        )
    elif not is_early:
        assert not found.is_trouble


def test_rate_that_was_large_for_few_steps_only_decayed_too_early():
    """With noise, nobody knows what the loss would have come to."""
    rates = 0.1 * 0.5 ** np.arange(300.0)
    loss = noisy(np.where(np.arange(300) < 4, 1.0, 0.9), 0.1, 300)
    found = verdict_on({"loss": loss, "learning_rate": rates})
    assert found.name == "learning rate decayed too early"
