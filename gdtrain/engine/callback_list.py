"""The callbacks of a `fit`, `evaluate` or `predict`."""

import keras


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
    return keras.callbacks.CallbackList(
        callbacks,
        add_history=add_history,
        add_progbar=verbose != 0,
        model=model,
        verbose=verbose,
        epochs=epochs,
        steps=feed.steps_per_epoch,
    )
