"""What follows from trials of rates, whose losses are made up here."""

import dataclasses
import math
import types

import numpy as np
import pytest

from gdtrain.diagnosis.diagnose import tried, verdicts_on
from gdtrain.diagnosis.rate_trials import RateTrials
from gdtrain.diagnosis.trial import Trial
from gdtrain.diagnosis.verdict import Change, Verdict
from gdtrain.diagnosis.verdicts import oscillating, plateau, weight_decay
from tests.diagnosis.descents import bowl
from tests.diagnosis.runs import case_of

RATE = 0.1


class MadeUp:
    """Trials of 50 steps that come to given losses.

    Args:
        last, new: After steps as in the run, from the last and from new
            weights.
        by_rate: By start and rate; without one, the loss stays as it was.
    """

    reason = None
    before = {"last": 1.0, "new": 2.0}

    def __init__(self, by_rate, last=1.0, new=1.0):
        self.by_rate, self.without = by_rate, {"last": last, "new": new}

    def loss(self, start):
        return self.before[start]

    def run(self, changes, start=None):
        [(kind, rate)] = changes
        start = start or {"learning_rate": "new"}.get(kind, "last")
        given = self.by_rate.get(start, {})
        near = [one for one in given if math.isclose(one, rate)]
        changed = given[near[0]] if near else self.before[start]
        return Trial(
            tuple(changes), 50, start, self.before[start],
            self.without[start], changed,
        )  # fmt: skip


def case_with(trials, **columns):
    """A run that falls from 2 to 1, with trials of rates."""
    rates = RateTrials(trials, RATE, has_decayed=False)
    columns = {
        "loss": 1 + np.exp(-np.arange(60) / 10),
        "learning_rate": np.full(60, RATE),
        **columns,
    }
    return dataclasses.replace(case_of(**columns), rate_trials=rates)


def names(case):
    return [one.name for one in verdicts_on(case)]


@pytest.mark.parametrize("from_new", [0.7, 1.1])
def test_smaller_rate_must_be_better_from_new_weights_too(from_new):
    """At the end of a run, it nearly always is: noise becomes less."""
    made_up = MadeUp({"last": {0.01: 0.4}, "new": {0.01: from_new}})
    case = case_with(made_up)
    is_better = from_new < 1
    assert bool(case.rate_trials.decides_for("smaller")) == is_better
    assert case.rate_trials.rules_out("smaller") != is_better
    assert (oscillating.NAME in names(case)) == is_better


def test_second_best_rate_is_advised_where_the_best_does_not_hold():
    """As 100 times the rate may be just at the limit, and 10 times far below.

    At the limit the loss falls from the last weights, and not from new ones.
    """
    made_up = MadeUp(
        {"last": {1.0: 0.5, 10.0: 0.4}, "new": {1.0: 0.6, 10.0: 2.0}}
    )
    trials = case_with(made_up).rate_trials
    assert trials.of("larger").rate == 10.0
    assert trials.decides_for("larger").rate == 1.0
    assert not trials.rules_out("larger")


def test_larger_rate_that_is_worse_from_the_start_is_not_advised():
    made_up = MadeUp({"last": {1.0: 0.3}, "new": {1.0: math.inf}})
    found = verdicts_on(case_with(made_up))
    assert not any(one.is_trouble for one in found)
    made_up.by_rate["new"] = {1.0: 1.2}  # Slow to begin
    (found,) = verdicts_on(case_with(made_up))
    assert found.name == "learning rate too small"
    assert found.changes == (Change("learning_rate", 1.0),)
    assert tried(found, None) is found  # It has been tried


def test_rates_that_are_not_finite_give_way_to_smaller_ones():
    new = {0.01: math.inf, 0.001: math.inf, 1e-4: 0.5}
    rates = RateTrials(MadeUp({"new": new}), RATE, has_decayed=False)
    assert rates.of("smaller from new weights").rate == pytest.approx(1e-4)


def test_of_rates_that_do_as_well_from_new_weights_the_least_is_taken():
    new = {0.01: 0.5, 0.001: 0.55}
    rates = RateTrials(MadeUp({"new": new}), RATE, has_decayed=False)
    assert rates.of("smaller from new weights").rate == pytest.approx(0.001)
    new[0.001] = 0.7
    rates = RateTrials(MadeUp({"new": new}), RATE, has_decayed=False)
    assert rates.of("smaller from new weights").rate == pytest.approx(0.01)


def test_rate_below_the_limit_that_fails_is_replaced_by_a_tried_one():
    grows = bowl([25.0], RATE, 60)
    new = {0.01: 0.5}
    made_up = MadeUp({"new": new}, last=math.inf, new=math.inf)
    alone = case_of(**grows)
    [usual] = verdicts_on(alone)[0].changes  # Half the rate, or less
    for loss, expected in ((math.inf, 0.01), (0.4, usual.value)):
        new[usual.value] = loss
        found = verdicts_on(case_with(made_up, **grows))[0]
        assert found.name.endswith("diverging")
        assert found.evidence["stable_learning_rate"] == pytest.approx(0.08)
        assert found.changes[0].value == pytest.approx(expected)


def test_saddle_is_one_that_larger_steps_lead_away_from():
    growth = 1.05 ** np.arange(80)
    columns = {
        "loss": np.concatenate([np.linspace(3, 1, 20), 1 - 1e-9 * growth[:60]]),
        "gradient_norm": 1e-4 * growth,
        "learning_rate": np.full(80, RATE),
    }
    at_rest = case_with(MadeUp({}), **columns)
    assert plateau.NAME not in names(at_rest)
    leaves = MadeUp({"last": {1.0: 0.85}, "new": {1.0: 0.5}})
    assert names(case_with(leaves, **columns)) == [plateau.NAME]


def test_gain_begins_below_the_loss_of_a_constant():
    far_off = Trial((), 50, "new", 1e4, without=155.0, changed=5.0)
    assert far_off.share < 0.02
    assert dataclasses.replace(far_off, constant=6.0).share > 0.95
    lost = dataclasses.replace(far_off, before=math.nan, constant=6.0)
    assert lost.share > 0.95


@pytest.mark.parametrize(
    ("changed", "words"),
    [(0.5, "fell from 2 to 0.5"), (0.98, "no great help"), (1.5, "it worse")],
)
def test_advice_that_did_not_help_is_not_given(changed, words):
    verdict = Verdict(
        "overshot", 0.9, (1, 9), {}, "", "Try 0.01.",
        changes=(Change("learning_rate", 0.01),),
    )  # fmt: skip
    found = tried(verdict, MadeUp({"new": {0.01: changed}}))
    assert words in found.advice
    assert bool(found.changes) == (changed == 0.5)
    assert found.advice.startswith("Try") == (changed == 0.5)


@pytest.mark.parametrize("start", ["last", "new"])
def test_weight_decay_that_holds_back_is_seen_from_one_start_or_the_other(
    start,
):
    """Weights that have decayed to nothing do not grow again."""
    task = types.SimpleNamespace(
        strength_of_decay=0.3,
        constant_loss=None,
        losses_of_longer=lambda factors: None,
        regularization=types.SimpleNamespace(gradient_share=None),
    )
    case = case_with(MadeUp({start: {0.0: 0.7}}))
    (found,) = weight_decay.judge(dataclasses.replace(case, task=task))
    assert found.changes == (Change("weight_decay", 0.0),)
    assert found.evidence["share_of_gain"] == pytest.approx(0.3 / 1.3)
    as_good = case_with(MadeUp({start: {0.0: 0.95}}))
    assert not weight_decay.judge(dataclasses.replace(as_good, task=task))
