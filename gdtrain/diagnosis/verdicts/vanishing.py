"""Gradients that shrink from the last layer to the first.

Trigger:
    Of {layers.FEW} layers with weights or more, early on: the gradient, as a
    share of the weights, shrinks more than {VANISHES:g} times from the last
    layer to the first. With the model and its data, not where outputs
    explain {LEARNED:.0%} of the variance of targets or more.
Evidence:
    `ratio`, how many times it shrinks; `factor_a_layer`; `layers`.
Confused with:
    "learning rate too small": a larger rate moves the last layers too far
    before the first ones move. "dead layer", whose gradient is exactly 0.
Advice:
    Use relu or tanh instead of sigmoid, batch normalization or shortcuts, and
    an initializer that suits the activation.
Example:

>>> import numpy as np, gdtrain
>>> from gdtrain.telemetry import StepTable
>>> layers = ["first", "second", "third", "last"]
>>> names = ["loss"] + [f"gradient_norm/{one}" for one in layers]
>>> names += [f"weight_norm/{one}" for one in layers]
>>> row = [2.3, 1e-4, 1e-3, 1e-2, 0.1, 2, 2, 2, 2]
>>> print(gdtrain.diagnose(StepTable(range(1, 41), names, [row] * 40)).verdict)
vanishing gradients (confidence 0.85, steps 1 to 40)
  From last back to first, the gradient against the weights shrinks 1e+03
    times, 10 times a layer.
  Use relu or tanh for sigmoid, batch normalization or shortcuts, and an
    initializer that suits the activation.
"""

import numpy as np

from gdtrain.diagnosis.case import Case
from gdtrain.diagnosis.layers import FEW, relative_gradients, spans
from gdtrain.diagnosis.learned import well_learned
from gdtrain.diagnosis.verdict import Verdict, confidence
from gdtrain.diagnosis.verdicts import exploding

NAME = "vanishing gradients"

VANISHES = 300.0  # Times from the last layers to the first
LEARNED = 0.5  # Share of the variance of targets: the first layers do learn


def judge(case: Case) -> list[Verdict]:
    """A list of one verdict, or none."""
    if case.run.is_resumed or exploding.NAME in case.found:
        return []
    names, relative = relative_gradients(case.run)
    if len(names) < FEW or not relative.size:
        return []
    span = float(np.median(spans(relative)))
    if span <= VANISHES:
        return []
    if case.task and well_learned(case.task.answers, LEARNED):
        return []
    factor = span ** (1 / (len(names) - 1))
    return [
        Verdict(
            NAME,
            confidence(span / VANISHES),
            case.run.span,
            {"ratio": span, "factor_a_layer": factor, "layers": len(names)},
            f"From {names[-1]} back to {names[0]}, the gradient against the "
            f"weights shrinks {span:.2g} times, {factor:.2g} times a layer.",
            "Use relu or tanh for sigmoid, batch normalization or shortcuts, "
            "and an initializer that suits the activation.",
        )
    ]
