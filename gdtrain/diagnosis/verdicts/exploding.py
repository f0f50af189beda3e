"""Gradients that are far too long at the first step.

Trigger:
    Of {layers.FEW} layers with weights or more, at the first step: the
    gradient, as a share of the weights, grows {EXPLODES:g} times or more from
    the last layer to the first; or in some layer it is {LONG:.0e} times as
    long as the weights or more.
Evidence:
    `ratio`, how many times it grows; `gradient_to_weights`; `layers`.
Confused with:
    "diverging", which is what comes of it: there gradients grow from step to
    step, here from layer to layer before the first update.
Advice:
    Start from smaller weights (`he_normal`, `glorot_uniform`), scale inputs
    and targets, or `compile(global_clipnorm=1.0)`.
Example:

>>> import numpy as np, gdtrain
>>> from gdtrain.telemetry import StepTable
>>> layers = ["first", "second", "third", "last"]
>>> names = ["loss"] + [f"gradient_norm/{one}" for one in layers]
>>> names += [f"weight_norm/{one}" for one in layers]
>>> row = [2.5, 900, 200, 40, 9, 2, 2, 2, 2]
>>> print(gdtrain.diagnose(StepTable(range(1, 41), names, [row] * 40)))
exploding gradients (confidence 0.85, steps 1 to 40)
  At the start, the gradient is 4.5e+02 times as long as the weights, and
    1e+02 times longer in first than in last.
  Start from smaller weights (he_normal, glorot_uniform), scale inputs and
    targets, or compile(global_clipnorm=1.0).
"""

from gdtrain.diagnosis.case import Case
from gdtrain.diagnosis.layers import FEW, relative_gradients, spans
from gdtrain.diagnosis.verdict import Verdict, confidence

NAME = "exploding gradients"

EXPLODES = 30.0  # Times from the last layers to the first
# Times the weights, in some layer: usual networks have 0.1 to 1,000, and
# still have less than this of a loss in units a thousand times as large.
LONG = 3e6


def judge(case: Case) -> list[Verdict]:
    """A list of one verdict, or none."""
    names, relative = relative_gradients(case.run)
    if case.run.is_resumed or len(names) < FEW or not relative.size:
        return []
    first = float(relative[:, 0].max())
    growth = 1 / float(spans(relative)[0])
    margin = max(growth / EXPLODES, first / LONG)
    if margin <= 1:
        return []
    return [
        Verdict(
            NAME,
            confidence(margin),
            case.run.span,
            {
                "ratio": growth,
                "gradient_to_weights": first,
                "layers": len(names),
            },
            f"At the start, the gradient is {first:.2g} times as long as "
            f"the weights, and {growth:.2g} times longer in {names[0]} "
            f"than in {names[-1]}.",
            "Start from smaller weights (he_normal, glorot_uniform), "
            "scale inputs and targets, or compile(global_clipnorm=1.0).",
        )
    ]
