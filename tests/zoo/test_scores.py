"""The table counts what it says."""

import dataclasses
import math

import pytest

from tests.zoo.scores import (
    Outcome,
    estimate,
    interval,
    row,
    sums,
    table,
    tables,
)
from tests.zoo.sweep import BORDERLINE, HEALTHY

SMALL, LARGE = "learning rate too small", "learning rate too large"
DIVERGING = "learning rate too large: diverging"
ACCEPTED = {
    SMALL: (SMALL,),
    LARGE: (LARGE,),
}


def outcome(label, name, confidence=0.95, followed="", seconds=0.2):
    is_trouble = name not in ("converged", "converging")
    return Outcome(
        label, ACCEPTED.get(label, ()), name, is_trouble, confidence, followed,
        seconds=seconds,
    )  # fmt: skip


FOUND = [
    outcome(SMALL, SMALL, 0.95, "better"),
    outcome(SMALL, SMALL, 0.6, "same"),
    outcome(SMALL, "converging"),
    outcome(LARGE, DIVERGING),
    outcome(LARGE, SMALL, 0.6, "worse"),
    outcome(HEALTHY, "converged"),
    outcome(HEALTHY, "converging"),
    outcome(HEALTHY, SMALL, 0.95, "same"),
    outcome(BORDERLINE, SMALL, 0.95, "worse", 3.0),
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
    assert lines[-10:] == [
        "- 5 faults, 3 healthy runs, 1 borderline (trouble called in 1)",
        "- recall of trouble: 0.80 of 5 (0.38 to 0.96)",
        "- named rightly: 0.60 of 5 (0.23 to 0.88)",
        "- precision of trouble: 0.80 of 5 (0.38 to 0.96)",
        "- false alarms: 0.33 of 3 (0.06 to 0.79)",
        "- right with confidence >= 0.9: 0.67 of 6 (0.30 to 0.90)",
        "- right with less confidence: 0.50 of 2 (0.09 to 0.91)",
        "- contradictions in 0 runs",
        "- advice followed in 5 runs: 1 better, 2 same, 2 worse",
        "- seconds of a diagnosis: median 0.2, largest 3",
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


def hit_or_miss(label, right, wrong, name, other, confidence):
    """So many outcomes that are right, and so many that are wrong."""
    return [outcome(label, name, confidence)] * right + [
        outcome(label, other, confidence)
    ] * wrong


KNOWN = [
    *hit_or_miss(SMALL, 45, 5, SMALL, "converging", 0.95),
    *hit_or_miss(LARGE, 30, 20, DIVERGING, SMALL, 0.5),
    *hit_or_miss(HEALTHY, 95, 5, "converged", LARGE, 0.92),
    *hit_or_miss(BORDERLINE, 7, 0, SMALL, "", 0.92),
]


def test_sums_of_known_numbers():
    """95 troubles found of 100; 5 alarms of 100; 140 right of 150, 30 of 50."""
    assert sums(KNOWN)[:7] == [
        "100 faults, 100 healthy runs, 7 borderline (trouble called in 7)",
        "recall of trouble: 0.95 of 100 (0.89 to 0.98)",
        "named rightly: 0.75 of 100 (0.66 to 0.82)",
        "precision of trouble: 0.95 of 100 (0.89 to 0.98)",
        "false alarms: 0.05 of 100 (0.02 to 0.11)",
        "right with confidence >= 0.9: 0.93 of 150 (0.88 to 0.96)",
        "right with less confidence: 0.60 of 50 (0.46 to 0.72)",
    ]


def test_an_interval_holds_the_share_in_nineteen_of_twenty():
    """By the binomial distribution, of 40 runs with a share of 0.9."""
    held = sum(
        math.comb(40, n) * 0.9**n * 0.1 ** (40 - n)
        for n in range(41)
        if interval(n, 40)[0] <= 0.9 <= interval(n, 40)[1]
    )
    assert held == pytest.approx(0.95, abs=0.02)
    assert interval(0, 7)[0] == 0.0 and interval(7, 7)[1] == 1.0


def test_an_interval_narrows_with_more_runs():
    widths = [
        high - low
        for low, high in (interval(9 * n, 10 * n) for n in (1, 10, 100))
    ]
    assert widths == sorted(widths, reverse=True)
    assert estimate([], bool) == "- of 0"


def test_both_tables_and_the_rows_of_readme_are_printed():
    lines = tables(KNOWN, FOUND)
    assert [line for line in lines if line.startswith("#")] == [
        "## From telemetry alone", "## With the model and its data", "## Both",
    ]  # fmt: skip
    assert "\n".join(table(KNOWN)) in "\n".join(lines)
    assert "\n".join(table(FOUND)) in "\n".join(lines)
    head, rule, alone, with_model = lines[-4:]
    assert {line.count("|") for line in lines[-4:]} == {7}
    assert alone == (
        "| `diagnose(telemetry)` | 0.95 of 100 (0.89 to 0.98) | 0.75 of 100 "
        "(0.66 to 0.82) | 0.95 of 100 (0.89 to 0.98) | 0.05 of 100 "
        "(0.02 to 0.11) | - |"
    )
    assert with_model.endswith("| 1 better, 2 same, 2 worse |")


def test_no_runs_make_a_table():
    assert "- 0 faults, 0 healthy runs, 0 borderline (trouble called in 0)" in (
        table([])
    )
