"""A learning rate that decayed to nothing before the descent had ended."""

from typing import Any

import numpy as np

from gdtrain.insight.diagnosis import at_rest
from gdtrain.insight.diagnosis.trend import ENOUGH, trend_of
from gdtrain.insight.diagnosis.verdict import (
    CONVERGING,
    NOTHING,
    TOO_SMALL,
    Verdict,
    confidence,
)


def in_force(run: Any) -> Any:
    """The part of a run before its learning rate decayed to nothing.

    Returns:
        A `Run`: the same one, unless its last half is worth less than one
        step at the largest learning rate; see `worth_of_last_half`.
    """
    if not run.learning_rate or len(run.loss) < ENOUGH:
        return run
    to_come = _worth_to_come(run)
    if to_come[len(run.steps) // 2] >= 1:
        return run
    return run.until(max(int(np.argmax(to_come < 1)), 1))


def judge(run: Any, moving: Any) -> list[Verdict]:
    """A list of one verdict, or none.

    A loss that stands still while the learning rate is next to nothing tells
    nothing of the descent. What counts is whether it still fell when the
    rate ran out.

    Args:
        run: A `Run`, with a loss of `ENOUGH` steps.
        moving: Its part `in_force`, a shorter one.
    """
    (found,) = at_rest.judge(moving, trend_of(moving))
    if run.only_rounds or found.name not in (CONVERGING, NOTHING):
        return []
    course = trend_of(run)
    largest, last = run.learning_rate, run.last_learning_rate
    worth = worth_of_last_half(run)
    first, end = int(run.steps[len(moving.steps)]), run.span[1]
    text = (
        f"The learning rate decayed from {largest:.3g} to {last:.3g}: steps "
        f"{first:,} to {end:,} together are worth less than one step at "
        f"{largest:.3g}. The {run.mean_loss} came from {course.start:.4g} to "
        f"{course.end:.4g}; whether more is to gain, that cannot tell."
    )
    return [
        Verdict(
            TOO_SMALL,
            confidence(1 / max(worth, 1e-9)),
            (first, end),
            {
                "learning_rate": last,
                "largest_learning_rate": largest,
                "worth_of_last_half": worth,
            },
            text,
            f"Let the learning rate decay later: keep it near {largest:.3g} "
            "for more steps.",
        )
    ]


def worth_of_last_half(run: Any) -> float:
    """How many steps at the largest learning rate the last half is worth.

        worth = sum(learning_rate of the last half) / largest learning_rate

    Args:
        run: A `Run` with learning rates above 0.
    """
    return float(_worth_to_come(run)[len(run.steps) // 2])


def _worth_to_come(run):
    """What the steps from each row on are worth, float64 `[n]`."""
    rates = run.get("learning_rate")
    rows = np.arange(len(rates))
    known = np.isfinite(rates)
    held = np.interp(rows, rows[known], rates[known])
    lengths = np.diff(run.steps, append=2 * run.steps[-1] - run.steps[-2])
    return np.cumsum((held * lengths)[::-1])[::-1] / run.learning_rate
