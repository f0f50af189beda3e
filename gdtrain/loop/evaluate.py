"""What `evaluate` does: `test_step` over the data once, in blocks of steps."""

from typing import Any

import keras

from gdtrain.block.block_runner import BlockRunner
from gdtrain.common import checks
from gdtrain.data import choice
from gdtrain.data.protocols import DataSource
from gdtrain.keras_bridge import losses, models
from gdtrain.loop import epoch_loop, pacing
from gdtrain.loop.block_queue import BlockQueue
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
    with labels.checked(model, data_source):
        logs = _run(model, data_source, callbacks)
    return logs if return_dict else losses.flat_metrics(model, logs)


def _run(
    model: keras.Model,
    data_source: DataSource,
    callbacks: keras.callbacks.CallbackList,
) -> dict[str, Any]:
    """One pass over the data; returns Python numbers by name."""
    model.make_test_function()
    model.stop_evaluating = False
    callbacks.on_test_begin()
    queue = BlockQueue(
        model,
        lambda: _test_function(model),
        data_source,
        pacing.Pace(model, callbacks.callbacks, "test"),
        epochs_until_sync=lambda epoch: (1, 1),
    )
    hooks = epoch_loop.hooks_of(
        callbacks, "test", stopped=lambda: model.stop_evaluating
    )
    logs = epoch_loop.run_epoch(queue, data_source, hooks)
    queue.raise_interrupt()
    logs = losses.pythonify_logs(logs)
    callbacks.on_test_end(logs)
    return logs


def _test_function(model: keras.Model) -> BlockRunner:
    """The model's; a new one if a callback has compiled the model."""
    if model.test_function is None:
        model.make_test_function()
    return model.test_function
