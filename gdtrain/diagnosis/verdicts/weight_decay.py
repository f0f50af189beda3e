"""Weights that decay faster than the data make them grow.

Trigger:
    From telemetry: all layers shrink at one rate (the fastest at most
    {ALIKE:g} times as fast as the slowest), to less than 1 / {SHRUNK:g}.
    With the model and its data: without weight decay, a trial adds
    {HELD:.0%} of the gain or more; or decay makes {PULLS:.0%} of the gradient
    or more, and longer weights have a lower loss; or the weights are at most
    {SHORT:g} times as large as new ones and nothing is learned.
Evidence:
    `shrunk` and `decay_a_step`, or `weight_decay` and what is gained without
    it.
Confused with:
    "learning rate too small" and "not learning". Weights that shrink a
    little are normal, and have no verdict.
Advice:
    Use a hundredth of the `weight_decay` or the regularizer, or none.
Example:

>>> import numpy as np, gdtrain
>>> from gdtrain.telemetry import StepTable
>>> n = np.arange(200)
>>> shorter = np.exp(-n / 100)
>>> names = ["loss", "weight_norm/hidden", "weight_norm/output"]
>>> columns = [1 + 0.3 * np.exp(-n / 30), 3 * shorter, 5 * shorter]
>>> table = StepTable(n + 1, names, np.stack(columns, 1))
>>> print(gdtrain.diagnose(table).verdict)
weight decay too strong (confidence 0.79, steps 1 to 200)
  The weights of all layers shrink at one rate, 0.01 a step, until they are
    7.3 times shorter or more: this is decay, which the data hardly work
    against.
  Use a far smaller weight_decay or regularizer, a hundredth of it, or none.
"""

import numpy as np

from gdtrain.diagnosis.case import Case
from gdtrain.diagnosis.rate_trials import SHARE_OF_GAIN
from gdtrain.diagnosis.run import Run
from gdtrain.diagnosis.task import Task
from gdtrain.diagnosis.verdict import Change, Verdict, confidence

NAME = "weight decay too strong"

HELD = 0.1  # Share of the gain that it holds back
SHRUNK = 3.0  # Times shorter, the layer that shrank least
ALIKE = 1.25  # Largest over smallest rate of decay
HALF = 0.5
FACTORS = (1.0, 1.1, 1.25, 1.5, 2.0, 4.0)  # Of all kernels
GAIN = 0.05  # Share of the loss of a constant that longer weights gain
PULLS = 0.25  # Share of the gradient: half of it at rest
NOTHING = 0.95  # Times the loss of a constant: nothing is learned
SHORT = 0.3  # Times the size of new weights


def judge(case: Case) -> list[Verdict]:
    """A list of one verdict, or none."""
    run, task = case.run, case.task
    if run.name or run.first_nonfinite is not None:
        return []
    if task is not None:
        if not task.strength_of_decay:
            return []
        return _by_trial(case, task) or _by_longer_weights(case, task)
    found = None if run.is_resumed else decay(run)
    if found is None:
        return []
    shrunk, rates = found
    margin = shrunk / SHRUNK
    if margin < 1 or rates.max() > ALIKE * rates.min():
        return []
    rate = float(np.median(rates))
    text = (
        f"The weights of all layers shrink at one rate, {rate:.2g} a step, "
        f"until they are {shrunk:.2g} times shorter or more: this is decay, "
        "which the data hardly work against."
    )
    evidence = {"shrunk": shrunk, "decay_a_step": rate}
    return _verdict(case, confidence(margin), evidence, text)


def _verdict(
    case: Case, sure: float, evidence: dict[str, float], text: str
) -> list[Verdict]:
    return [
        Verdict(
            NAME,
            sure,
            case.run.span,
            evidence,
            text,
            "Use a far smaller weight_decay or regularizer, a hundredth of "
            "it, or none.",
            changes=(Change("weight_decay", 0.0),),
        )
    ]


def _by_trial(case: Case, task: Task) -> list[Verdict]:
    """From some steps without it."""
    tried = case.rate_trials and case.rate_trials.without_decay()
    if not tried or tried.share < HELD:
        return []
    strength = task.strength_of_decay
    return _verdict(
        case,
        confidence(tried.share / HELD),
        {"weight_decay": strength, SHARE_OF_GAIN: tried.share},
        f"Weight decay or regularizers of {strength:.3g} hold the weights "
        f"back: without them, {tried.trial}.",
    )


def _by_longer_weights(case: Case, task: Task) -> list[Verdict]:
    """From what the loss of the data is with longer weights."""
    losses, constant = task.losses_of_longer(FACTORS), task.constant_loss
    share = task.regularization.gradient_share
    if losses is None or not constant or constant < 0:
        return []
    best = int(np.argmin(losses))
    gain = float(losses[0] - losses[best]) / constant
    evidence = {"weight_decay": task.strength_of_decay, "gain": gain}
    if gain >= GAIN and share is not None and share >= PULLS:
        return _verdict(
            case,
            confidence(gain / GAIN),
            evidence | {"share_of_gradient": share},
            f"Weight decay or regularizers make {share:.0%} of the gradient "
            f"and hold the weights back: {FACTORS[best]:g} times as long, "
            f"they have a loss of {losses[best]:.3g}, not {losses[0]:.3g}, on "
            "the data.",
        )
    length = task.relative_length
    if losses[0] > NOTHING * constant and length < SHORT:
        return _verdict(
            case,
            confidence(SHORT / max(length, 1e-9)),
            evidence | {"length": length},
            f"All weights have decayed to at most {length:.2g} times the size "
            f"of new ones, and the loss is {losses[0]:.3g}, that of a "
            "constant.",
        )
    return []


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
