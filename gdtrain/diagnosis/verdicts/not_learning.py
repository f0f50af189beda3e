"""The loss does not fall beyond noise.

Trigger:
    The loss ends no lower than it began, beyond noise, and nothing else was
    found. With the model and its data: the loss is not {LEARNED:.0%} below
    that of the best constant output, and no other learning rate helps.
Evidence:
    `start` and `end` of the loss, and its `noise`; with the data,
    `loss_of_constant`.
Confused with:
    "learning rate too small" by far, which only a trial with the model tells
    apart. "noise floor", where the loss fell before.
Advice:
    Check that inputs and targets belong together, and that inputs say
    something of targets; then try more or other layers.
Example:

>>> import numpy as np, gdtrain
>>> from gdtrain.telemetry import StepTable
>>> noise = np.random.default_rng(0).normal(0, 0.02, 200)
>>> columns = np.stack([0.69 + noise, np.full(200, 0.1)], 1)
>>> table = StepTable(range(1, 201), ["loss", "learning_rate"], columns)
>>> print(gdtrain.diagnose(table))
not learning (confidence 0.50, steps 1 to 200)
  The loss is 0.6857 at the end and 0.6925 at the start, no further down than
    noise.
  Either the learning rate is too small by far, or the network cannot learn
    this (check that inputs and targets belong together, and that they vary):
    gdtrain.diagnose(telemetry, model, x, y) tells them apart.
"""

import math

from gdtrain.diagnosis.case import Case
from gdtrain.diagnosis.run import Run
from gdtrain.diagnosis.trend import Trend
from gdtrain.diagnosis.verdict import Verdict, confidence

NAME = "not learning"

# Of the loss of the best constant output, as which the loss is less
LEARNED = 0.02
HELPS = 0.2  # In a trial: noise is learned by heart, too


def judge(case: Case) -> list[Verdict]:
    """A list of one verdict, or none."""
    run = case.run
    course = run.trend
    if case.found or course is None:
        return []
    constant = case.task.constant_loss if case.task else None
    trials = case.rate_trials
    last = trials.last_loss if trials else None
    if trials and constant and last is not None and math.isfinite(last):
        if last < constant - LEARNED * abs(constant):
            return []
        if trials.least_loss < constant - HELPS * abs(constant):
            return []
        return [_no_better_than_constant(run, course, last, constant)]
    is_done = run.is_resumed or course.start == course.end == 0
    learns = course.ends_lower or course.came_down
    return [] if is_done or learns else [_verdict(case, course)]


def _verdict(case: Case, course: Trend) -> Verdict:
    run = case.run
    return Verdict(
        NAME,
        confidence(1.0),
        run.span,
        course.numbers,
        f"The loss is {course.end:.4g} at the end and {course.start:.4g} at "
        "the start, no further down than noise.",
        "Either the learning rate is too small by far, or the network cannot "
        "learn this (check that inputs and targets belong together, and that "
        f"they vary): {case.what_decides}.",
    )


def _no_better_than_constant(
    run: Run, course: Trend, last: float, constant: float
) -> Verdict:
    """From the loss of the best constant output, which needs no input."""
    return Verdict(
        NAME,
        confidence(4.0),
        run.span,
        course.numbers | {"loss": last, "loss_of_constant": constant},
        f"The loss of the data is {last:.4g}; the best constant output, "
        f"whatever comes in, has {constant:.4g}. No other learning rate that "
        "was tried helps.",
        "Check that inputs and targets belong together and that inputs say "
        "something of targets; else the network cannot express it: try more "
        "or other layers.",
    )
