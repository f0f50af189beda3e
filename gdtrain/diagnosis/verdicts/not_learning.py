"""The loss never changes beyond noise."""

import numpy as np

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
    if run.learning_rate != 0 and (is_done or course.has_moved):
        return []
    return [_verdict(run, course)]


def _verdict(run: Run, course: Trend) -> Verdict:
    evidence = course.numbers
    text = (
        f"The loss is {course.end:.4g} at the end and {course.start:.4g} at "
        "the start"
    )
    if run.learning_rate == 0:
        evidence["learning_rate"] = 0.0
        text += "; the learning rate is 0 at every step."
        return Verdict(NAME, 1.0, run.span, evidence, text, "Raise it.")
    text += ", no more than noise apart"
    advice = (
        "Check that inputs and targets belong together, and that they vary."
    )
    if not np.nan_to_num(run.at_loss("gradient_norm"), nan=1.0).any():
        evidence["gradient_norm"] = 0.0
        text += "; the gradient is 0 at every step"
        advice = "Look at the output and the loss: one of them is constant."
    sure = confidence(1 + len(run.loss) / 50)
    return Verdict(NAME, sure, run.span, evidence, f"{text}.", advice)
