"""The loss is smooth, and falls no more.

Trigger:
    The loss does not fall beyond noise in the last half, or less than
    {trend.LEFT:.1%} of the gain is to come; it varies by no more than 0.1% of
    the gain; and nothing else was found.
Evidence:
    `start`, `end` and `noise` of the loss; `share_left` of the gain.
Confused with:
    "learning rate decayed too early", where the rate stands still, not the
    descent; "plateau", where the gradient grows. How low the loss could be
    with other layers does not show in it.
Advice:
    Stop here: more steps change nothing.
Example:

>>> import numpy as np, gdtrain
>>> from gdtrain.telemetry import StepTable
>>> n = np.arange(200)
>>> loss = 0.2 + np.exp(-n / 5)
>>> print(gdtrain.diagnose(StepTable(n + 1, ["loss"], loss[:, np.newaxis])))
converged (confidence 0.80, steps 101 to 200)
  The loss came from 1.2 to 0.2 and falls no more.
  Stop here: more steps change nothing.
"""

from gdtrain.diagnosis.case import Case
from gdtrain.diagnosis.trend import LEFT, Trend
from gdtrain.diagnosis.verdict import Verdict, confidence

NAME = "converged"


def judge(case: Case) -> list[Verdict]:
    """A list of one verdict, or none."""
    course = case.run.trend
    if case.found or course is None or course.still_falls or course.is_noisy:
        return []
    return [_verdict(case, course)]


def _verdict(case: Case, course: Trend) -> Verdict:
    run = case.run
    advice = "Stop here: more steps change nothing."
    if course.rise:
        advice = "Try a smaller learning rate, or start again from the best."
    elif run.has_decayed:
        advice = (
            "Stop here: more steps at learning_rate "
            f"{run.last_learning_rate:.2g} change nothing."
        )
    return Verdict(
        NAME,
        confidence(LEFT / max(course.left, 1e-9), most=case.most),
        run.last_half,
        course.numbers | {"share_left": course.left},
        f"The {run.mean_loss} came from {course.start:.4g} to "
        f"{course.end:.4g} and falls no more{course.rise}.",
        advice,
        is_trouble=False,
    )
