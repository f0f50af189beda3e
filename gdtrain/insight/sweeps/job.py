"""What is to be trained, and from which start."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from gdtrain import keras_bridge
from gdtrain.feeds import choice
from gdtrain.model import from_keras
from gdtrain.telemetry import record


@dataclasses.dataclass(frozen=True)
class Job:
    """The same training at several learning rates.

    Args:
        build: Makes the model, compiled.
        x, y, sample_weight, epochs, batch_size, shuffle, validation_data: As
            in `keras.Model.fit`.
        learning_rates: A tuple of floats.
        seed: Of weights, order and dropout.

    Raises:
        ValueError: if the data can be had only once.
    """

    build: Callable[[], Any]
    x: Any
    y: Any
    sample_weight: Any
    learning_rates: tuple[float, ...]
    epochs: int
    batch_size: int | None
    shuffle: bool
    validation_data: Any
    seed: int

    def __post_init__(self):
        if hasattr(self.x, "__next__"):
            raise ValueError(
                "`x` must be data that can be had again for each learning "
                f"rate. Received: x of type {type(self.x).__name__}. Pass "
                "arrays, a tf.data.Dataset or a keras.utils.PyDataset."
            )

    def model(self):
        """The model at its start, built.

        Raises:
            TypeError: if `build` makes no Keras model.
            ValueError: if it is not compiled, or its learning rate cannot be
                set.
        """
        keras.utils.set_random_seed(self.seed)
        model = self.build()
        if not isinstance(model, keras.Model):
            raise TypeError(
                "`build` must return a keras.Model. Received: "
                f"{model!r} of type {type(model).__name__}. Write a function "
                "without arguments that makes and compiles the model."
            )
        if not model.compiled or model.optimizer is None:
            raise ValueError(
                "`build` must return a compiled model. Received: model "
                f"{model.name!r}, which is not. Call `model.compile(optimizer, "
                "loss)` in it."
            )
        if record.is_scheduled(model.optimizer):
            raise ValueError(
                "The model that `build` returns must have a learning rate "
                "that can be set. Received: an optimizer with a schedule, "
                f"{model.optimizer.learning_rate!r}. Compile with a number; "
                "it is replaced."
            )
        model = from_keras(model)
        if not model.built:
            keras_bridge.build(model, self.feed().batch_spec)
        return model

    def feed(self):
        """The feed of the data, in the order that `fit` takes for the seed."""
        keras.utils.set_random_seed(self.seed)
        return choice.feed(
            self.x,
            self.y,
            self.sample_weight,
            strategy=tf.distribute.get_strategy(),
            batch_size=self.batch_size,
            shuffle=self.shuffle,
        )

    def validation_feed(self):
        """The feed of the data to validate on, or `None`."""
        if self.validation_data is None:
            return None
        return choice.feed(
            *keras.utils.unpack_x_y_sample_weight(self.validation_data),
            strategy=tf.distribute.get_strategy(),
            batch_size=self.batch_size,
        )
