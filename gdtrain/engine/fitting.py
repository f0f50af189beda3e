"""What `fit` is given: data, callbacks and validation."""

import keras

from gdtrain import checks, keras_bridge
from gdtrain.engine import callback_list, training
from gdtrain.engine.validation import Validation
from gdtrain.feeds import choice
from gdtrain.mistakes import arrays, labels


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
    keras_bridge.assert_compiled(model, "fit")
    checks.at_least_one("steps_per_epoch", steps_per_epoch)
    checks.at_least_one("validation_steps", validation_steps)
    arrays.check_class_weight(class_weight)
    if validation_split and validation_data is None:
        with arrays.explained(model, x, y, sample_weight):
            (x, y, sample_weight), validation_data = (
                keras_bridge.train_validation_split(
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
    keras_bridge.maybe_build(model, feed.batch_spec)
    most = keras.config.max_epochs()
    epochs = min(epochs, most) if most else epochs
    callbacks = callback_list.of(
        model, callbacks, verbose, feed, epochs, add_history=True
    )
    try:
        with labels.at_hand(model, feed):
            return training.train(
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
        model.step_observers.begin(iterations)
    return model.step_observers.steps_done
