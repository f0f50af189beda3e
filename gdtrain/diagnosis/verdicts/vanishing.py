"""Gradients that shrink from the last layer to the first."""

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
