"""Weights that decay faster than the data make them grow."""

import numpy as np

from gdtrain.diagnosis.case import Case
from gdtrain.diagnosis.run import Run
from gdtrain.diagnosis.verdict import Change, Verdict, confidence

NAME = "weight decay too strong"

SHRUNK = 3.0  # Times shorter, the layer that shrank least
ALIKE = 1.25  # Largest over smallest rate of decay
HALF = 0.5


def judge(case: Case) -> list[Verdict]:
    """A list of one verdict, or none."""
    run = case.run
    if run.is_resumed or run.first_nonfinite is not None:
        return []
    found = decay(run)
    if found is None:
        return []
    shrunk, rates = found
    margin = shrunk / SHRUNK
    if margin < 1 or rates.max() > ALIKE * rates.min():
        return []
    rate = float(np.median(rates))
    return [
        Verdict(
            NAME,
            confidence(margin),
            run.span,
            {"shrunk": shrunk, "decay_a_step": rate},
            f"The weights of all layers shrink at one rate, {rate:.2g} a step, "
            f"until they are {shrunk:.2g} times shorter or more: this is "
            "decay, which the data hardly work against.",
            "Use a far smaller weight_decay or regularizer, a hundredth of "
            "it, or none.",
            changes=(Change("weight_decay", 0.0),),
        )
    ]


def decay(run: Run) -> tuple[float, np.ndarray] | None:
    """How weights shrink, if those of two layers or more are measured.

    A weight that decays alone has `norm = first * exp(-rate * step)`.

    Returns:
        `(shrunk, rates)`: how many times shorter the layer is that shrank
        least, and how much each layer shrinks a step, until it has come half
        the way in logarithms, float64 `[layers]`. `None` if it is unknown, or
        any layer does not shrink.
    """
    shrunk, rates = [], []
    for norms in run.layers("weight_norm").values():
        known = np.flatnonzero(np.isfinite(norms) & (norms > 0))
        if len(known) < 3:
            return None
        logs = np.log(norms[known])
        way = logs[0] - logs.min()
        if way <= 0:
            return None
        half = max(int(np.argmax(logs <= logs[0] - HALF * way)), 1)
        passed = run.steps[known[half]] - run.steps[known[0]]
        shrunk.append(float(np.exp(way)))
        rates.append(float((logs[0] - logs[half]) / passed))
    if len(rates) < 2:
        return None
    return min(shrunk), np.array(rates)
