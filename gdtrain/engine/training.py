"""The loop over epochs, with callbacks and validation where Keras has them."""

import keras

from gdtrain import keras_bridge
from gdtrain.engine import epoch_loop, pacing, sight
from gdtrain.engine.ahead import Ahead


def train(model, feed, callbacks, first_epoch, epochs, validation=None):
    """Trains.

    Args:
        model: A `DescentTrainer`, compiled.
        feed: The training data, a feed.
        callbacks: A `keras.callbacks.CallbackList`.
        first_epoch, epochs: Epochs count from the one to below the other.
        validation: A `Validation`, or `None`.
    """
    model.stop_training = False
    model.make_train_function()
    callbacks.on_train_begin()
    sees = sight.of(callbacks.callbacks)
    pace = pacing.Pace(model.steps_setting, sees)

    def horizon(epoch):
        left = epochs - epoch
        if sees != "logs":
            return 1, left
        return (validation.until_due(epoch, left) if validation else left), left

    ahead = Ahead(
        model,
        model.train_function,
        feed,
        pace,
        pacing.piece(pace, callbacks.callbacks, "train"),
        horizon,
    )
    hooks = epoch_loop.hooks_of(
        callbacks, "train", stopped=lambda: model.stop_training
    )
    logs = None
    first_epoch = keras_bridge.initial_epoch(model) or first_epoch
    for epoch in range(first_epoch, epochs):
        callbacks.on_epoch_begin(epoch)
        logs = dict(epoch_loop.run(ahead, feed, hooks, pace.counted, epoch))
        if validation and validation.is_due(epoch):
            logs.update(validation.logs(model, callbacks))
        callbacks.on_epoch_end(epoch, logs)
        if model.stop_training:
            break
    ahead.end()
    if isinstance(model.optimizer, keras.optimizers.Optimizer) and epochs > 0:
        model.optimizer.finalize_variable_values(model.trainable_weights)
    callbacks.on_train_end(logs=logs)
    return model.history
