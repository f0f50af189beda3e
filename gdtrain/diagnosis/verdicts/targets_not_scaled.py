"""Targets far from the size of what a new model gives."""

import math
from typing import NamedTuple

import numpy as np

from gdtrain.diagnosis.case import Case
from gdtrain.diagnosis.learned import LEARNED, REGRESSION, Answer
from gdtrain.diagnosis.verdict import Change, Verdict, confidence
from gdtrain.diagnosis.verdicts.inputs_not_scaled import (
    GAIN,
    NOTHING,
    UNSURE,
)

NAME = "targets not scaled"

FAR = 10.0  # Times 1, or times the standard deviation of the targets


class TargetScale(NamedTuple):
    """The scale of the targets of one output.

    Args:
        offset: Of the mean from 0, in standard deviations.
        size: The standard deviation.
    """

    offset: float
    size: float

    @property
    def margin(self) -> float:
        """How far beyond `FAR` it is, as a multiple of it."""
        return max(self.offset, self.size, 1 / self.size) / FAR


def scale_of(targets: np.ndarray) -> TargetScale | None:
    """The scale of targets, `[n, ...]`; `None` of constant ones.

    Example:

    >>> scale_of(np.array([[90.0], [110.0]]))
    TargetScale(offset=10.0, size=10.0)
    """
    y = targets.reshape(len(targets), -1).astype(np.float64)
    variance = float(y.var(0).mean())
    if not variance > 0 or not math.isfinite(variance):
        return None
    size = math.sqrt(variance)
    offset = math.sqrt(float((y.mean(0) ** 2).mean())) / size
    return TargetScale(offset, size)


def judge(case: Case) -> list[Verdict]:
    """A list of one verdict, or none."""
    task, run = case.task, case.run
    if task is None or run.name:
        return []
    for answer in task.answers:
        if answer.output.loss not in REGRESSION or answer.errors is None:
            continue
        assert answer.targets is not None  # It has errors.
        scale = scale_of(answer.targets)
        if scale is None or scale.margin < 1:
            continue
        sure, text, gained = _missed(answer)
        if sure:
            sure = min(sure, confidence(scale.margin))
            return [_verdict(run.span, scale, sure, text, gained)]
    return []


def _verdict(
    span: tuple[int, int],
    scale: TargetScale,
    sure: float,
    text: str,
    gained: float,
) -> Verdict:
    return Verdict(
        NAME,
        sure,
        span,
        {**scale._asdict(), "gain": gained},
        f"The targets have a standard deviation of {scale.size:.3g}, and a "
        f"mean {scale.offset:.3g} times as far from 0; a new model gives "
        f"numbers of about 1.{text}",
        "Standardize the targets, `(y - y.mean()) / y.std()`, and turn "
        "predictions back.",
        changes=(Change("scale_targets"),),
    )


def _missed(answer: Answer) -> tuple[float, str, float]:
    """Whether the scale of the targets is not learned yet.

    Returns:
        `(confidence, sentence, gain)`; a confidence of 0 if it is learned.
    """
    errors = answer.errors
    assert errors is not None
    explained = errors.explained
    if math.isnan(explained):
        return UNSURE, " Its outputs are not finite.", 0.0
    if explained >= LEARNED:
        return 0.0, "", 0.0
    gain = errors.gain(errors.predicted)
    if gain >= GAIN:
        return (
            confidence(gain / GAIN),
            " Predictions multiplied and shifted would explain "
            f"{gain:.0%} more of their variance.",
            gain,
        )
    if explained < NOTHING:
        return UNSURE, " The model is no better than a constant.", gain
    return 0.0, "", 0.0
