"""The loop over the steps of an epoch, and the callbacks that it calls."""

import functools
from collections.abc import Callable
from typing import Any

import keras

from gdtrain.data.protocols import DataSource
from gdtrain.distributed.workers import Workers
from gdtrain.keras_bridge import callbacks as keras_callbacks
from gdtrain.keras_bridge import losses
from gdtrain.loop import pacing
from gdtrain.loop.block_queue import BlockQueue
from gdtrain.loop.slices import PassedEpochs

# By exact type: a subclass may do anything with an epoch.
_HISTORY = keras.callbacks.History
# They read the logs of an epoch, and nothing else.
_READERS = _HISTORY, keras.callbacks.CSVLogger


class CallbackList(keras.callbacks.CallbackList):
    """Keras's list, without what takes most of the time of a small epoch."""

    @functools.cached_property
    def only_read_logs(self) -> bool:
        """Whether callbacks that see epochs or batches only read their logs."""
        others = [c for c in self.callbacks if type(c) not in _READERS]
        return not (pacing.hooks_epochs(others) or pacing.hooks_batches(others))

    def on_epoch_end(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        """Calls `on_epoch_end` of all callbacks."""
        keras_callbacks.wait_for_batch_hooks(self)
        logs = losses.pythonify_logs(logs or {})
        for callback in self.callbacks:
            callback.on_epoch_end(epoch, logs)

    def on_epochs(self, first: int, passed: PassedEpochs) -> None:
        """Shows epochs to those that read logs, as `on_epoch_end` would.

        Args:
            first: The number of the first.
            passed: How many, and their logs.
        """
        for callback in self.callbacks:
            if type(callback) is _HISTORY:
                callback.epoch.extend(range(first, first + passed.epochs))
                for name, values in passed.logs.items():
                    callback.history.setdefault(name, []).extend(values)
            elif type(callback) in _READERS:
                for index in range(passed.epochs):
                    logs = {n: each[index] for n, each in passed.logs.items()}
                    callback.on_epoch_end(first + index, logs)


def set_steps(
    callbacks: keras.callbacks.CallbackList, steps: int | None
) -> None:
    """Sets the number of steps of an epoch, where it differs from before.

    Args:
        callbacks: A `keras.callbacks.CallbackList`.
        steps: How many it has; `None` if unknown.
    """
    params = callbacks.params or {}
    if steps is None or params.get("steps", steps) == steps:
        return
    callbacks.set_params({**params, "steps": steps})
    for callback in callbacks.callbacks:
        is_bar = isinstance(callback, keras.callbacks.ProgbarLogger)
        if is_bar and callback.progbar is not None:
            callback.progbar.target = steps  # Made with the epoch


def callback_list(
    model: keras.Model,
    callbacks: Any,
    verbose: Any,
    data_source: DataSource,
    epochs: int = 1,
    add_history: bool = False,
) -> keras.callbacks.CallbackList:
    """A `keras.callbacks.CallbackList`, with those that Keras adds.

    Args:
        model: The model.
        callbacks: What the user gave: a list, a `CallbackList` or `None`.
        verbose: As in `keras.Model.fit`. Of several workers, `"auto"` shows
            the progress of the first.
        data_source: The data.
        epochs: How many there will be.
        add_history: Whether to add a `History`.
    """
    if isinstance(callbacks, keras.callbacks.CallbackList):
        return callbacks
    if verbose == "auto" and not Workers(model.distribute_strategy).is_first:
        verbose = 0
    return CallbackList(
        callbacks,
        add_history=add_history,
        add_progbar=verbose != 0,
        model=model,
        verbose=verbose,
        epochs=epochs,
        steps=data_source.steps_per_epoch,
    )


class BatchHooks:
    """What is called around each slice of steps.

    Args:
        callbacks: Those whose hooks are called.
        mode: `"train"`, `"test"` or `"predict"`.
        stopped: Returns whether a callback has asked to stop.
        reached: `reached(epoch, step)` sets the position within an epoch.

    Attributes:
        begin: `begin(step)`, or `None` if no callback has that hook.
        end: `end(step, logs)` with the last of the steps, or `None`.
    """

    begin: Callable[[int], Any] | None = None
    end: Callable[[int, Any], Any] | None = None

    def __init__(
        self,
        callbacks: keras.callbacks.CallbackList,
        mode: str,
        stopped: Callable[[], bool],
        reached: Callable[[int, int], Any] | None = None,
    ) -> None:
        self.stopped, self.reached = stopped, reached
        if pacing.hooks_batches(callbacks.callbacks, mode):
            self.begin = getattr(callbacks, f"on_{mode}_batch_begin")
            self.end = getattr(callbacks, f"on_{mode}_batch_end")


def run_epoch(
    queue: BlockQueue, hooks: BatchHooks, epoch: int = 0, step: int = 0
) -> Any:
    """Runs one epoch, or the rest of it; the data source has begun it.

    Args:
        queue: Runs the steps.
        hooks: What to call around them.
        epoch: Which one.
        step: Where to begin.

    Returns:
        What `History` shows of the epoch.
    """
    if step == 0:
        queue.begin_epoch()
    steps = None
    length = queue.data_source.steps_per_epoch
    while length is None or step < length:
        if hooks.begin:
            # No hook is called for a step that there is no batch for.
            if not queue.has_next(epoch, step):
                steps = None
                break
            hooks.begin(step)
        queue.fill(epoch, step, is_last=queue.stops(hooks.stopped()))
        steps = queue.pop()
        if steps is None:
            break
        if hooks.end:
            hooks.end(step + steps.counted - 1, steps.logs())
        step += steps.steps
        if hooks.reached and step != length:
            hooks.reached(epoch, step)
        if queue.stops(hooks.stopped()):
            break
    queue.data_source.end_epoch(step, ran_out=steps is None)
    if steps is not None and steps.epoch_logs is not None:
        return steps.epoch_logs
    return queue.epoch_logs()
