"""The loss of validation rises while that of training falls.

Trigger:
    Of {EPOCHS} epochs of validation or more: the loss of validation ends
    above its least by {RISE:.0%} of what it, or the loss of training, fell,
    and by {NOISE:g} standard deviations of its noise; that of training has
    fallen since.
Evidence:
    `best_epoch`, `least_val_loss`, `val_loss` and `loss`.
Confused with:
    "label noise", which is learned by heart in the same way. "diverging",
    where the loss of training rises too.
Advice:
    Stop at the best epoch (`keras.callbacks.EarlyStopping`), use more data,
    or regularize.
Example:

>>> import numpy as np, gdtrain
>>> from gdtrain.telemetry import StepTable
>>> n = np.arange(20)
>>> loss = np.exp(-n / 5)
>>> history = {"loss": loss, "val_loss": 0.3 + 0.04 * np.abs(n - 6)}
>>> table = StepTable(n + 1, ["loss"], loss[:, np.newaxis])
>>> print(gdtrain.diagnose(table, history=history).verdict)
overfitting (confidence 0.80, steps 8 to 20)
  The loss of validation was least, 0.3, at epoch 7 and is 0.82 now; that of
    training is 0.0224.
  Stop at epoch 7 (keras.callbacks.EarlyStopping), use more data, or
    regularize.
"""

from typing import NamedTuple

import numpy as np

from gdtrain.diagnosis.case import Case
from gdtrain.diagnosis.trend import moving_means, noise_of
from gdtrain.diagnosis.verdict import CURVE, Verdict, confidence
from gdtrain.diagnosis.verdicts.nonfinite import is_broken

NAME = "overfitting"

RISE = 0.1  # Of the fall, of validation or of training, whichever is more
NOISE = 6.0  # Standard deviations of such a mean: of noise, 1% rise so
SMOOTH = 0.02  # Noise as a share of the range: no means needed
EPOCHS = 5


class Turn(NamedTuple):
    """Where the loss of validation was least, and where it is.

    Args:
        size: Losses that are averaged: 1 unless they are noisy.
        last: The last row of the least mean.
        least: That mean.
        end: The mean at the end.
        fall: From the first mean to the least.
        noise: Standard deviation of such a mean.
    """

    size: int
    last: int
    least: float
    end: float
    fall: float
    noise: float

    def margins(self, fall: float) -> list[float]:
        """How far the rise is beyond each threshold, as multiples of it.

        Args:
            fall: Of the loss of training, above 0.
        """
        rise = self.end - self.least
        margins = [rise / max(self.fall, fall) / RISE]
        if self.noise > 0:
            margins.append(rise / self.noise / NOISE)
        return margins


def turn_of(held: np.ndarray) -> Turn:
    """The `Turn` of losses of validation, float64 `[epochs]`.

    Example:

    >>> found = turn_of(np.array([5.0, 3.0, 2.0, 3.0, 4.0]))
    >>> found.last, found.least, found.end
    (2, 2.0, 4.0)
    """
    rough = noise_of(held)
    is_smooth = rough <= SMOOTH * np.ptp(held)
    size = 1 if is_smooth else max(len(held) // 8, 1)
    means = moving_means(held, size)
    best = int(np.argmin(means))
    return Turn(
        size=size,
        last=best + size - 1,
        least=float(means[best]),
        end=float(means[-1]),
        fall=float(means[0] - means[best]),
        noise=float(rough / np.sqrt(size)),
    )


def judge(case: Case) -> list[Verdict]:
    """A list of one verdict, or none."""
    run = case.run
    held, loss = run.epochs.val_loss, run.epochs.loss
    if run.name or is_broken(case.found):  # Validation is of the whole model.
        return []
    if len(held) < EPOCHS or not np.isfinite(held).all():
        return []
    turn = turn_of(held)
    falls = np.nanmean(loss[-turn.size :]) < loss[turn.last]
    fall = float(loss[0] - loss[-1])
    if not falls or fall <= 0 or min(turn.margins(fall)) < 1:
        return []
    share = (turn.last + 1) / len(held)
    row = min(int(share * len(run.steps)), len(run.steps) - 1)
    best = int(run.epochs.validated[turn.last])
    evidence = {
        "best_epoch": best,
        "least_val_loss": turn.least,
        "val_loss": turn.end,
        "loss": float(loss[-1]),
    }
    return [
        Verdict(
            NAME,
            confidence(*turn.margins(fall), most=CURVE),
            (int(run.steps[row]), run.span[1]),
            evidence,
            f"The loss of validation was least, {turn.least:.3g}, at epoch "
            f"{best} and is {turn.end:.3g} now; that of training is "
            f"{loss[-1]:.3g}.",
            f"Stop at epoch {best} (keras.callbacks.EarlyStopping), use more "
            "data, or regularize.",
        )
    ]
