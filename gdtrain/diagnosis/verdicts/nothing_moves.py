"""No weight changes at any step.

Trigger:
    At every step, the learning rate is 0; or the gradient is 0; or updates
    are shorter than {ROUNDING:.1g} of the weights, which float32 rounds away,
    and the length of no layer's weights changes (of {trend.ENOUGH} steps or
    more). Not where all losses are 0: there is nothing to learn then.
Evidence:
    `learning_rate` or `gradient_norm`, which is 0, or `update_ratio`, the
    longest update as a share of the weights.
Confused with:
    "learning rate too small", where weights move, but little; "dead layer",
    where some layers have no gradient, not all.
Advice:
    Raise the learning rate, or shorten the warm-up of its schedule. Look at
    what is frozen (`trainable = False`), at an output or a loss that is
    constant, and at how your `train_step` applies gradients.
Example:

>>> import gdtrain
>>> from gdtrain.telemetry import StepTable
>>> names = ["loss", "learning_rate"]
>>> table = StepTable(range(1, 41), names, [[0.7, 0.0]] * 40)
>>> print(gdtrain.diagnose(table))
nothing moves (confidence 1.00, steps 1 to 40)
  No weight moves: the learning rate is 0 at every step.
  Raise it; a schedule that warms up may be longer than the training.
"""

import numpy as np

from gdtrain.diagnosis.case import Case
from gdtrain.diagnosis.run import Run
from gdtrain.diagnosis.trend import ENOUGH
from gdtrain.diagnosis.verdict import Change, Verdict

NAME = "nothing moves"

ROUNDING = 2.0**-24  # Of a number of float32: less is lost when it is added
USUAL = 1e-3  # Length of an update over that of the weights


def judge(case: Case) -> list[Verdict]:
    """A list of one verdict, or none."""
    run = case.run
    loss = run.loss
    if len(loss) and not loss.any():  # There is nothing to learn.
        return []
    return _without_rate(run) or _without_gradient(run) or _rounded_away(run)


def _verdict(
    run: Run,
    evidence: dict[str, float],
    text: str,
    advice: str,
    changes: tuple[Change, ...] = (),
) -> list[Verdict]:
    return [
        Verdict(NAME, 1.0, run.span, evidence, text, advice, changes=changes)
    ]


def _is_zero(values: np.ndarray) -> bool:
    """Whether all numbers that were measured are 0, at least one."""
    known = values[~np.isnan(values)]
    return bool(len(known)) and not known.any()


def _without_rate(run: Run) -> list[Verdict]:
    if not _is_zero(run.get("learning_rate")):
        return []
    return _verdict(
        run,
        {"learning_rate": 0.0},
        "No weight moves: the learning rate is 0 at every step.",
        "Raise it; a schedule that warms up may be longer than the training.",
    )


def _without_gradient(run: Run) -> list[Verdict]:
    if not _is_zero(run.get("gradient_norm")):
        return []
    text = "No weight moves: the gradient is 0 at every step."
    if not run.layers("weight_norm"):
        advice = (
            "Either no weight is trained (`trainable = False`), or output or "
            "loss is constant: see `model.summary()`."
        )
    else:
        advice = (
            "Look at the output and the loss: one of them is constant, as "
            "softmax over one unit is, or all units are silent."
        )
    return _verdict(run, {"gradient_norm": 0.0}, text, advice)


def _rounded_away(run: Run) -> list[Verdict]:
    """Updates that are less than the rounding of the weights."""
    norms = [known_of(v) for v in run.layers("weight_norm").values()]
    ratios = [known_of(v) for v in run.layers("update_ratio").values()]
    if not norms or not ratios or min(map(len, norms + ratios)) < ENOUGH:
        return []
    longest = max(float(values.max()) for values in ratios)
    moves = any(np.ptp(values) for values in norms)
    if moves or longest >= ROUNDING:
        return []
    evidence = {"update_ratio": longest}
    rate = run.learning_rate
    if not longest or not rate:
        return _verdict(
            run,
            evidence,
            "No weight moves: all updates are 0.",
            "Look at how the training step applies gradients, and at what is "
            "frozen.",
        )
    larger = rate * USUAL / longest
    return _verdict(
        run,
        evidence,
        f"No weight moves: with learning_rate {rate:.3g}, updates are at most "
        f"{longest:.2g} times as long as the weights, which float32 rounds "
        "away.",
        f"Try {larger:.2g}: updates are about {USUAL:g} times as long as the "
        "weights then.",
        (Change("learning_rate", larger),),
    )


def known_of(values: np.ndarray) -> np.ndarray:
    """Those that were measured.

    Example:

    >>> known_of(np.array([1.0, np.nan, 3.0]))
    array([1., 3.])
    """
    return values[~np.isnan(values)]
