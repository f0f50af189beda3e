"""The loss is smooth, and falls no more."""

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
