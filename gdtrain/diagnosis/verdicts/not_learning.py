"""The loss does not fall beyond noise."""

from gdtrain.diagnosis.case import Case
from gdtrain.diagnosis.run import Run
from gdtrain.diagnosis.trend import Trend
from gdtrain.diagnosis.verdict import Verdict, confidence

NAME = "not learning"


def judge(case: Case) -> list[Verdict]:
    """A list of one verdict, or none."""
    run = case.run
    course = run.trend
    if case.found or course is None:
        return []
    is_done = run.is_resumed or course.start == course.end == 0
    learns = course.has_moved and course.ends_lower
    return [] if is_done or learns else [_verdict(run, course)]


def _verdict(run: Run, course: Trend) -> Verdict:
    return Verdict(
        NAME,
        confidence(1 + len(run.loss) / 50),
        run.span,
        course.numbers,
        f"The loss is {course.end:.4g} at the end and {course.start:.4g} at "
        "the start, no further down than noise.",
        "Check that inputs and targets belong together, and that they vary.",
    )
