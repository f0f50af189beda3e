"""Targets far from the size of what a new model gives.

Trigger:
    With the model and its data, of a regression: the mean of the targets is
    {FAR:g} of their standard deviations from 0 or more, or that deviation is
    {FAR:g} or more, or 1 / {FAR:g} or less; and the model has not learned, as
    in "inputs not scaled", where predictions that are multiplied and shifted
    would be better.
Evidence:
    `offset` and `size` of the targets; `gain`, the share of their variance
    that multiplying and shifting adds.
Confused with:
    "learning rate too small": the weights have far to go. "diverging", where
    targets are large.
Advice:
    Standardize the targets, `(y - y.mean()) / y.std()`, and turn predictions
    back.
Example:

>>> import keras, numpy as np, gdtrain
>>> keras.utils.set_random_seed(0)
>>> x = np.random.default_rng(0).normal(size=[200, 2])
>>> y = 5000 + 50 * x.sum(1)
>>> model = gdtrain.Sequential([keras.Input([2]), keras.layers.Dense(1)])
>>> model.compile(keras.optimizers.Adam(0.1), "mse", jit_compile=False)
>>> telemetry = gdtrain.callbacks.Telemetry()
>>> _ = model.fit(x, y, 200, 50, verbose=0, callbacks=[telemetry])
>>> print(gdtrain.diagnose(telemetry, model, x, y).verdict)
targets not scaled (confidence ...
  ...
"""

import math
from typing import NamedTuple

import numpy as np

from gdtrain.diagnosis.case import Case
from gdtrain.diagnosis.learned import REGRESSION, Missed, missed_by
from gdtrain.diagnosis.verdict import Change, Verdict, confidence

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
        missed = missed_by(
            answer.errors,
            answer.errors.predicted,
            "predictions multiplied and shifted",
        )
        if missed is not None:
            return [_verdict(run.span, scale, missed)]
    return []


def _verdict(
    span: tuple[int, int], scale: TargetScale, missed: Missed
) -> Verdict:
    return Verdict(
        NAME,
        min(missed.confidence, confidence(scale.margin)),
        span,
        {**scale._asdict(), "gain": missed.gain},
        f"The targets have a standard deviation of {scale.size:.3g}, and a "
        f"mean {scale.offset:.3g} times as far from 0; a new model gives "
        f"numbers of about 1. {missed.text}",
        "Standardize the targets, `(y - y.mean()) / y.std()`, and turn "
        "predictions back.",
        changes=(Change("scale_targets"),),
    )
