"""Numbers that are NaN or infinite."""

import numpy as np

from gdtrain.diagnosis.limits import with_scale
from gdtrain.diagnosis.run import Run
from gdtrain.diagnosis.trend import ENOUGH
from gdtrain.diagnosis.verdict import Verdict

NONFINITE = "non-finite"
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


def judge(run: Run, *, follows: bool = False) -> list[Verdict]:
    """A list of one verdict, or none.

    Args:
        run: What is judged.
        follows: Whether another verdict explains where it comes from.
    """
    row = run.first_nonfinite
    if row is None:
        return []
    step, last = int(run.steps[row]), run.span[1]
    evidence = {"first_step": step}
    counts = run.get("nonfinite_count")
    many = ""
    if counts is not None and np.isfinite(counts[row]) and counts[row]:
        evidence["nonfinite_count"] = int(counts[row])
        many = f" (numbers in it: {int(counts[row]):,})"
    layers = [
        layer
        for layer, norms in run.layers("gradient_norm").items()
        if not np.isfinite(norms[row])
    ]
    where = f", in the gradient of {layers[0]}" if layers else ""
    before = ""
    if len(run.loss):
        before = f" The loss before it is {run.loss[-1]:.4g}."
    text = f"Step {step:,} is the first that is not finite{many}{where}."
    text += before
    advice = FOLLOWS if follows else AT_ONCE if step == 1 else LATER
    if not follows and 0 < len(run.loss) < ENOUGH:
        text, advice = with_scale(run, text, advice)
    return [Verdict(NONFINITE, 1.0, (step, last), evidence, text, advice)]
