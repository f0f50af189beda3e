"""The learning rate decayed to nothing while the loss still fell."""

import numpy as np

from gdtrain.diagnosis.case import Case
from gdtrain.diagnosis.run import Run
from gdtrain.diagnosis.trend import ENOUGH, Trend, trend
from gdtrain.diagnosis.verdict import Change, Verdict, confidence
from gdtrain.diagnosis.verdicts.nonfinite import is_broken

NAME = "learning rate decayed too early"

LEFT = 0.1  # Share of the gain that was still to come
_PARTS = 64  # Means that a trend is found from


def judge(case: Case) -> list[Verdict]:
    """A list of one verdict, or none.

    That a loss stands still after the decay says nothing of the descent. What
    counts is whether it still fell before.
    """
    run = case.run
    moving = run.moving
    if is_broken(case.found) or moving is run or run.gradient_is_rounding:
        return []
    then = _trend_by_distance(moving)
    if then is not None and not (then.still_falls and then.left > LEFT):
        return []
    largest, last = run.learning_rate, run.last_learning_rate
    assert largest is not None  # As `moving` is a part of the run
    first, end = int(run.steps[len(moving.steps)]), run.span[1]
    wasted = (end - first + 1) / (end - run.span[0] + 1)
    evidence = {
        "learning_rate": last,
        "largest_learning_rate": largest,
        "share_of_steps_after_decay": wasted,
    }
    sure = confidence(2 * wasted)
    came = ""
    if then is not None:
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


def _trend_by_distance(run: Run) -> Trend | None:
    """The trend of the loss over the sum of learning rates.

    It is as if the rate had been constant: that the loss falls more slowly as
    the rate decays does not show in it. `None` of too few losses.
    """
    loss, distance = run.loss, run.distance[run.loss_rows]
    if len(loss) < ENOUGH:
        return None
    parts = np.ceil(_PARTS * distance / distance[-1]).astype(np.int64) - 1
    counts = np.bincount(parts, minlength=_PARTS)
    sums = np.bincount(parts, loss, minlength=_PARTS)
    means = sums[counts > 0] / counts[counts > 0]
    return trend(loss, means) if len(means) >= ENOUGH else None
