"""What is known of a training epoch by epoch."""

import os

import numpy as np

from gdtrain.writers import event_files

_EPOCH = "epoch_"


def open_epochs(telemetry, history):
    """Losses of training and validation, by epoch.

    Args:
        telemetry: As in `gdtrain.diagnose`; a log folder has its own epochs.
        history: What `fit` returned, or a dict of lists; `None` to look into
            the log folder, if `telemetry` is one.

    Returns:
        A dict from name to float64 `[epochs]`; empty if nothing is known.

    Raises:
        TypeError: if `history` is none of these.
    """
    if history is not None:
        numbers = getattr(history, "history", history)
        if not isinstance(numbers, dict):
            raise TypeError(
                "`history` must be what `fit` returned, or its dict. "
                f"Received: history={history!r} of type "
                f"{type(history).__name__}."
            )
        return {
            name: np.asarray(values, np.float64)
            for name, values in numbers.items()
            if name in ("loss", "val_loss")
        }
    if isinstance(telemetry, (str, os.PathLike)) and os.path.isdir(telemetry):
        return _of_folder(os.fspath(telemetry))
    return {}


def _of_folder(folder):
    """Of the runs that `gdtrain.callbacks.TensorBoard` wrote."""
    found = {}
    for run, name in (("train", "loss"), ("validation", "val_loss")):
        path = os.path.join(folder, run)
        if event_files.paths(path):
            scalars = event_files.scalars(path)
            if f"{_EPOCH}loss" in scalars:
                found[name] = scalars[f"{_EPOCH}loss"][1].astype(np.float64)
    return found
