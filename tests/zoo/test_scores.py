"""The table counts what it says."""

import dataclasses

from tests.zoo.scores import Outcome, row, table
from tests.zoo.sweep import BORDERLINE, HEALTHY

SMALL, LARGE = "learning rate too small", "learning rate too large"
DIVERGING = "learning rate too large: diverging"
ACCEPTED = {
    SMALL: (SMALL,),
    LARGE: (LARGE,),
}


def outcome(label, name, confidence=0.95, followed=""):
    is_trouble = name not in ("converged", "converging")
    return Outcome(
        label, ACCEPTED.get(label, ()), name, is_trouble, confidence, followed
    )


FOUND = [
    outcome(SMALL, SMALL, 0.95, "better"),
    outcome(SMALL, SMALL, 0.6, "same"),
    outcome(SMALL, "converging"),
    outcome(LARGE, DIVERGING),
    outcome(LARGE, SMALL, 0.6, "worse"),
    outcome(HEALTHY, "converged"),
    outcome(HEALTHY, "converging"),
    outcome(HEALTHY, SMALL, 0.95, "same"),
    outcome(BORDERLINE, SMALL, 0.95, "worse"),
]


def test_a_row_has_shares_of_its_calls_and_of_its_runs():
    assert row(SMALL, FOUND) == (
        f"| {SMALL} | 3 | 4 | 0.50 | 0.67 | 0.50 | 0.50 | 1 | 2 | 2 |"
    )
    assert row(LARGE, FOUND) == (
        f"| {LARGE} | 2 | 1 | 1.00 | 0.50 | 1.00 | - | 0 | 0 | 0 |"
    )
    assert row(HEALTHY, FOUND) == (
        "| healthy | 3 | 3 | 0.67 | 0.67 | 0.67 | - | 0 | 0 | 0 |"
    )


def test_sums_leave_out_borderline_runs_but_for_their_advice():
    lines = table(FOUND)
    assert lines[-6:] == [
        "5 faults, 3 healthy runs, 1 borderline (trouble called in 1)",
        "trouble: precision 0.80, recall 0.80, by its name 3 of 5",
        "false alarms: 1 of 3 (0.33)",
        "right with confidence >= 0.9: 0.67 of 6, below: 0.50 of 2",
        "contradictions in 0 runs",
        "advice followed in 5 runs: 1 better, 2 same, 2 worse",
    ]
    assert f"| {DIVERGING} | - | 1 | 1.00 | - | 1.00 | - | 0 | 0 | 0 |" in lines


def test_any_verdict_without_trouble_is_right_about_a_healthy_run():
    calm = outcome(HEALTHY, "converging")
    assert calm.is_right
    assert not dataclasses.replace(calm, is_trouble=True).is_right
    assert not dataclasses.replace(calm, label=SMALL).is_right


def test_any_way_in_which_a_cause_is_seen_is_right():
    seen = outcome(LARGE, DIVERGING)
    other = dataclasses.replace(seen, name=f"{LARGE}: overshot")
    assert seen.is_right
    assert other.is_right
    assert not outcome(LARGE, SMALL).is_right
