"""Layers without a gradient, or with silent units.

Trigger:
    In a typical step, {SHARE:.0%} of the units of a layer or more output 0
    for the whole batch (where `dead_fraction` is measured); or the gradient
    of a layer is exactly 0 at {STEPS:.0%} of the steps or more, and that of
    others is not.
Evidence:
    `dead_fraction` or `steps_without_gradient`, a share.
Confused with:
    "nothing moves", where no layer has a gradient; "vanishing gradients",
    which are small, but not 0. That nothing passes is measured; why, is not:
    its confidence is at most {verdict.CURVE:g}.
Advice:
    Start again with a smaller learning rate, biases of 0 or above, or
    `leaky_relu`.
Example:

>>> import numpy as np, gdtrain
>>> from gdtrain.telemetry import StepTable
>>> n = np.arange(60)
>>> loss = 2 + 0.1 * 0.9**n
>>> columns = np.stack([loss, np.full(60, 0.97)], 1)
>>> names = ["loss", "dead_fraction/hidden"]
>>> print(gdtrain.diagnose(StepTable(n + 1, names, columns)))
dead layer (confidence 0.80, steps 1 to 60)
  97% of the units of hidden output 0 for whole batches: nothing behind it
    learns.
  Start again with a smaller learning rate, biases of 0 or above, or
    leaky_relu.
"""

import numpy as np

from gdtrain.diagnosis.case import Case
from gdtrain.diagnosis.limits import with_scale
from gdtrain.diagnosis.verdict import CURVE, Verdict, confidence

NAME = "dead layer"

SHARE = 0.9  # Of a layer's units
STEPS = 0.9  # Of the steps


def judge(case: Case) -> list[Verdict]:
    """A list of one verdict, or none."""
    run = case.run
    rows = run.loss_rows
    if not len(rows):
        return []
    norms = run.layers("gradient_norm")
    quiet = {name: _share_zero(values[rows]) for name, values in norms.items()}
    whole = [name for name, share in quiet.items() if share >= STEPS]
    shares = {
        name: float(np.nanmedian(values[rows]))
        for name, values in run.layers("dead_fraction").items()
        if not np.isnan(values[rows]).all()
    }
    silent = [name for name, share in shares.items() if share >= SHARE]
    if silent:
        name, layer = "dead_fraction", silent[0]
        share = shares[layer]
        text = f"{share:.0%} of the units of {layer} output 0 for whole batches"
    elif whole and len(whole) < len(norms):
        name, layer = "steps_without_gradient", whole[-1]
        share = quiet[layer]
        text = f"The gradient of {layer} is 0 at {share:.0%} of the steps"
    else:
        return []
    text, advice = with_scale(
        run,
        f"{text}: nothing behind it learns.",
        "Start again with a smaller learning rate, biases of 0 or above, or "
        "leaky_relu.",
    )
    # That nothing passes is measured; why, is not.
    sure = confidence(1 + 9 * share, most=CURVE)
    return [Verdict(NAME, sure, run.span, {name: share}, text, advice)]


def _share_zero(values: np.ndarray) -> float:
    """Share of the measured gradients that are exactly 0."""
    known = values[~np.isnan(values)]
    return float(np.mean(known == 0)) if len(known) > 3 else 0.0
