"""Who must see the model, and when: what ends a block of steps.

| a callback that | sees | a block ends |
|---|---|---|
| says `sees = "logs"`, or is told of nothing but logs | logs | - |
| hooks `on_epoch_begin` or `on_epoch_end` | epochs | with each epoch |
| hooks `on_train_batch_*` | batches | with each batch |

A callback's own word, an attribute `sees`, comes before what its hooks say.
Callbacks that see logs alone are called afterwards, in order, so that a block
may go on from one epoch into the next. Of Keras's own callbacks it is known
what they look at.
"""

import keras

from gdtrain import keras_bridge

WORDS = ("logs", "epochs", "batches")

_callbacks = keras.callbacks


def _by_save_freq(callback):
    return "epochs" if callback.save_freq == "epoch" else "batches"


def _by_update_freq(callback):
    quiet = callback.update_freq == "epoch" and not (
        keras_bridge.profiles(callback) or callback.write_steps_per_second
    )
    return "epochs" if quiet else "batches"


# By exact type: a subclass may look at anything.
_KNOWN = {
    _callbacks.History: lambda callback: "logs",
    _callbacks.ProgbarLogger: lambda callback: "logs",
    _callbacks.CSVLogger: lambda callback: "logs",
    _callbacks.RemoteMonitor: lambda callback: "logs",
    _callbacks.ModelCheckpoint: _by_save_freq,
    _callbacks.BackupAndRestore: _by_save_freq,
    _callbacks.TensorBoard: _by_update_freq,
}


def of(callbacks, mode="train"):
    """What the most demanding of some callbacks sees, a word of `WORDS`.

    Args:
        callbacks: A list of Keras callbacks.
        mode: `"train"`, `"test"` or `"predict"`.

    Raises:
        ValueError: if a callback's `sees` is no such word.
    """
    words = [_of_one(callback, mode) for callback in callbacks]
    return max(words, key=WORDS.index, default="logs")


def _of_one(callback, mode):
    word = getattr(callback, "sees", None)
    if word is None and type(callback) in _KNOWN:
        word = _KNOWN[type(callback)](callback)
    if word is None:
        word = _by_hooks(callback, mode)
    if word not in WORDS:
        raise ValueError(
            f"`sees` of a callback must be one of {WORDS}. Received: "
            f"{word!r} of {type(callback).__name__}."
        )
    return word


def _by_hooks(callback, mode):
    if hooks_batches([callback], mode):
        return "batches"
    if mode == "train" and _hooks(callback, "on_epoch_begin", "on_epoch_end"):
        return "epochs"
    return "logs"


def hooks_batches(callbacks, mode="train"):
    """Whether any of some callbacks is told of batches."""
    names = [f"on_{mode}_batch_begin", f"on_{mode}_batch_end"]
    if mode == "train":
        names += ["on_batch_begin", "on_batch_end"]
    return any(_hooks(callback, *names) for callback in callbacks)


def _hooks(callback, *names):
    return any(
        not keras_bridge.is_default_hook(getattr(callback, name))
        for name in names
    )
