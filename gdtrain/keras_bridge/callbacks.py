"""Keras's callbacks: their hooks and their state."""

from collections.abc import Callable
from typing import Any, TypeVar

import keras

_Hook = TypeVar("_Hook", bound=Callable)

_STATES: dict[type, tuple[str, ...]] = {
    keras.callbacks.History: ("history", "epoch"),
    keras.callbacks.CSVLogger: ("keys",),  # Its columns, in their order
    keras.callbacks.EarlyStopping: (
        "wait",
        "stopped_epoch",
        "best",
        "best_weights",
        "best_epoch",
    ),
    keras.callbacks.ReduceLROnPlateau: ("best", "wait", "cooldown_counter"),
    keras.callbacks.ModelCheckpoint: (
        "best",
        "_batches_seen_since_last_saving",
        "_last_batch_seen",
        "_current_epoch",
    ),
    keras.callbacks.SwapEMAWeights: ("_ema_weights_in_model",),
    keras.callbacks.TensorBoard: (
        "_global_train_batch",
        "_global_test_batch",
    ),
}


def state_names(callback: keras.callbacks.Callback) -> list[str]:
    """Attributes in which one of Keras's callbacks keeps its state.

    Needs the names above; one that is gone is not saved.
    """
    return [
        name
        for kind, names in _STATES.items()
        if isinstance(callback, kind)
        for name in names
    ]


def without_model(callback: keras.callbacks.Callback) -> dict[str, Any]:
    """Attributes of a callback, without its model.

    Needs `_model`; without it, a pickled callback contains its model.
    """
    return {**vars(callback), "_model": None}


def default_hook(method: _Hook) -> _Hook:
    """Marks an empty hook of a base class, as Keras marks its own.

    Uses the mark of `keras.src.utils.default` without need of Keras's.
    """
    setattr(method, "_is_default", True)
    return method


def is_default_hook(method: Callable) -> bool:
    """Whether a hook of a callback is the empty one of its base class.

    Needs the mark of `keras.src.utils.default`; without it every callback
    seems to use every batch, and training is slow.
    """
    return getattr(method, "_is_default", False)


def may_profile(tensorboard: keras.callbacks.TensorBoard) -> bool:
    """Whether a `keras.callbacks.TensorBoard` profiles some batches.

    Needs `_should_trace`; without it, it is taken to do so.
    """
    return getattr(tensorboard, "_should_trace", True)


def wait_for_batch_hooks(callbacks: keras.callbacks.CallbackList) -> None:
    """Waits for hooks of batches that a `CallbackList` runs on its threads.

    Needs `_async_train` and `_flush_futures`; without them, hooks of batches
    might run after the end of their epoch.
    """
    if callbacks._async_train:
        callbacks._flush_futures()
