"""The loop over epochs, with callbacks and validation where Keras has them."""

import keras

from gdtrain import keras_bridge
from gdtrain.engine import callback_list, epoch_loop, pacing, variables
from gdtrain.engine.ahead import Ahead
from gdtrain.engine.run import GoBack, Run


def train(
    model,
    feed,
    callbacks,
    first_epoch,
    epochs,
    validation=None,
    arguments=None,
):
    """Trains.

    Args:
        model: A `DescentTrainer`, compiled.
        feed: The training data, a feed.
        callbacks: A `keras.callbacks.CallbackList`.
        first_epoch, epochs: Epochs count from the one to below the other.
        validation: A `Validation`, or `None`.
        arguments: What else `fit` was given; see `gdtrain.engine.identity`.
    """
    model.stop_training = False
    model.make_train_function()
    model.train_function.begin()
    run = Run(
        model, feed, callbacks.callbacks, first_epoch, epochs, arguments
    )
    run.begin()
    if not run.is_finished:
        callbacks.on_train_begin()
    run.epoch = keras_bridge.initial_epoch(model) or run.epoch
    pace = pacing.Pace(model, callbacks.callbacks)
    run.ahead = Ahead(
        model,
        lambda: _train_function(model),
        feed,
        pace,
        _horizon(pace.sees, epochs, validation),
    )
    observers = model.step_observers
    has_memory = observers.asked or observers.are_guarding
    if not model.built and (has_memory or not model.run_eagerly):
        # Who compares with what was before the step must find it there, and
        # so must an optimizer that begins with a copy of the weights: a step
        # that is traced has no values yet of weights that it makes.
        variables.build(model, feed.batch_spec)
    elif has_memory and not keras_bridge.are_metrics_built(model):
        keras_bridge.build(model, feed.batch_spec)
    run.restore_resumed()
    if run.is_finished:
        return model.history
    hooks = epoch_loop.hooks_of(
        callbacks, "train", lambda: model.stop_training, run.reached
    )
    run.reached(run.epoch, run.step)
    while run.epoch < epochs and not run.is_stopped:
        try:
            _one_epoch(run, callbacks, hooks, validation)
        except GoBack as back:
            run.restore(back.state)
    run.ahead.end()
    _end(run, callbacks)
    return model.history


def _train_function(model):
    """The model's; a new one if a callback has compiled the model."""
    if model.train_function is None:
        model.make_train_function()
    return model.train_function


def _horizon(sees, epochs, validation):
    """Makes a function of an epoch: see `horizon` of `Ahead`."""

    def horizon(epoch):
        left = epochs - epoch
        if sees != "logs":
            return 1, left
        return (validation.until_due(epoch, left) if validation else left), left

    return horizon


def _one_epoch(run, callbacks, hooks, validation):
    """Runs an epoch, or what is left of it."""
    epoch = run.epoch
    callbacks.on_epoch_begin(epoch)
    run.begun_epoch()
    run.feed.begin_epoch(epoch, run.step)
    callback_list.tell_steps(callbacks, run.feed.steps_per_epoch)
    logs = epoch_loop.run(run.ahead, run.feed, hooks, epoch, run.step)
    logs = dict(logs)
    if validation and validation.is_due(epoch):
        logs.update(validation.logs(run.model, callbacks))
    callbacks.on_epoch_end(epoch, logs)
    run.logs = keras_bridge.pythonify_logs(logs)
    run.is_stopped = run.model.stop_training
    run.reached(epoch + 1, 0)
    run.is_stopped = run.model.stop_training


def _end(run, callbacks):
    """Ends training, twice told: before callbacks end it and after."""
    optimizer = run.model.optimizer
    weights = run.model.trainable_weights
    run.is_over = True
    _train_function(run.model).warn_if_still()
    run.reached(run.epoch, 0)
    is_keras = isinstance(optimizer, keras.optimizers.Optimizer)
    # One that is not built has no averages to end with.
    if is_keras and optimizer.built and weights and run.epochs > 0:
        optimizer.finalize_variable_values(weights)
    callbacks.on_train_end(logs=run.logs)
    run.is_finished = True
    run.reached(run.epoch, 0)
