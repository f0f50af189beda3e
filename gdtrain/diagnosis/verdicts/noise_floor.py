"""The loss varies with the batches, and falls no more."""

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
