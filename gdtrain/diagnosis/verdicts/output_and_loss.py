"""An output whose activation, units or targets do not suit its loss.

Trigger:
    With the model and its data, one of these. Softmax, or a loss of classes,
    with one unit. A loss that takes logits, of an output that has its softmax
    or sigmoid already, or another activation of limited range. A loss that
    takes probabilities, of outputs below 0 or above 1. Targets of
    `categorical_crossentropy` of which more than {FEW:.0%} do not add up to
    1; targets of `binary_crossentropy` beyond 0 to 1. Targets that the last
    activation cannot reach, by {BEYOND:.0%} of their variance or more.
Evidence:
    What does not fit: such as `least_loss`, below which no example comes, or
    `share_outside`, the share of outputs that are no probabilities.
Confused with:
    "learning rate too small" and "not learning", which is what this looks
    like from telemetry alone.
Advice:
    Compile with the `from_logits` that the output has, or change the last
    activation or the number of units, as the text says.
Example:

>>> import keras, numpy as np, gdtrain
>>> keras.utils.set_random_seed(0)
>>> x = np.random.default_rng(0).normal(size=[200, 2])
>>> y = (x[:, 0] > 0).astype(int)
>>> layers = [keras.Input([2]), keras.layers.Dense(2)]  # No softmax
>>> model = gdtrain.Sequential(layers)
>>> optimizer = gdtrain.GradientDescent(0.1)
>>> loss = "sparse_categorical_crossentropy"
>>> model.compile(optimizer, loss, jit_compile=False)
>>> telemetry = gdtrain.callbacks.Telemetry()
>>> _ = model.fit(x, y, 50, 10, verbose=0, callbacks=[telemetry])
>>> print(gdtrain.diagnose(telemetry, model, x, y))
output and loss do not fit (confidence ...
  ...
"""

import math
from typing import NamedTuple

import numpy as np

from gdtrain.diagnosis.case import Case
from gdtrain.diagnosis.learned import REGRESSION, Answer
from gdtrain.diagnosis.verdict import Change, Verdict

NAME = "output and loss do not fit"

SURE = 0.95
BEYOND = 0.05  # Share of the variance of targets that no output can reach
ROUNDING = 1e-3  # Of float16
FEW = 0.01  # Share of targets
#: What an activation can give at most
_RANGES = {
    "relu": (0.0, math.inf),
    "sigmoid": (0.0, 1.0),
    "softmax": (0.0, 1.0),
    "softplus": (0.0, math.inf),
    "tanh": (-1.0, 1.0),
}
_CATEGORICAL = ("categorical_crossentropy", "sparse_categorical_crossentropy")


class Misfit(NamedTuple):
    """Why an output and its loss do not fit.

    Args:
        evidence: Numbers.
        text: A sentence.
        advice: A sentence.
        changes: As in `Verdict`.
    """

    evidence: dict[str, float]
    text: str
    advice: str
    changes: tuple[Change, ...] = ()


def judge(case: Case) -> list[Verdict]:
    """A verdict for each output that does not fit its loss."""
    task, run = case.task, case.run
    if task is None or run.name:
        return []
    found = []
    for answer in task.answers:
        why = misfit(answer)
        if why is not None:
            name = answer.output.name
            found.append(
                Verdict(
                    NAME,
                    SURE,
                    run.span,
                    why.evidence,
                    f"Output {name!r}: {why.text}" if name else why.text,
                    why.advice,
                    changes=why.changes,
                )
            )
    return found


def misfit(answer: Answer) -> Misfit | None:
    """Why an output does not fit its loss; `None` if it does."""
    loss, targets = answer.output.loss, answer.targets
    if loss is None or not np.isfinite(answer.given).all():
        return None
    found = _of_one_unit(answer)
    if found is None and answer.output.from_logits is not None:
        found = _of_logits(answer) or _of_probabilities(answer)
    if found is None and targets is not None:
        if loss == "categorical_crossentropy":
            found = _of_shares(targets)
        elif loss == "binary_crossentropy":
            found = _of_binary(targets)
        elif loss in REGRESSION:
            found = _of_range(answer)
    return found


def _of_one_unit(answer: Answer) -> Misfit | None:
    """Softmax over one unit, or classes that have one unit in all."""
    output = answer.output
    is_softmax = output.activation == "softmax"
    if output.units != 1 or not (is_softmax or output.loss in _CATEGORICAL):
        return None
    what = "Softmax over one unit" if is_softmax else f"{output.loss} of 1 unit"
    return Misfit(
        {"units": 1},
        f"{what} is 1 for every example: nothing can be learned.",
        "For two classes use 1 unit with sigmoid and "
        'loss="binary_crossentropy", for more a unit for each class; for '
        "numbers no activation.",
    )


def _of_logits(answer: Answer) -> Misfit | None:
    """What the loss takes for logits has an activation already."""
    output, given = answer.output, answer.given
    if not answer.is_logits:
        return None
    is_categorical = output.loss in _CATEGORICAL
    twice = "softmax" if is_categorical else "sigmoid"
    if output.activation == twice or (is_categorical and _are_shares(given)):
        least = math.log1p(math.exp(-1))
        if is_categorical:
            least = math.log1p((output.units - 1) * math.exp(-1))
        return Misfit(
            {"least_loss": least},
            f"The output ends with {twice}, and the loss {output.loss} takes "
            f"it for logits: {twice} is applied twice. No example has a loss "
            f"below {least:.3g} so, and gradients are small.",
            f"Compile with `from_logits=False`, or end without {twice}.",
            (Change("from_logits", False),),
        )
    low, high = _RANGES.get(output.activation or "", (-math.inf, math.inf))
    if low == -math.inf and high == math.inf:
        return None
    return Misfit(
        {"least_output": float(given.min()), "largest": float(given.max())},
        f"The loss {output.loss} takes the output for logits, which can be "
        f"any number, but it ends with {output.activation}, from {low:g} to "
        f"{high:g}.",
        "End with a layer without activation.",
    )


def _are_shares(given: np.ndarray) -> bool:
    """Whether numbers add up to 1, as those of softmax do and logits do not."""
    is_one = np.abs(given.sum(-1) - 1) < ROUNDING
    return bool(given.shape[-1] > 1 and (given >= 0).all() and is_one.all())


def _of_probabilities(answer: Answer) -> Misfit | None:
    """What the loss takes for probabilities are any numbers."""
    output, given = answer.output, answer.given
    if answer.is_logits:
        return None
    is_categorical = output.loss in _CATEGORICAL
    outside = float(np.mean((given < -ROUNDING) | (given > 1 + ROUNDING)))
    evidence = {
        "share_outside": outside,
        "least_output": float(given.min()),
        "largest_output": float(given.max()),
    }
    if not outside:
        return None
    last = "softmax" if is_categorical else "sigmoid"
    changes: tuple[Change, ...] = (Change("from_logits", True),)
    advice = f"Compile with `from_logits=True`, or end with {last}."
    if output.activation not in (None, "linear"):
        changes = ()
        advice = f"End with {last} in place of {output.activation}."
    return Misfit(
        evidence,
        f"The loss {output.loss} takes the output for probabilities, but "
        f"{outside:.0%} of its numbers are below 0 or above 1 (from "
        f"{given.min():.3g} to {given.max():.3g}); there its gradient is 0 or "
        "wrong.",
        advice,
        changes,
    )


def _of_shares(targets: np.ndarray) -> Misfit | None:
    """Targets of several classes at once, or of none."""
    sums = targets.astype(np.float64).sum(-1)
    wrong = float(np.mean(np.abs(sums - 1) > ROUNDING))
    if wrong <= FEW:
        return None
    return Misfit(
        {"share_of_targets": wrong},
        "categorical_crossentropy needs targets that add up to 1, of one "
        f"class an example; {wrong:.0%} do not (from {sums.min():g} to "
        f"{sums.max():g}).",
        'For several classes at once use sigmoid and loss="binary_'
        'crossentropy".',
    )


def _of_binary(targets: np.ndarray) -> Misfit | None:
    """Targets that are no probabilities."""
    wrong = float(np.mean((targets < 0) | (targets > 1)))
    if not wrong:
        return None
    return Misfit(
        {"share_of_targets": wrong},
        f"binary_crossentropy needs targets from 0 to 1; {wrong:.0%} are not "
        f"(from {targets.min():g} to {targets.max():g}), so that the loss has "
        "no minimum.",
        "Scale them to 0 to 1; for class numbers use a unit for each class, "
        'softmax and loss="sparse_categorical_crossentropy".',
    )


def _of_range(answer: Answer) -> Misfit | None:
    """Targets that the activation cannot reach."""
    output, targets = answer.output, answer.targets
    if output.activation not in _RANGES or targets is None:
        return None
    low, high = _RANGES[output.activation]
    y = targets.astype(np.float64)
    variance = float(y.var(0).sum())
    if not variance:
        return None
    beyond = y - np.clip(y, low, high)
    share = float((beyond**2).mean(0).sum()) / variance
    if share < BEYOND:
        return None
    count = float(np.mean(beyond != 0))
    return Misfit(
        {"unreachable": share, "share_of_targets": count},
        f"The output ends with {output.activation}, from {low:g} to {high:g}; "
        f"{count:.0%} of the targets lie beyond (from {y.min():.3g} to "
        f"{y.max():.3g}): at least {share:.2g} times their variance cannot "
        "be learned.",
        "End with a layer without activation, or scale the targets to "
        f"{low:g} to {high:g}."
        if math.isfinite(high)
        else "End with a layer without activation.",
    )
