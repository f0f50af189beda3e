"""The callbacks of a `fit`, `evaluate` or `predict`."""

import keras

from gdtrain import keras_bridge


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
        keras_bridge.finish_hooks(self)
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


def of(model, callbacks, verbose, feed, epochs=1, add_history=False):
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
