"""Numbers that are NaN or infinite."""

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
