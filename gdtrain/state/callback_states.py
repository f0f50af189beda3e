"""What callbacks remember from step to step.

A callback of the user's is asked by `get_state()`, which returns a dict of
numbers, strings, lists and NumPy arrays, and gets it back by
`set_state(state)`, after `on_train_begin`. Of Keras's own callbacks it is
known what they remember.
"""

import copy
import os
import warnings
from collections.abc import Iterable
from typing import Any

import keras

from gdtrain.common import failures
from gdtrain.keras_bridge import callbacks as keras_callbacks


def get(
    callbacks: Iterable[keras.callbacks.Callback], without: set[str]
) -> dict[str, dict]:
    """What each of some callbacks remembers, by name.

    One that raises is left out, of which a warning tells.

    Args:
        callbacks: The callbacks.
        without: Names of those that were left out before, to which others
            are added: they are told of once.
    """
    found = {}
    for name, callback in _named(callbacks):
        try:
            state = _state_of(callback)
        except Exception as error:  # A user's own may raise anything.
            if name not in without:
                without.add(name)
                failures.warn(
                    f"What `{type(callback).__name__}` remembers cannot be "
                    "saved",
                    error,
                    "All else is saved, and training goes on; a run that "
                    "goes on from there begins it anew.",
                )
        else:
            if state:
                found[name] = state
    return found


def _state_of(callback: keras.callbacks.Callback) -> dict[str, Any]:
    """What a callback remembers; empty for nothing."""
    state = {
        key: getattr(callback, key)
        for key in keras_callbacks.state_names(callback)
        if hasattr(callback, key)
    }
    if isinstance(callback, keras.callbacks.CSVLogger):
        state["bytes"] = _size(callback)
    if _has(callback, "get_state"):
        state["own"] = callback.get_state()
    # Callbacks go on with these lists while they are being saved.
    return copy.deepcopy(state)


def prepare(callbacks, states):
    """To be called before `on_train_begin`, which may empty a file."""
    for name, callback in _named(callbacks):
        if isinstance(callback, keras.callbacks.CSVLogger) and name in states:
            callback.append = True
            _cut(callback.filename, states[name]["bytes"])


def put(callbacks, states):
    """Gives callbacks back what `get` found; warns if it knows no more."""
    new = []
    for name, callback in _named(callbacks):
        state = states.get(name, {})
        for key in keras_callbacks.state_names(callback):
            if key in state:
                setattr(callback, key, copy.deepcopy(state[key]))
        if isinstance(callback, keras.callbacks.History):
            callback.model.history = callback
        if "own" in state and _has(callback, "set_state"):
            callback.set_state(copy.deepcopy(state["own"]))
        elif _has(callback, "set_state"):
            new.append(name)
    if new:
        warnings.warn(
            "The checkpoint knows nothing of these callbacks, which begin "
            f"anew: {new}.",
            stacklevel=2,
        )


def _has(callback: keras.callbacks.Callback, name: str) -> bool:
    """Whether a callback, also one not built on ours, has a hook of state."""
    hook = getattr(callback, name, None)
    return hook is not None and not keras_callbacks.is_default_hook(hook)


def _named(callbacks):
    """Callbacks under a name: the class, and which one of it."""
    counts: dict[str, int] = {}
    for callback in callbacks:
        kind = type(callback).__name__
        counts[kind] = counts.get(kind, -1) + 1
        yield f"{kind} {counts[kind]}", callback


def _size(logger):
    """How long the file of a `CSVLogger` is, in bytes."""
    if logger.csv_file is not None and not logger.csv_file.closed:
        logger.csv_file.flush()
        if hasattr(logger.csv_file, "fileno"):  # Wherever its path leads now
            return os.fstat(logger.csv_file.fileno()).st_size
    if not os.path.exists(logger.filename):
        return 0
    return os.path.getsize(logger.filename)


def _cut(path, size):
    """Drops what was written to a file later."""
    if os.path.exists(path) and os.path.getsize(path) > size:
        os.truncate(path, size)
