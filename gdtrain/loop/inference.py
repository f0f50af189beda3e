"""What `evaluate` and `predict` do: one pass over the data, in blocks."""

import math
from typing import Any

import keras

from gdtrain.common import checks
from gdtrain.common.explained import more
from gdtrain.common.signals import Interrupts
from gdtrain.data import choice
from gdtrain.data.protocols import DataSource
from gdtrain.keras_bridge import data, losses, models
from gdtrain.loop import epoch_loop
from gdtrain.loop.block_queue import BlockQueue, function_of
from gdtrain.loop.pacing import Pace
from gdtrain.mistakes import arrays, labels


def evaluate(
    model: keras.Model,
    x: Any = None,
    y: Any = None,
    batch_size: int | None = None,
    verbose: Any = "auto",
    sample_weight: Any = None,
    steps: int | None = None,
    callbacks: Any = None,
    return_dict: bool = False,
    _use_cached_eval_dataset: bool = False,
) -> Any:
    """Evaluates; arguments and return value are `keras.Model.evaluate`'s.

    Args:
        _use_cached_eval_dataset: Whether `fit` validates, which keeps the
            data source from one epoch to the next. Keras's name.

    Raises:
        ValueError: if the model is not compiled, or data or an argument
            cannot be used.
    """
    models.assert_compiled(model, "evaluate")
    checks.at_least_one("steps", steps)
    within_fit = _use_cached_eval_dataset
    data_source = model._validation_source if within_fit else None
    if data_source is None:
        with arrays.explained(model, x, y, sample_weight):
            data_source = choice.data_source(
                x,
                y,
                sample_weight,
                strategy=model.distribute_strategy,
                batch_size=batch_size,
                steps_per_epoch=steps,
            )
        models.build_under_strategy(model, data_source.batch_spec)
    if within_fit:
        model._validation_source = data_source
    data_source.go_to(0, 0, None)
    callbacks = epoch_loop.callback_list(model, callbacks, verbose, data_source)
    with labels.checked(model, data_source), data_source.explained():
        model.make_test_function()
        model.stop_evaluating = False
        callbacks.on_test_begin()
        pace = Pace(model, callbacks.callbacks, "test")
        queue = BlockQueue(data_source, pace)
        hooks = epoch_loop.BatchHooks(
            callbacks, "test", stopped=lambda: model.stop_evaluating
        )
        data_source.begin_epoch(0, 0)
        logs = epoch_loop.run_epoch(queue, hooks)
        queue.raise_interrupt()
        logs = losses.pythonify_logs(logs)
        callbacks.on_test_end(logs)
    return logs if return_dict else losses.flat_metrics(model, logs)


def predict(
    model: keras.Model,
    x: Any,
    batch_size: int | None = None,
    verbose: Any = "auto",
    steps: int | None = None,
    callbacks: Any = None,
) -> Any:
    """Predicts; arguments and return value are `keras.Model.predict`'s.

    Raises:
        ValueError: if the data cannot be used, or there are none.
    """
    checks.at_least_one("steps", steps)
    with arrays.explained(model, x):
        data_source = choice.data_source(
            x,
            strategy=model.distribute_strategy,
            batch_size=batch_size,
            steps_per_epoch=steps,
        )
    callbacks = epoch_loop.callback_list(model, callbacks, verbose, data_source)
    model.make_predict_function()
    model.stop_predicting = False
    callbacks.on_predict_begin()
    with data_source.explained():
        outputs = _predict(model, data_source, callbacks)
    callbacks.on_predict_end()
    if not outputs:
        raise ValueError(
            "There is nothing to predict: the data has no batch. Received: "
            f"x={x!r}." + more("unusable-data")
        )
    return data.concatenate_outputs(outputs)


def _predict(
    model: keras.Model,
    data_source: DataSource,
    callbacks: keras.callbacks.CallbackList,
) -> list[Any]:
    """Outputs of each block, a list."""
    pace = Pace(model, callbacks.callbacks, "predict")
    hooks = epoch_loop.BatchHooks(
        callbacks, "predict", stopped=lambda: model.stop_predicting
    )
    interrupts = Interrupts()
    outputs: list[Any] = []
    step, length = 0, data_source.steps_per_epoch
    while length is None or step < length:
        interrupts.raise_pending()
        if hooks.begin:
            if not data_source.has_batch(0, step):
                break
            hooks.begin(step)
        block = function_of(model, "predict").compiled_for(data_source)
        steps = min(
            pace.steps(block.speed, length, step=step),
            data_source.most_steps,
            # As in Keras, after one more execution
            (pace.fixed_steps or 1) if hooks.stopped() else math.inf,
        )
        with interrupts.held_back():
            some, count = block.run(
                data_source, step, steps, exactly=pace.fixed_steps is not None
            )
        if not count:
            break
        outputs.append(some)
        if hooks.end:
            last = step + (pace.fixed_steps or count) - 1
            hooks.end(last, {"outputs": some})
        step += count
        if hooks.stopped():
            break
    data_source.end_epoch(step, ran_out=length is not None and step < length)
    interrupts.raise_pending()
    return outputs
