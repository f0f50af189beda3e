"""The loss falls."""

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
