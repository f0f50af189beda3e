"""Gradients that are far too long at the first step."""

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
