"""The loss of validation rises while that of training falls."""

import numpy as np

from gdtrain.insight.diagnosis.trend import noise_of
from gdtrain.insight.diagnosis.verdict import OVERFITTING, Verdict, confidence

RISE = 1.1  # Times the least validation loss
NOISE = 4.0  # Standard deviations of an epoch
EPOCHS = 5


def judge(run, epochs):
    """A list of one verdict, or none.

    Args:
        run: A `Run`.
        epochs: A dict with `loss` and `val_loss` by epoch, or `None`.
    """
    if not epochs or "val_loss" not in epochs:
        return []
    held = np.asarray(epochs["val_loss"], np.float64)
    loss = np.asarray(epochs.get("loss", []), np.float64)
    if len(held) < EPOCHS or not np.isfinite(held).all():
        return []
    rough = noise_of(held)
    is_smooth = rough < 0.02 * float(held.min())
    size = 1 if is_smooth else max(len(held) // 20, 1)
    smooth = np.convolve(held, np.full(size, 1 / size), "valid")
    best, end = int(np.argmin(smooth)), float(smooth[-1])
    least = float(smooth[best])
    noise = rough / np.sqrt(size)
    if least <= 0:
        return []
    margins = [(end / least - 1) / (RISE - 1)]
    if noise > 0:
        margins.append((end - least) / noise / NOISE)
    at = min(best + size - 1, len(loss) - 1)
    falls = len(loss) and np.nanmean(loss[-size:]) < loss[at]
    if min(margins) < 1 or not falls:
        return []
    evidence = {
        "best_epoch": best + size,
        "least_val_loss": least,
        "val_loss": end,
        "loss": float(loss[-1]),
    }
    share = (best + size) / len(held)
    first = int(run.steps[min(int(share * len(run.steps)), len(run.steps) - 1)])
    return [
        Verdict(
            OVERFITTING,
            confidence(*margins),
            (first, run.span[1]),
            evidence,
            f"The loss of validation was least, {least:.3g}, at epoch "
            f"{best + size} and is {end:.3g} now; that of training is "
            f"{loss[-1]:.3g}.",
            f"Stop at epoch {best + size} (keras.callbacks.EarlyStopping), "
            "use more data, or regularize.",
        )
    ]
