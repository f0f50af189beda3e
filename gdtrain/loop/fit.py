"""`fit`: training, epoch by epoch, with validation."""

from typing import Any

import keras

from gdtrain.common import checks
from gdtrain.data import choice
from gdtrain.descent import virtual_workers
from gdtrain.distributed.workers import Workers
from gdtrain.keras_bridge import data as keras_data
from gdtrain.keras_bridge import losses, models
from gdtrain.loop import epoch_loop, hooks
from gdtrain.loop.block_queue import BlockQueue, function_of
from gdtrain.loop.fit_state import FitState, Rollback
from gdtrain.loop.pacing import Pace
from gdtrain.mistakes import arrays, labels
from gdtrain.state import variables


class Validation:
    """Evaluates a model after some of the epochs.

    Args:
        data: `validation_data` of `keras.Model.fit`; `None` for never.
        frequency: `validation_freq`: every so many epochs, or a list of
            epochs, counted from 1.
        **arguments: Of `evaluate`: `batch_size`, `steps`.

    Raises:
        ValueError: if `frequency` is neither.
    """

    def __init__(self, data: Any, frequency: Any, **arguments: Any) -> None:
        if data is None:
            frequency = ()
        if not isinstance(frequency, (int, list, tuple, set, range)):
            raise ValueError(
                "Expected `validation_freq` to be a list or int. Received: "
                f"validation_freq={frequency} of the type {type(frequency)}."
            )
        self._data = keras.utils.unpack_x_y_sample_weight(data)
        self._frequency = frequency
        self._arguments = arguments

    def is_due(self, epoch: int) -> bool:
        """Whether an epoch, counted from 0, is followed by validation."""
        if isinstance(self._frequency, int):
            return (epoch + 1) % self._frequency == 0
        return epoch + 1 in self._frequency

    def until_due(self, epoch: int, most: int) -> int:
        """How many epochs, with this one, end until it is due."""
        return next(
            (n for n in range(1, most) if self.is_due(epoch + n - 1)), most
        )

    def logs(
        self, model: keras.Model, callbacks: keras.callbacks.CallbackList
    ) -> dict[str, Any]:
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


def _begin(state: FitState, callbacks: keras.callbacks.CallbackList) -> None:
    """Begins training, or resumes it if a callback says so."""
    model = state.model
    model.stop_training = False
    workers = Workers(model.distribute_strategy)
    hooks.check_alike(workers, callbacks.callbacks)
    virtual_workers.check_threads(model)
    function_of(model, "train").begin()
    for callback in hooks.own(callbacks.callbacks):
        callback.on_fit_begin(state)
    if not state.is_finished:
        callbacks.on_train_begin()
    state.epoch = models.initial_epoch(model) or state.epoch
    required = model._step_hooks.required
    has_memory = required.requests or required.guards_steps
    # Who compares with what was before the step must find it there, and so
    # must an optimizer that begins with a copy of the weights: a step that is
    # traced has no values yet of weights that it makes. One that makes
    # variables, be it of metrics, is traced twice.
    if not (model.built and losses.are_metrics_built(model)):
        if has_memory and model.built:
            models.build(model, state.data_source.batch_spec)
        elif has_memory or not model.run_eagerly:
            variables.build(model, state.data_source.batch_spec)
    if state.resumed_from is not None:
        state.restore(state.resumed_from)
    if not state.is_finished:
        state.reached(state.epoch, state.step)


def _pass_epochs(
    state: FitState,
    callbacks: keras.callbacks.CallbackList,
    queue: BlockQueue,
) -> None:
    """Passes epochs that have run all at once, if callbacks only read logs.

    The last of a block is passed as any other: the model may be evaluated
    after it, and is as callbacks know it.
    """
    if isinstance(callbacks, epoch_loop.CallbackList) and (
        callbacks.only_read_logs
    ):
        passed = queue.pop_epochs()
        callbacks.on_epochs(state.epoch, passed)
        state.epoch += passed.epochs


def _begin_epoch(
    state: FitState, callbacks: keras.callbacks.CallbackList
) -> None:
    """Begins an epoch, or continues one that a resumed fit has begun."""
    if state.step == 0:  # Else `restore` has begun it.
        callbacks.on_epoch_begin(state.epoch)
    state.data_source.begin_epoch(state.epoch, state.step)
    epoch_loop.set_steps(callbacks, state.data_source.steps_per_epoch)


def _end_epoch(
    state: FitState,
    callbacks: keras.callbacks.CallbackList,
    logs: dict[str, Any],
    validation: Validation,
) -> None:
    """Evaluates if that is due, and passes the logs of an epoch."""
    if state.stops:  # As a callback of another worker may have asked to
        state.model.stop_training = True
    if validation.is_due(state.epoch):
        logs.update(validation.logs(state.model, callbacks))
    callbacks.on_epoch_end(state.epoch, logs)
    state.logs = losses.pythonify_logs(logs)
    state.queue.agree_to_stop(state.model.stop_training)
    state.is_stopped = state.stops
    state.reached(state.epoch + 1, 0)
    state.is_stopped = state.stops


def _end(state: FitState, callbacks: keras.callbacks.CallbackList) -> None:
    """Ends training; the position is reached before and after callbacks do."""
    optimizer = state.model.optimizer
    weights = state.model.trainable_weights
    state.is_over = True
    function_of(state.model, "train").warn_if_still()
    state.reached(state.epoch, 0)
    is_keras = isinstance(optimizer, keras.optimizers.Optimizer)
    # One that is not built has no averages to end with.
    if is_keras and optimizer.built and weights and state.epochs > 0:
        optimizer.finalize_variable_values(weights)
    callbacks.on_train_end(logs=state.logs)
    state.is_finished = True
    state.reached(state.epoch, 0)


def fit(
    model: keras.Model,
    x: Any = None,
    y: Any = None,
    batch_size: int | None = None,
    epochs: int = 1,
    verbose: Any = "auto",
    callbacks: Any = None,
    validation_split: float = 0.0,
    validation_data: Any = None,
    shuffle: Any = True,
    class_weight: Any = None,
    sample_weight: Any = None,
    initial_epoch: int = 0,
    steps_per_epoch: int | None = None,
    validation_steps: int | None = None,
    validation_batch_size: int | None = None,
    validation_freq: Any = 1,
) -> keras.callbacks.History:
    """Trains; arguments and return value are `keras.Model.fit`'s.

    Raises:
        ValueError: if the model is not compiled, or data or an argument
            cannot be used.
    """
    models.assert_compiled(model, "fit")
    checks.at_least_one("steps_per_epoch", steps_per_epoch)
    checks.at_least_one("validation_steps", validation_steps)
    arrays.check_class_weight(class_weight)
    arguments = {
        "dataset": x if isinstance(x, keras.utils.PyDataset) else None,
        "shuffle": shuffle,
        "class_weight": class_weight,
        "steps_per_epoch": steps_per_epoch,
        "initial_epoch": initial_epoch,
        "validation_freq": validation_freq,
        "validation_steps": validation_steps,
    }
    data = x, y, sample_weight
    model.make_train_function()  # Counts on from the steps of a loaded model.
    with arrays.explained(model, *data):
        if validation_split and validation_data is None:
            data, validation_data = keras_data.train_validation_split(
                data, validation_split
            )
        data_source = choice.data_source(
            *data,
            strategy=model.distribute_strategy,
            batch_size=batch_size,
            steps_per_epoch=steps_per_epoch,
            shuffle=shuffle,
            class_weight=class_weight,
            steps_done=model._step_hooks.steps_done,
        )
    if validation_data is not None:
        arguments["validation_data"] = validation_data
    validation = Validation(
        validation_data,
        validation_freq,
        batch_size=validation_batch_size or batch_size,
        steps=validation_steps,
    )
    models.build_under_strategy(model, data_source.batch_spec)
    epochs = min(epochs, keras.config.max_epochs() or epochs)
    callbacks = epoch_loop.callback_list(
        model, callbacks, verbose, data_source, epochs, add_history=True
    )
    until_due = None if validation_data is None else validation.until_due
    pace = Pace(model, callbacks.callbacks, "train", epochs, until_due)
    queue = BlockQueue(data_source, pace)
    state = FitState(
        queue,
        callbacks,
        hooks.own(callbacks.callbacks),
        initial_epoch,
        epochs,
        arguments,
    )
    try:
        with (
            labels.checked(model, data_source),
            model._step_hooks.registered(callbacks.callbacks),
            data_source.explained(),
        ):
            _begin(state, callbacks)
            batch_hooks = epoch_loop.BatchHooks(
                callbacks, "train", lambda: model.stop_training, state.reached
            )
            while state.has_next_epoch:
                _pass_epochs(state, callbacks, queue)
                try:
                    _begin_epoch(state, callbacks)
                    logs = epoch_loop.run_epoch(
                        queue, batch_hooks, state.epoch, state.step
                    )
                    _end_epoch(state, callbacks, dict(logs), validation)
                except Rollback as rollback:
                    state.restore(rollback.state)
            queue.raise_interrupt()
            if not state.is_finished:  # As the one that it resumes may be
                _end(state, callbacks)
    finally:
        model._validation_source = None
    return model.history
