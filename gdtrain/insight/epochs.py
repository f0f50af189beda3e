"""What is known of a training epoch by epoch."""

import dataclasses
import os
from typing import Any

import numpy as np

from gdtrain.writers import event_files

_TAG = "epoch_loss"


@dataclasses.dataclass(frozen=True)
class Epochs:
    """Epochs of a training.

    Args:
        count: How many there were; 0 if unknown.
        validated: Those with a loss of validation, from 1, int64 `[n]`.
        loss: Their losses, float64 `[n]`.
        val_loss: Their losses of validation, float64 `[n]`.
    """

    count: int
    validated: Any
    loss: Any
    val_loss: Any


def open_epochs(telemetry, history):
    """Losses of training and validation.

    Of a history with `validation_freq`, every n-th epoch is taken to have
    been validated, with the largest n that there can have been.

    Args:
        telemetry: As in `gdtrain.diagnose`; a log folder has its own epochs.
        history: What `fit` returned, or its dict of lists; `None` to look
            into the log folder, if `telemetry` is one.

    Returns:
        An `Epochs`.

    Raises:
        TypeError: if `history` is none of these.

    Example:

    >>> found = open_epochs(None, {"loss": [4, 3, 2, 1], "val_loss": [5, 6]})
    >>> found.count, found.validated.tolist(), found.loss.tolist()
    (4, [2, 4], [3.0, 1.0])
    """
    if history is not None:
        return _of_history(history)
    if isinstance(telemetry, (str, os.PathLike)) and os.path.isdir(telemetry):
        return _of_folder(os.fspath(telemetry))
    return _epochs(0, [], [], [])


def steps_per_epoch(telemetry, steps, count):
    """How many steps an epoch has, or `None` if that is not known.

    Args:
        telemetry: As in `gdtrain.diagnose`; a callback that trained knows it.
        steps: Step numbers of the whole training, int64 `[n]`.
        count: How many epochs that is; 0 if unknown.

    Example:

    >>> steps_per_epoch("run.npz", np.arange(1, 61), 12)
    5
    """
    known = (getattr(telemetry, "params", None) or {}).get("steps")
    if known:
        return int(known)
    if not count or steps[-1] % count:
        return None
    return int(steps[-1]) // count


def _of_history(history):
    """Of Keras's `History`, or a dict like its own."""
    numbers = getattr(history, "history", history)
    if not isinstance(numbers, dict):
        raise TypeError(
            "`history` must be what `fit` returned, or its dict. "
            f"Received: history={history!r} of type {type(history).__name__}."
        )
    loss, held = numbers.get("loss", []), numbers.get("val_loss", [])
    if not len(loss) or not len(held):
        return _epochs(len(loss), [], [], [])
    every = max(len(loss) // len(held), 1)
    rows = slice(every - 1, every * len(held), every)
    epochs = np.arange(1, len(loss) + 1)
    return _epochs(len(loss), epochs[rows], loss[rows], held)


def _of_folder(folder):
    """Of the runs that `gdtrain.callbacks.TensorBoard` wrote."""
    found = []
    train = event_files.train(folder)
    for path in (train, os.path.join(folder, "validation")):
        scalars = event_files.scalars(path) if event_files.paths(path) else {}
        found.append(scalars.get(_TAG, (np.empty(0, np.int64), np.empty(0))))
    (at, loss), (held_at, held) = found
    count = int(at[-1]) + 1 if len(at) else 0
    both, rows, held_rows = np.intersect1d(at, held_at, return_indices=True)
    return _epochs(count, both + 1, loss[rows], held[held_rows])


def _epochs(count, validated, loss, held):
    """The arrays as they are told of."""
    return Epochs(
        count,
        np.asarray(validated, np.int64),
        np.asarray(loss, np.float64),
        np.asarray(held, np.float64),
    )
