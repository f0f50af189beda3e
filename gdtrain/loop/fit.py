"""`fit`: training, epoch by epoch, with validation."""

import keras

from gdtrain.common import checks
from gdtrain.data import choice
from gdtrain.keras_bridge import data as keras_data
from gdtrain.keras_bridge import metrics, models
from gdtrain.loop import epoch_loop, hooks, pacing
from gdtrain.loop.block_queue import Ahead
from gdtrain.loop.fit_state import FitState, Rollback
from gdtrain.mistakes import arrays, labels
from gdtrain.state import variables


class Validation:
    """Evaluates a model after some of the epochs.

    Args:
        data: `validation_data` of `keras.Model.fit`.
        frequency: `validation_freq`: every so many epochs, or a list of
            epochs, counted from 1.
        **arguments: Of `evaluate`: `batch_size`, `steps`.

    Raises:
        ValueError: if `frequency` is neither.
    """

    def __init__(self, data, frequency, **arguments):
        if not isinstance(frequency, (int, list, tuple, set, range)):
            raise ValueError(
                "Expected `validation_freq` to be a list or int. Received: "
                f"validation_freq={frequency} of the type {type(frequency)}."
            )
        self._data = data
        self._frequency = frequency
        self._arguments = arguments

    def is_due(self, epoch):
        """Whether an epoch, counted from 0, is followed by validation."""
        if isinstance(self._frequency, int):
            return (epoch + 1) % self._frequency == 0
        return epoch + 1 in self._frequency

    def until_due(self, epoch, most):
        """How many epochs, with this one, end before it is due."""
        return next(
            (n for n in range(1, most) if self.is_due(epoch + n - 1)), most
        )

    def logs(self, model, callbacks):
        """Evaluates, and returns the results as `fit` logs them."""
        x, y, sample_weight = self._data
        logs = model.evaluate(
            x=x,
            y=y,
            sample_weight=sample_weight,
            callbacks=callbacks,
            return_dict=True,
            # Keras's name: it may pass through a user's own `evaluate`.
            _use_cached_eval_dataset=True,
            **self._arguments,
        )
        return {f"val_{name}": value for name, value in logs.items()}


def train(
    model,
    feed,
    callbacks,
    first_epoch,
    epochs,
    validation,
    arguments,
):
    """Trains.

    Args:
        model: A `DescentTrainer`, compiled.
        feed: The training data, a feed.
        callbacks: A `keras.callbacks.CallbackList`.
        first_epoch, epochs: Epochs count from the one to below the other.
        validation: A `Validation`, or `None`.
        arguments: What else `fit` was given, by name.
    """
    model.stop_training = False
    model.make_train_function()
    model.train_function.begin()
    pace = pacing.Pace(model, callbacks.callbacks)
    queue = Ahead(
        model,
        lambda: _train_function(model),
        feed,
        pace,
        _horizon(pace, epochs, validation),
    )
    listeners = hooks.own(callbacks.callbacks)
    fit = FitState(
        model, feed, queue, callbacks, listeners, first_epoch, epochs, arguments
    )
    for callback in listeners:
        callback.on_fit_begin(fit)
    if not fit.is_finished:
        callbacks.on_train_begin()
    fit.epoch = models.initial_epoch(model) or fit.epoch
    required = model._step_hooks.required
    has_memory = required.requests or required.guards_steps
    if not model.built and (has_memory or not model.run_eagerly):
        # Who compares with what was before the step must find it there, and
        # so must an optimizer that begins with a copy of the weights: a step
        # that is traced has no values yet of weights that it makes.
        variables.build(model, feed.batch_spec)
    elif has_memory and not metrics.are_metrics_built(model):
        models.build(model, feed.batch_spec)
    if fit.resumed_from is not None:
        fit.restore(fit.resumed_from)
    if fit.is_finished:
        return model.history
    batch_hooks = epoch_loop.hooks_of(
        callbacks, "train", lambda: model.stop_training, fit.reached
    )
    fit.reached(fit.epoch, fit.step)
    while fit.epoch < epochs and not fit.is_stopped:
        try:
            _one_epoch(fit, callbacks, batch_hooks, validation)
        except Rollback as rollback:
            fit.restore(rollback.state)
    queue.end()
    _end(fit, callbacks)
    return model.history


def _train_function(model):
    """The model's; a new one if a callback has compiled the model."""
    if model.train_function is None:
        model.make_train_function()
    return model.train_function


def _horizon(pace, epochs, validation):
    """Makes a function of an epoch: see `horizon` of `Ahead`."""

    def horizon(epoch):
        left = epochs - epoch
        if pace.sync != "never":
            return 1, left
        return (validation.until_due(epoch, left) if validation else left), left

    return horizon


def _one_epoch(fit, callbacks, batch_hooks, validation):
    """Runs an epoch, or what is left of it."""
    epoch = fit.epoch
    if fit.step == 0:  # Else `restore` has begun it.
        callbacks.on_epoch_begin(epoch)
    fit.feed.begin_epoch(epoch, fit.step)
    epoch_loop.tell_steps(callbacks, fit.feed.steps_per_epoch)
    logs = epoch_loop.run(fit.queue, fit.feed, batch_hooks, epoch, fit.step)
    logs = dict(logs)
    if validation and validation.is_due(epoch):
        logs.update(validation.logs(fit.model, callbacks))
    callbacks.on_epoch_end(epoch, logs)
    fit.logs = metrics.pythonify_logs(logs)
    fit.is_stopped = fit.model.stop_training
    fit.reached(epoch + 1, 0)
    fit.is_stopped = fit.model.stop_training


def _end(fit, callbacks):
    """Ends training, twice told: before callbacks end it and after."""
    optimizer = fit.model.optimizer
    weights = fit.model.trainable_weights
    fit.is_over = True
    _train_function(fit.model).warn_if_still()
    fit.reached(fit.epoch, 0)
    is_keras = isinstance(optimizer, keras.optimizers.Optimizer)
    # One that is not built has no averages to end with.
    if is_keras and optimizer.built and weights and fit.epochs > 0:
        optimizer.finalize_variable_values(weights)
    callbacks.on_train_end(logs=fit.logs)
    fit.is_finished = True
    fit.reached(fit.epoch, 0)


def fit(
    model,
    x=None,
    y=None,
    batch_size=None,
    epochs=1,
    verbose="auto",
    callbacks=None,
    validation_split=0.0,
    validation_data=None,
    shuffle=True,
    class_weight=None,
    sample_weight=None,
    initial_epoch=0,
    steps_per_epoch=None,
    validation_steps=None,
    validation_batch_size=None,
    validation_freq=1,
):
    """Trains; arguments and return value are `keras.Model.fit`'s.

    Raises:
        ValueError: if the model is not compiled, or data or an argument
            cannot be used.
    """
    arguments = {
        "dataset": x if isinstance(x, keras.utils.PyDataset) else None,
        "shuffle": shuffle,
        "class_weight": class_weight,
        "steps_per_epoch": steps_per_epoch,
        "initial_epoch": initial_epoch,
        "validation_freq": validation_freq,
        "validation_steps": validation_steps,
    }
    models.assert_compiled(model, "fit")
    checks.at_least_one("steps_per_epoch", steps_per_epoch)
    checks.at_least_one("validation_steps", validation_steps)
    arrays.check_class_weight(class_weight)
    if validation_split and validation_data is None:
        with arrays.explained(model, x, y, sample_weight):
            (x, y, sample_weight), validation_data = (
                keras_data.train_validation_split(
                    (x, y, sample_weight), validation_split
                )
            )
    validation = None
    if validation_data is not None:
        arguments["validation_data"] = validation_data
        validation = Validation(
            keras.utils.unpack_x_y_sample_weight(validation_data),
            validation_freq,
            batch_size=validation_batch_size or batch_size,
            steps=validation_steps,
        )
    with arrays.explained(model, x, y, sample_weight):
        feed = choice.feed(
            x,
            y,
            sample_weight,
            strategy=model.distribute_strategy,
            batch_size=batch_size,
            steps_per_epoch=steps_per_epoch,
            shuffle=shuffle,
            class_weight=class_weight,
            steps_done=_steps_done(model),
        )
    models.build_under_strategy(model, feed.batch_spec)
    most = keras.config.max_epochs()
    epochs = min(epochs, most) if most else epochs
    callbacks = epoch_loop.callback_list(
        model, callbacks, verbose, feed, epochs, add_history=True
    )
    try:
        with (
            labels.checked(model, feed),
            model._step_hooks.registered(callbacks.callbacks),
        ):
            return train(
                model,
                feed,
                callbacks,
                initial_epoch,
                epochs,
                validation,
                arguments,
            )
    finally:
        model.validation_feed = None


def _steps_done(model):
    """How many updates a model has behind it, also one that was loaded."""
    if model.optimizer is not None:
        iterations = int(model.optimizer.iterations.numpy())
        model._step_hooks.begin(iterations)
    return model._step_hooks.steps_done
