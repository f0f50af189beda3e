"""What `predict` does: `predict_step` over the data once, in blocks."""

from typing import Any

import keras

from gdtrain.block.prediction import PredictFunction
from gdtrain.common import checks
from gdtrain.common.signals import Interrupts
from gdtrain.data import choice
from gdtrain.data.protocols import DataSource
from gdtrain.keras_bridge import data
from gdtrain.loop import epoch_loop, pacing
from gdtrain.mistakes import arrays


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
    outputs = _run(model, data_source, callbacks)
    callbacks.on_predict_end()
    if not outputs:
        raise ValueError(
            "There is nothing to predict: the data has no batch. Received: "
            f"x={x!r}."
        )
    return data.concatenate_outputs(outputs)


def _run(
    model: keras.Model,
    data_source: DataSource,
    callbacks: keras.callbacks.CallbackList,
) -> list[Any]:
    """Outputs of each block, a list."""
    pace = pacing.Pace(model, callbacks.callbacks, "predict")
    hooks = epoch_loop.hooks_of(
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
        left = None if length is None else length - step
        if hooks.stopped():  # As in Keras, after one more execution
            once = pace.fixed_steps or 1
            left = min(once, left) if left else once
        with interrupts.held_back():
            some, count = _predict_function(model).run(
                data_source, step, pace, left
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


def _predict_function(model: keras.Model) -> PredictFunction:
    """The model's; a new one if a callback has compiled the model."""
    if model.predict_function is None:
        model.make_predict_function()
    return model.predict_function
