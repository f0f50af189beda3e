"""The loop over the steps of an epoch, and the callbacks that it calls."""

from typing import Any, NamedTuple

import keras

from gdtrain.keras_bridge import callbacks as keras_callbacks
from gdtrain.loop import pacing


class CallbackList(keras.callbacks.CallbackList):
    """Keras's list, without what takes most of its time.

    Keras looks at each number of each epoch's logs to see whether it is a
    tensor, which takes longer than a small epoch. Logs that come from a block
    are Python's numbers already.
    """

    def on_epoch_end(self, epoch, logs=None):
        """Tells all of them of the end of an epoch."""
        if not _are_numbers(logs):
            super().on_epoch_end(epoch, logs)
            return
        keras_callbacks.wait_for_batch_hooks(self)
        for callback in self.callbacks:
            callback.on_epoch_end(epoch, logs)


def tell_steps(callbacks, steps):
    """Tells callbacks of an epoch with another number of steps than before.

    Args:
        callbacks: A `keras.callbacks.CallbackList`.
        steps: How many it has; `None` if unknown.
    """
    params = callbacks.params or {}
    if steps is None or params.get("steps", steps) == steps:
        return
    callbacks.set_params({**params, "steps": steps})
    for callback in callbacks.callbacks:
        if getattr(callback, "progbar", None) is not None:
            callback.progbar.target = steps  # Made with the epoch


def _are_numbers(logs):
    """Whether logs are in the order and of the kind that callbacks get."""
    return bool(logs) and all(type(v) is float for v in logs.values())


def callback_list(model, callbacks, verbose, feed, epochs=1, add_history=False):
    """A `keras.callbacks.CallbackList`, with those that Keras adds.

    Args:
        model: The model.
        callbacks: What the user gave: a list, a `CallbackList` or `None`.
        verbose: As in `keras.Model.fit`.
        feed: The data.
        epochs: How many there will be.
        add_history: Whether to add a `History`.
    """
    if isinstance(callbacks, keras.callbacks.CallbackList):
        return callbacks
    return CallbackList(
        callbacks,
        add_history=add_history,
        add_progbar=verbose != 0,
        model=model,
        verbose=verbose,
        epochs=epochs,
        steps=feed.steps_per_epoch,
    )


class Hooks(NamedTuple):
    """What is called around the steps that run between two looks.

    Args:
        begin: `begin(step)`, or `None` if nobody wants to know.
        end: `end(step, logs)` with the last of the steps.
        stopped: `stopped()` says whether to break off.
        reached: `reached(epoch, step)` is told how far it is, within an
            epoch, or `None` if nobody wants to know.
    """

    begin: Any
    end: Any
    stopped: Any
    reached: Any = None


def hooks_of(callbacks, mode, stopped, reached=None):
    """`Hooks` of a `CallbackList`.

    Args:
        callbacks: The list.
        mode: `"train"`, `"test"` or `"predict"`.
        stopped, reached: As in `Hooks`.
    """
    if not pacing.hooks_batches(callbacks.callbacks, mode):
        return Hooks(None, None, stopped, reached)
    return Hooks(
        getattr(callbacks, f"on_{mode}_batch_begin"),
        getattr(callbacks, f"on_{mode}_batch_end"),
        stopped,
        reached,
    )


def run(ahead, feed, hooks, epoch=0, step=0):
    """Runs one epoch, or what is left of it.

    Args:
        ahead: The `Ahead` that runs the steps.
        feed: Its feed.
        hooks: `Hooks`.
        epoch: Which one.
        step: Where to begin.

    Returns:
        What `History` shows of the epoch.
    """
    if step == 0:
        ahead.begin_epoch()
    section = None
    feed.begin_epoch(epoch, step)
    length = feed.steps_per_epoch
    while length is None or step < length:
        if hooks.begin:
            # None is told of a step that there is no batch for.
            if not ahead.has_next(epoch, step):
                section = None
                break
            hooks.begin(step)
        section = ahead.next(epoch, step, is_last=hooks.stopped())
        if section is None:
            break
        if hooks.end:
            hooks.end(step + section.counted - 1, section.logs())
        step += section.steps
        if hooks.reached and step != length:
            hooks.reached(epoch, step)
        if hooks.stopped():
            break
    feed.end_epoch(step, ran_out=section is None)
    if section is not None and section.epoch_logs is not None:
        return section.epoch_logs
    return ahead.epoch_logs()
