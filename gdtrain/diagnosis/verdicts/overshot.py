"""Learning rate too large: early updates threw the weights far away.

Optimizers that bound their updates do not diverge at too large a rate, and
units that saturate bound the loss. What remains is a loss that does not come
below its start, of weights that are many times as long.

Trigger:
    The loss ends no lower than it began, the weights of a layer became
    {GROWS:g} times as long or more, and the first {EARLY:.0%} of the updates
    together were as long as the weights or longer. With the model: a smaller
    rate from new weights, tried for some steps, is better than the whole run
    by {rate_trials.ENOUGH:.0%} of the gain or more.
Evidence:
    `growth_of_weights`, `early_path` and `learning_rate`; or `share_of_gain`,
    what the trial adds.
Confused with:
    "diverging", where the loss goes on rising; "not learning", where the
    weights have not moved far.
Advice:
    Start again, with a tenth of the learning rate: these weights are lost.
Example:

>>> import numpy as np, gdtrain
>>> from gdtrain.telemetry import StepTable
>>> n = np.arange(100)
>>> noise = np.random.default_rng(0).normal(0, 0.3, 100)
>>> loss = np.where(n == 0, 0.7, 4 + noise)
>>> length = np.where(n == 0, 60.0, 61.0)
>>> update = np.where(n == 0, 20.0, 0.001)  # As a share of the weights
>>> names = ["loss", "learning_rate"]
>>> names += ["weight_norm/hidden", "update_ratio/hidden"]
>>> columns = [loss, np.full(100, 0.5), length, update]
>>> print(gdtrain.diagnose(StepTable(n + 1, names, np.stack(columns, 1))))
learning rate too large: overshot (confidence 0.80, steps 1 to 100)
  learning_rate 0.5: the weights of hidden became 19.3 times as long, and the
    loss came from 0.7 to 3.979.
  Start again with 0.05, a tenth of it.
"""

import numpy as np

from gdtrain.diagnosis.case import Case
from gdtrain.diagnosis.rate_trials import Kind
from gdtrain.diagnosis.run import Run
from gdtrain.diagnosis.verdict import CURVE, Verdict, confidence, rate_change
from gdtrain.diagnosis.verdicts.nonfinite import is_broken

NAME = "learning rate too large: overshot"

GROWS = 3.0  # Times the first length of the weights
REPLACES = 1.0  # Length of early updates, as a share of the weights
EARLY = 0.1  # Share of the steps


def judge(case: Case) -> list[Verdict]:
    """A list of one verdict, or none."""
    run = case.run
    course = run.trend
    if is_broken(case.found) or course is None or run.is_resumed:
        return []
    if not run.learning_rate:
        return []
    kind: Kind = "smaller from new weights"
    if case.rate_trials:
        if tried := case.rate_trials.decides_for(kind):
            rate = run.learning_rate
            text = (
                f"learning_rate {rate:.3g}: from new weights, "
                f"{tried.trial.steps:,} steps with {tried.rate:.2g} come to "
                f"the loss {tried.trial.changed:.3g}, less than all of this "
                "run."
            )
            advice = f"Start again with {tried.rate:.2g}."
            return [tried.verdict(NAME, run.span, rate, text, advice)]
        if case.rate_trials.rules_out(kind):
            return []
    if course.ends_lower:
        return []
    grown, layer = growth_of_weights(run)
    early = early_path(run)
    margins = grown / GROWS, early / REPLACES
    if min(margins) < 1:
        return []
    rate = run.learning_rate
    return [
        Verdict(
            NAME,
            confidence(*margins, most=CURVE),
            run.span,
            course.numbers
            | {
                "learning_rate": rate,
                "growth_of_weights": grown,
                "early_path": early,
            },
            f"learning_rate {rate:.3g}: the weights of {layer} became "
            f"{grown:.3g} times as long, and the loss came from "
            f"{course.start:.4g} to {course.end:.4g}.",
            f"Start again with {rate / 10:.2g}, a tenth of it.",
            changes=rate_change(rate / 10),
        )
    ]


def growth_of_weights(run: Run) -> tuple[float, str]:
    """By what factor the weights of a layer grew, and which grew most.

    The length before the first update is not measured; it is taken from the
    length after it and that of the update, at the least that it can be.
    """
    best = 0.0, ""
    ratios = run.layers("update_ratio")
    for layer, lengths in run.layers("weight_norm").items():
        known = lengths[np.isfinite(lengths)]
        if not len(known) or not known[0] > 0:
            continue
        first = ratios.get(layer, np.zeros(1))[0]
        before = (
            known[0] / max(first - 1, 1) if np.isfinite(first) else known[0]
        )
        best = max(best, (float(known[-1] / before), layer))
    return best


def early_path(run: Run) -> float:
    """Length of the first tenth of the updates, as a share of the weights.

    Of the layer that moved most. Infinite ratios, of weights of zero, are
    left out.
    """
    found = [0.0]
    for ratios in run.layers("update_ratio").values():
        part = ratios[: max(int(EARLY * len(ratios)), 1)]
        known = part[np.isfinite(part)]
        found.append(float(known.sum()))
    return max(found)
