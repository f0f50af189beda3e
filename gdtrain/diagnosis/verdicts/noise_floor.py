"""The loss varies with the batches, and falls no more.

Trigger:
    The loss does not fall beyond noise in the last half, by less than
    {trend.FALLS:g} standard errors; it varies from step to step by more than
    0.1% of the gain; and nothing else was found.
Evidence:
    `start`, `end` and `noise` of the loss.
Confused with:
    "oscillating", where the loss turns back at nearly each step.
    "learning rate too small", where it is still to fall: it has fallen here.
Advice:
    If the loss is too high: lower the learning rate, or use larger batches.
Example:

>>> import numpy as np, gdtrain
>>> from gdtrain.telemetry import StepTable
>>> n = np.arange(200)
>>> noise = np.random.default_rng(0).normal(0, 0.03, 200)
>>> loss = 0.2 + np.exp(-n / 10) + noise
>>> print(gdtrain.diagnose(StepTable(n + 1, ["loss"], loss[:, np.newaxis])))
noise floor (confidence 0.80, steps 101 to 200)
  The loss stays at 0.1936 and varies by 0.031 a step with the batches.
  If that is too high: lower the learning rate, or use larger batches.
"""

from gdtrain.diagnosis.case import Case
from gdtrain.diagnosis.trend import FALLS, Trend
from gdtrain.diagnosis.verdict import Verdict, confidence

NAME = "noise floor"


def judge(case: Case) -> list[Verdict]:
    """A list of one verdict, or none."""
    course = case.run.trend
    if (
        case.found
        or course is None
        or course.still_falls
        or not course.is_noisy
    ):
        return []
    return [_verdict(case, course)]


def _verdict(case: Case, course: Trend) -> Verdict:
    run = case.run
    # Where it did not clearly fall before, it may have hardly begun.
    fell = course.gain / max(FALLS * course.noise, 1e-30)
    sure = confidence(
        FALLS / max(course.fall, 1e-9), max(fell, 1e-9), most=case.most
    )
    lower = "lower the learning rate, or use larger batches"
    if run.has_decayed:
        lower = (
            f"use larger batches, or keep a learning rate between "
            f"{run.last_learning_rate:.2g} and {run.learning_rate:.2g} for "
            "longer"
        )
    return Verdict(
        NAME,
        sure,
        run.last_half,
        course.numbers,
        f"The loss stays at {course.end:.4g} and varies by {course.noise:.2g} "
        f"a step with the batches{course.rise}.",
        f"If that is too high: {lower}.",
        is_trouble=False,
    )
