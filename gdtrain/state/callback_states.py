"""The states of callbacks, saved with a fit.

A user's callback has `get_state()`, which returns a dict of numbers, strings,
lists and NumPy arrays, and `set_state(state)`, called after `on_train_begin`;
it may be a `gdtrain.callbacks.Callback` or any other of Keras's. Of Keras's
own callbacks it is known what they keep.
"""

import copy
import os
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import keras

from gdtrain.common import failures
from gdtrain.keras_bridge import callbacks as keras_callbacks

Callbacks = Iterable[keras.callbacks.Callback]


def get(callbacks: Callbacks, unsaved: set[str]) -> dict[str, dict]:
    """The state of each callback that has one, by name.

    One that raises is skipped, with a warning.

    Args:
        callbacks: The callbacks.
        unsaved: Names of those that were skipped before, to which others are
            added: each is warned of once.
    """
    found = {}
    for name, callback in _named(callbacks):
        try:
            state = _state_of(callback)
        except Exception as error:  # A user's own may raise anything.
            if name not in unsaved:
                unsaved.add(name)
                failures.warn(
                    f"The state of `{type(callback).__name__}` cannot be saved",
                    error,
                    "All else is saved, and training continues; in a fit that "
                    "is resumed from there, it starts without a state.",
                )
        else:
            if state:
                found[name] = state
    return found


def _state_of(callback: keras.callbacks.Callback) -> dict[str, Any]:
    """The state of a callback; empty if it has none."""
    state = {
        key: getattr(callback, key)
        for key in keras_callbacks.state_names(callback)
        if hasattr(callback, key)  # Keras sets some of them later.
    }
    if isinstance(callback, keras.callbacks.CSVLogger):
        state["bytes"] = _size(callback)
    if _has(callback, "get_state"):
        state["own"] = callback.get_state()
    # Callbacks change these lists while they are being saved.
    return copy.deepcopy(state)


def prepare(callbacks: Callbacks, states: dict[str, dict]) -> None:
    """To be called before `on_train_begin`, which may empty a file."""
    for name, callback in _named(callbacks):
        if isinstance(callback, keras.callbacks.CSVLogger) and name in states:
            callback.append = True
            path, size = callback.filename, states[name]["bytes"]
            if os.path.exists(path) and os.path.getsize(path) > size:
                os.truncate(path, size)  # What was written later


def put(callbacks: Callbacks, states: dict[str, dict]) -> None:
    """Sets callbacks to what `get` found; warns of those without a state."""
    new = []
    for name, callback in _named(callbacks):
        state = states.get(name, {})
        for key in keras_callbacks.state_names(callback):
            if key in state:
                setattr(callback, key, copy.deepcopy(state[key]))
        if isinstance(callback, keras.callbacks.History):
            callback.model.history = callback
        if _has(callback, "set_state"):
            if "own" in state:
                callback.set_state(copy.deepcopy(state["own"]))
            else:
                new.append(name)
    if new:
        warnings.warn(
            "The checkpoint has no state of these callbacks, which start "
            f"without one: {new}.",
            stacklevel=2,
        )


def _has(callback: keras.callbacks.Callback, name: str) -> bool:
    """Whether a callback, of ours or not, has a method of state of its own."""
    hook = getattr(callback, name, None)
    return hook is not None and not keras_callbacks.is_default_hook(hook)


def _named(
    callbacks: Callbacks,
) -> Iterator[tuple[str, keras.callbacks.Callback]]:
    """Callbacks under a name: the class, and which one of it."""
    counts: dict[str, int] = {}
    for callback in callbacks:
        kind = type(callback).__name__
        counts[kind] = counts.get(kind, -1) + 1
        yield f"{kind} {counts[kind]}", callback


def _size(logger: keras.callbacks.CSVLogger) -> int:
    """How long the file of a `CSVLogger` is, in bytes."""
    file = logger.csv_file
    if file is not None and not file.closed:
        file.flush()
        if hasattr(file, "fileno"):  # Which a remote file lacks
            return os.fstat(file.fileno()).st_size  # Even if it was renamed
    path = logger.filename
    return os.path.getsize(path) if os.path.exists(path) else 0
