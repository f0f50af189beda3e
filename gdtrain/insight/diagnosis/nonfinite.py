"""Numbers that are NaN or infinite."""

import numpy as np

from gdtrain.insight.diagnosis.verdict import NONFINITE, Verdict


def judge(run):
    """A list of one verdict, or none."""
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
    return [
        Verdict(
            NONFINITE,
            1.0,
            (step, last),
            evidence,
            f"Step {step:,} is the first that is not finite{many}{where}.",
            "Look for NaN in the data, log(0) and 0/0 in the loss; "
            "gdtrain.callbacks.NonfiniteGuard names layer and examples.",
        )
    ]
