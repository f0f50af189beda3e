"""The diagnosis is right about trainings of a known state."""

import numpy as np
import pytest

from gdtrain.diagnosis.diagnose import NAMES
from tests.zoo import (
    benches,
    collection,
    data,
    faults,
    healthy,
    limits,
    rates,
    scores,
)
from tests.zoo.__main__ import collect
from tests.zoo.scores import ANY_HEALTHY, HEALTHY, Outcome

SMOKE = [
    rates.oscillating,
    faults.constant_output,
    faults.plateau,
    healthy.short,
]


def wrong(outcomes):
    return [outcome for outcome in outcomes if not outcome.is_right]


def test_a_few_specimens_are_seen_through():
    outcomes = collect(SMOKE, [400])
    assert len(outcomes) > 8
    assert len(wrong(outcomes)) <= 1, wrong(outcomes)


@pytest.mark.long
def test_the_zoo_is_seen_through():
    """On seeds that were not looked at to set thresholds."""
    outcomes = collect(collection.FAULTS + collection.HEALTHY, range(300, 304))
    planted = {outcome.label for outcome in outcomes}
    assert planted == {*NAMES, ANY_HEALTHY}
    sick = [outcome for outcome in outcomes if not outcome.is_healthy]
    well = [outcome for outcome in outcomes if outcome.is_healthy]
    assert min(len(sick), len(well)) >= 60
    for name, (_, precision, recall) in scores.of_each(outcomes).items():
        assert recall >= 0.9, (name, wrong(outcomes))
        if name != ANY_HEALTHY:  # Which is no verdict
            assert precision >= 0.9, (name, wrong(outcomes))
    alarms = [outcome for outcome in well if outcome.is_false_alarm]
    assert len(alarms) <= 0.03 * len(well), alarms


def test_limit_by_power_iteration_is_that_of_the_closed_form():
    bench = benches.get("line, descent")
    points = data.line(7)
    found = limits.limit(bench, points, seed=7)
    assert found == pytest.approx(limits.of_line(points[0]), rel=1e-4)


def test_descent_comes_to_the_least_loss_of_the_closed_form():
    bench = benches.get("line, descent")
    points = data.line(7)
    rate = 0.5 * limits.of_line(points[0])
    telemetry, _ = bench.train(points, rate, 600, seed=7)
    assert telemetry["loss"][-1] == pytest.approx(
        limits.best_loss(*points), rel=1e-4
    )


def test_training_again_gives_the_same_numbers():
    bench = benches.get("line, momentum")
    first, again = (
        bench.train(data.line(3), 0.01, 20, seed=3)[0]["loss"] for _ in range(2)
    )
    np.testing.assert_array_equal(first, again)


def outcome(label, found):
    return Outcome(label, found, "line", 0)


def test_scores_are_shares_of_right_verdicts():
    found = [
        outcome("plateau", "plateau"),
        outcome("plateau", "converged"),
        outcome("converged", "converged"),
        outcome("converged", "converged"),
        outcome("converged", "noise floor"),
        outcome("noise floor", "plateau"),
        outcome(ANY_HEALTHY, "converging"),
        outcome(ANY_HEALTHY, "plateau"),
    ]
    of_each = scores.of_each(found)
    assert of_each["plateau"] == (2, 1 / 3, 1 / 2)
    assert of_each["converged"] == (3, 2 / 3, 2 / 3)
    assert of_each["noise floor"] == (1, 0, 0)
    assert of_each[ANY_HEALTHY][::2] == (2, 1 / 2)
    assert "converging" not in of_each
    lines = scores.table(found)
    assert "| plateau | 2 | 0.33 | 0.50 |" in lines
    assert lines[-1] == (
        "2 faults, 6 healthy runs; false alarms: 2 of 6 (33.3%)"
    )


def test_any_verdict_of_health_is_right_about_a_healthy_run():
    for name in NAMES:
        assert outcome(ANY_HEALTHY, name).is_right == (name in HEALTHY)
        assert outcome("converged", name).is_false_alarm == (
            name not in HEALTHY
        )
        assert not outcome("plateau", name).is_false_alarm
