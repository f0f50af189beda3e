"""Numbers that are NaN or infinite.

Trigger:
    A loss, or a number in a gradient, is NaN or infinite.
Evidence:
    `first_step`, and `nonfinite_count` where it was measured.
Confused with:
    What comes before it is the cause: "diverging" is named first where the
    loss grew until then. At step 1, before any update, it is the data, the
    loss or the first weights.
Advice:
    Look for NaN and very large values in the data, and for log(0) and 0/0 in
    the loss. `gdtrain.callbacks.NonfiniteGuard` names layer and examples, and
    reverts such a step.
Example:

>>> import numpy as np, gdtrain
>>> from gdtrain.telemetry import StepTable
>>> n = np.arange(60)
>>> loss = np.where(n < 40, 0.98**n, np.nan)
>>> print(gdtrain.diagnose(StepTable(n + 1, ["loss"], loss[:, np.newaxis])))
non-finite (confidence 1.00, steps 41 to 60)
  Step 41 is the first that is not finite. The loss before it is 0.4548.
  Look for NaN in the data, log(0) and 0/0 in the loss, and for numbers that
    grow too large; gdtrain.callbacks.NonfiniteGuard names layer and examples.
"""

from collections.abc import Collection

import numpy as np

from gdtrain.diagnosis.case import Case
from gdtrain.diagnosis.limits import with_scale
from gdtrain.diagnosis.trend import ENOUGH
from gdtrain.diagnosis.verdict import Verdict
from gdtrain.diagnosis.verdicts import diverging

NAME = "non-finite"
FOLLOWS = "It follows from the verdict above: fix that first."
AT_ONCE = (
    "No update was made before it. Look for NaN and for very large values in "
    "the data, and for log(0) and 0/0 in the loss; "
    "gdtrain.callbacks.NonfiniteGuard names layer and examples."
)
LATER = (
    "Look for NaN in the data, log(0) and 0/0 in the loss, and for numbers "
    "that grow too large; gdtrain.callbacks.NonfiniteGuard names layer and "
    "examples."
)


def is_broken(found: Collection[str]) -> bool:
    """Whether verdicts say that the loss grows or is not finite."""
    return diverging.NAME in found or NAME in found


def judge(case: Case) -> list[Verdict]:
    """A list of one verdict, or none."""
    run = case.run
    row = run.first_nonfinite
    if row is None:
        return []
    step, last = int(run.steps[row]), run.span[1]
    evidence = {"first_step": step}
    text = f"Step {step:,} is the first that is not finite"
    count = run.get("nonfinite_count")[row]
    if np.isfinite(count) and count:
        evidence["nonfinite_count"] = int(count)
        text += f" (numbers in it: {int(count):,})"
    for layer, norms in run.layers("gradient_norm").items():
        if not np.isfinite(norms[row]):
            text += f", in the gradient of {layer}"
            break
    text += "."
    if len(run.loss):
        text += f" The loss before it is {run.loss[-1]:.4g}."
    advice = AT_ONCE if step == 1 else LATER
    if diverging.NAME in case.found:
        advice = FOLLOWS
    elif case.task and case.task.not_finite:
        arrays = " and ".join(case.task.not_finite)
        text += f" There are NaN or infinity in {arrays}."
        advice = "Take such examples out, or replace the numbers."
    elif 0 < len(run.loss) < ENOUGH:
        text, advice = with_scale(run, text, advice)
    return [Verdict(NAME, 1.0, (step, last), evidence, text, advice)]
