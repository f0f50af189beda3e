"""The loss of validation rises while that of training falls."""

import dataclasses

import numpy as np

from gdtrain.diagnosis.run import Run
from gdtrain.diagnosis.trend import noise_of
from gdtrain.diagnosis.verdict import Verdict, confidence

OVERFITTING = "overfitting"

RISE = 1.1  # Times the least validation loss
NOISE = 6.0  # Standard deviations of such a mean: of noise, 1% rise so
SMOOTH = 0.02  # Noise as a share of the least loss: no means needed
EPOCHS = 5


@dataclasses.dataclass(frozen=True)
class Epochs:
    """Losses of the epochs of a training.

    Args:
        count: How many epochs there were; 0 if unknown.
        validated: Those that were validated, from 1, int64 `[n]`.
        loss: Their losses, float64 `[n]`.
        val_loss: Their losses of validation, float64 `[n]`.
    """

    count: int
    validated: np.ndarray
    loss: np.ndarray
    val_loss: np.ndarray


@dataclasses.dataclass(frozen=True)
class Turn:
    """Where the loss of validation was least, and where it is.

    Args:
        size: Losses that are averaged: 1 unless they are noisy.
        last: The last row of the least mean.
        least: That mean.
        end: The mean at the end.
        noise: Standard deviation of such a mean.
    """

    size: int
    last: int
    least: float
    end: float
    noise: float

    @property
    def margins(self) -> list[float]:
        """How far the rise is beyond each threshold, as multiples of it."""
        margins = [(self.end / self.least - 1) / (RISE - 1)]
        if self.noise > 0:
            margins.append((self.end - self.least) / self.noise / NOISE)
        return margins


def turn_of(held: np.ndarray) -> Turn:
    """The `Turn` of losses of validation above 0, float64 `[epochs]`.

    Example:

    >>> found = turn_of(np.array([5.0, 3.0, 2.0, 3.0, 4.0]))
    >>> found.last, found.least, found.end
    (2, 2.0, 4.0)
    """
    rough = noise_of(held)
    is_smooth = rough < SMOOTH * float(held.min())
    size = 1 if is_smooth else max(len(held) // 8, 1)
    means = np.convolve(held, np.full(size, 1 / size), "valid")
    best = int(np.argmin(means))
    return Turn(
        size=size,
        last=best + size - 1,
        least=float(means[best]),
        end=float(means[-1]),
        noise=float(rough / np.sqrt(size)),
    )


def judge(run: Run, epochs: Epochs) -> list[Verdict]:
    """A list of one verdict, or none."""
    held, loss = epochs.val_loss, epochs.loss
    usable = len(held) >= EPOCHS and np.isfinite(held).all()
    if not usable or held.min() <= 0:
        return []
    turn = turn_of(held)
    falls = np.nanmean(loss[-turn.size :]) < loss[turn.last]
    if min(turn.margins) < 1 or not falls:
        return []
    share = (turn.last + 1) / len(held)
    row = min(int(share * len(run.steps)), len(run.steps) - 1)
    steps = int(run.steps[row]), run.span[1]
    best = int(epochs.validated[turn.last])
    return [_overfitting(turn, best, float(loss[-1]), steps)]


def _overfitting(
    turn: Turn, best: int, loss: float, steps: tuple[int, int]
) -> Verdict:
    """The verdict; `best` is the epoch after which it began."""
    return Verdict(
        OVERFITTING,
        confidence(*turn.margins),
        steps,
        {
            "best_epoch": best,
            "least_val_loss": turn.least,
            "val_loss": turn.end,
            "loss": loss,
        },
        f"The loss of validation was least, {turn.least:.3g}, at epoch "
        f"{best} and is {turn.end:.3g} now; that of training is {loss:.3g}.",
        f"Stop at epoch {best} (keras.callbacks.EarlyStopping), use more "
        "data, or regularize.",
    )
