"""The loss stands still while the gradient grows: a saddle.

Trigger:
    In the last half, the loss changes by less than {STANDS:.0%} of what it
    fell, without noise; the gradient of the last quarter is more than
    {RISES:g} times that of the third, and still grows; and nothing else was
    found. With the model, not where no larger rate helps.
Evidence:
    `gradient_rise`, and `start`, `end` and `noise` of the loss.
Confused with:
    "converged", where the gradient shrinks, and what a gradient that is
    mostly rounding looks like.
Advice:
    Train on: more steps lead away from a saddle; larger first weights, or
    momentum, do so sooner.
Example:

>>> import numpy as np, gdtrain
>>> from gdtrain.telemetry import StepTable
>>> n = np.arange(200)
>>> loss = 1 + np.exp(-n / 5) - 1e-6 * np.exp(n / 40)
>>> gradient = 0.02 * np.exp(-n / 5) + 1e-3 * np.exp(n / 80)
>>> columns = np.stack([loss, gradient], 1)
>>> table = StepTable(n + 1, ["loss", "gradient_norm"], columns)
>>> print(gdtrain.diagnose(table))
plateau (confidence 0.72, steps 101 to 200)
  The loss stands at 0.9999, but the gradient grows, by 1.87 over the last
    quarter: this is a saddle, no minimum.
  More steps lead away from it; larger first weights, or momentum, do so
    sooner.
"""

import numpy as np

from gdtrain.diagnosis.case import Case
from gdtrain.diagnosis.run import Run
from gdtrain.diagnosis.verdict import CURVE, Verdict, confidence

NAME = "plateau"

STANDS = 0.02  # Share of the gain
RISES = 1.1  # Times the gradient of the third quarter


def judge(case: Case) -> list[Verdict]:
    """A list of one verdict, or none."""
    course = case.run.trend
    if case.found or course is None:
        return []
    rising, late = gradient_rise(case.run), gradient_rise(case.run, 4)
    stands = np.ptp(course.levels) < STANDS * course.gain
    if not stands or course.is_noisy or rising <= RISES or late <= 1:
        return []
    if case.run.gradient_is_rounding:  # It comes from a minimum.
        return []
    if case.rate_trials and case.rate_trials.rules_out("larger"):
        return []  # Larger steps would lead away from a saddle.
    return [
        Verdict(
            NAME,
            confidence(1 + (rising - RISES), most=CURVE),
            case.run.last_half,
            course.numbers | {"gradient_rise": rising},
            f"The loss stands at {course.end:.4g}, but the gradient grows, "
            f"by {rising:.3g} over the last quarter: this is a saddle, no "
            "minimum.",
            "More steps lead away from it; larger first weights, or momentum, "
            "do so sooner.",
        )
    ]


def gradient_rise(run: Run, part: int = 2) -> float:
    """Gradient norm of the last quarter over that of the third.

    0 if it was not measured.

    Args:
        part: Which part of the steps is halved: 2, the default, for the last
            half, 4 for the last quarter.
    """
    norms = run.at_loss("gradient_norm")
    third, fourth = np.array_split(norms[-(len(norms) // part) :], 2)
    if not (np.isfinite(third).any() and np.isfinite(fourth).any()):
        return 0.0
    before = float(np.nanmedian(third))
    return float(np.nanmedian(fourth)) / before if before > 0 else 0.0
