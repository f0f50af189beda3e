"""The learning rate decayed to nothing while the loss still fell.

Trigger:
    The last half of the steps or more add less than {run.WASTED:.0%} to the
    sum of all learning rates, and before that the loss still fell, with
    {LEFT:.0%} of the gain or more to come; or the rate was near its largest
    for {FEW:.0%} of the steps only. With the model: a rate that is held, tried
    for some steps, adds {rate_trials.ENOUGH:.0%} of the gain or more.
Evidence:
    `learning_rate` at the end, `largest_learning_rate`,
    `share_of_steps_after_decay`, and `share_left` of the gain; or
    `share_of_gain`, what the trial adds.
Confused with:
    "converged": a loss stands still after a decay whether or not it could
    fall. "learning rate too small", where it was too small from the start.
Advice:
    Let the learning rate decay later: keep it near its largest for more
    steps.
Example:

>>> import numpy as np, gdtrain
>>> from gdtrain.telemetry import StepTable
>>> n = np.arange(200)
>>> rate = 0.1 * 0.9**n
>>> loss = np.exp(-np.cumsum(rate))  # As far as the rates take it
>>> columns = np.stack([loss, rate], 1)
>>> table = StepTable(n + 1, ["loss", "learning_rate"], columns)
>>> print(gdtrain.diagnose(table))
learning rate decayed too early (confidence 0.71, steps 30 to 200)
  The learning rate decayed from 0.1 to 7.84e-11: steps 30 to 200, 86% of all,
    hardly move the weights.
  Let the learning rate decay later: keep it near 0.1 for more steps.
"""

from gdtrain.diagnosis.case import Case
from gdtrain.diagnosis.rate_trials import ENOUGH, RateTrial
from gdtrain.diagnosis.run import Run
from gdtrain.diagnosis.verdict import Change, Verdict, confidence
from gdtrain.diagnosis.verdicts.nonfinite import is_broken

NAME = "learning rate decayed too early"

LEFT = 0.1  # Share of the gain that was still to come
FEW = 0.1  # Of all steps, as many as would have gone as far at the full rate


def judge(case: Case) -> list[Verdict]:
    """A list of one verdict, or none.

    That a loss stands still after the decay says nothing of the descent. What
    counts is whether it still fell before; if the rate was near its largest
    for few steps only, it is taken that it did.
    """
    run = case.run
    moving = run.moving
    if is_broken(case.found):
        return []
    if case.rate_trials:
        held = case.rate_trials.of("held")
        if held and moving is not run and held.share >= ENOUGH:
            return [_by_trial(run, held)]  # Though a larger one were better
        if tried := case.rate_trials.decides_for("held"):
            return [_by_trial(run, tried)]
        if case.rate_trials.rules_out("held"):
            return []
    if moving is run or run.gradient_is_rounding:
        return []
    then = moving.trend_by_distance
    falls = then is None or (then.still_falls and then.left > LEFT)
    largest, last = run.learning_rate, run.last_learning_rate
    assert largest is not None  # As `moving` is a part of the run
    if not falls and _full_steps(run, largest) > FEW:
        return []
    first, end = int(run.steps[len(moving.steps)]), run.span[1]
    wasted = (end - first + 1) / (end - run.span[0] + 1)
    evidence = {
        "learning_rate": last,
        "largest_learning_rate": largest,
        "share_of_steps_after_decay": wasted,
    }
    sure = confidence(2 * wasted)
    came = ""
    if then is not None and falls:
        evidence["share_left"] = then.left
        sure = min(sure, confidence(then.left / LEFT))
        came = (
            f" Before, the {run.mean_loss} fell from {then.start:.4g} to "
            f"{then.end:.4g}, and {then.left:.0%} of the gain was to come."
        )
    return [
        Verdict(
            NAME,
            sure,
            (first, end),
            evidence,
            f"The learning rate decayed from {largest:.3g} to {last:.3g}: "
            f"steps {first:,} to {end:,}, {wasted:.0%} of all, hardly move "
            f"the weights.{came}",
            "Let the learning rate decay later: keep it near "
            f"{largest:.3g} for more steps.",
            changes=(Change("constant_learning_rate", largest),),
        )
    ]


def _full_steps(run: Run, rate: float) -> float:
    """How many steps at a rate go as far as all steps did, as a share of them.

    If they are few, nobody knows what the loss would have come to.
    """
    return float(run.distance[-1]) / (rate * (run.span[1] - run.span[0] + 1))


def _by_trial(run: Run, tried: RateTrial) -> Verdict:
    """From some more steps at a rate that does not decay."""
    largest, last = run.learning_rate, run.last_learning_rate
    return tried.verdict(
        NAME,
        run.span,
        last,
        f"The learning rate decayed from {largest:.3g} to {last:.3g}: with "
        f"{tried.rate:.2g}, {tried.trial}.",
        f"Let the learning rate decay later: keep it near {tried.rate:.3g} "
        "for more steps.",
        "constant_learning_rate",
    )
