"""The loss falls.

Trigger:
    The loss falls beyond noise in the last half, by {trend.FALLS:g} standard
    errors, with more than {trend.LEFT:.1%} of the gain to come where there is
    no noise, and nothing else was found.
Evidence:
    `start`, `end` and `noise` of the loss; `share_left` of the gain, and the
    level that the loss `tends_to`.
Confused with:
    "learning rate too small", where it falls as steadily, but half of the
    gain or more is to come. How low the loss could be does not show in it.
Advice:
    Train on, with a rate that decays later if it has decayed already; or
    stop, where less than {trend.LEFT:.1%} of the gain is to come.
Example:

>>> import numpy as np, gdtrain
>>> from gdtrain.telemetry import StepTable
>>> n = np.arange(200)
>>> noise = np.random.default_rng(0).normal(0, 0.003, 200)
>>> loss = 0.2 + np.exp(-n / 60) + noise
>>> print(gdtrain.diagnose(StepTable(n + 1, ["loss"], loss[:, np.newaxis])))
converging (confidence 0.80, steps 1 to 200)
  The loss fell from 1.2 to 0.244 and still falls; 4.82% of the gain may be to
    come.
  Train on.
"""

from gdtrain.diagnosis.case import Case
from gdtrain.diagnosis.trend import FALLS, LEFT, Trend
from gdtrain.diagnosis.verdict import Verdict, confidence

NAME = "converging"


def judge(case: Case) -> list[Verdict]:
    """A list of one verdict, or none."""
    course = case.run.trend
    if case.found or course is None or not course.still_falls:
        return []
    return [_verdict(case, course)]


def _verdict(case: Case, course: Trend) -> Verdict:
    run = case.run
    evidence = course.numbers | {
        "share_left": course.left,
        "tends_to": course.tends_to,
    }
    text = (
        f"The {run.mean_loss} fell from {course.start:.4g} to "
        f"{course.end:.4g} and still falls"
    )
    if course.left > LEFT:
        text += f"; {course.left:.2%} of the gain may be to come."
        advice = "Train on."
        if run.has_decayed:
            advice = (
                "Train on with a learning rate that decays later: it has come "
                f"from {run.learning_rate:.2g} down to "
                f"{run.last_learning_rate:.2g}."
            )
    else:
        text += f", but less than {LEFT:.1%} of the gain is to come."
        advice = "More steps gain little: train on only if that little counts."
    sure = confidence(course.fall / FALLS, course.left / LEFT, most=case.most)
    return Verdict(
        NAME, sure, run.span, evidence, text, advice, is_trouble=False
    )
