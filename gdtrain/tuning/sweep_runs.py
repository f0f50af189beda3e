"""The trainings of a sweep, and how they are run in turn."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from gdtrain.callbacks.telemetry import Telemetry
from gdtrain.data import choice
from gdtrain.data.protocols import DataSource
from gdtrain.descent import optimizers
from gdtrain.keras_bridge import models
from gdtrain.loop.callback import Callback, Logs
from gdtrain.model import from_keras
from gdtrain.trainer import DescentTrainer
from gdtrain.tuning.preserved import check_can_be_read_again

#: Is called with a number of epochs, of all runs together, and the losses of
#: the last of them.
Progress = Callable[[int, Any], None]


class SweepRun(NamedTuple):
    """The training at one learning rate.

    Args:
        losses: The loss of each step, float32 `[steps]`.
        history: As that of Keras: lists of floats by name, one an epoch.
        weights: The trained weights, as `model.get_weights()` gives them.
    """

    losses: np.ndarray
    history: dict[str, list[float]]
    weights: list[np.ndarray]


@dataclasses.dataclass(frozen=True)
class SweepJob:
    """The same training at several learning rates.

    Args:
        build: Makes the model, compiled.
        x, y, sample_weight, epochs, batch_size, shuffle, validation_data: As
            in `keras.Model.fit`.
        learning_rates: A tuple of floats.
        seed: Of weights, order and dropout.

    Raises:
        TypeError: if `build` is no function.
        ValueError: if the data can be read only once.
    """

    build: Callable[[], keras.Model]
    x: Any
    y: Any
    sample_weight: Any
    learning_rates: tuple[float, ...]
    epochs: int
    batch_size: int | None
    shuffle: bool
    validation_data: Any
    seed: int

    def __post_init__(self) -> None:
        check_can_be_read_again(self.x)
        if not callable(self.build) or isinstance(self.build, keras.Model):
            raise TypeError(
                "`build` must be a function that makes a compiled model. "
                f"Received: {self.build!r} of type "
                f"{type(self.build).__name__}. Write `lambda: make_model()`."
            )

    def model(self) -> DescentTrainer:
        """The model at its start, built if possible.

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
        if optimizers.is_scheduled(model.optimizer):
            raise ValueError(
                "The model that `build` returns must have a learning rate "
                "that can be set. Received: an optimizer with a schedule, "
                f"{model.optimizer.learning_rate!r}. Compile with a number; "
                "it is replaced."
            )
        model = from_keras(model)
        if not model.built:
            models.build(model, next(self.data_sources()).batch_spec)
        return model

    def data_sources(self) -> Iterator[DataSource]:
        """The data to train on, and those to validate on if there are any.

        The first in the order that `fit` takes for the seed.
        """
        how = {
            "strategy": tf.distribute.get_strategy(),
            "batch_size": self.batch_size,
        }
        keras.utils.set_random_seed(self.seed)
        data = self.x, self.y, self.sample_weight
        yield choice.data_source(*data, **how, shuffle=self.shuffle)
        if self.validation_data is not None:
            data = keras.utils.unpack_x_y_sample_weight(self.validation_data)
            yield choice.data_source(*data, **how)


class _EpochEnds(Callback):
    """Reports each epoch."""

    sync = "never"

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self._progress = progress

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Reports an epoch."""
        self._progress(1, [(logs or {}).get("loss", np.nan)])


def train(job: SweepJob, progress: Progress) -> Iterator[SweepRun]:
    """Trains at the learning rates of a job in turn.

    Yields:
        A `SweepRun` for each learning rate.

    Raises:
        ValueError: if `build` does not make the same model each time.
    """
    start: list[np.ndarray] = []
    for rate in job.learning_rates:
        model = job.model()
        start = start or [variable.numpy() for variable in model.variables]
        shapes = [tuple(variable.shape) for variable in model.variables]
        wanted = [value.shape for value in start]
        if shapes != wanted:
            raise ValueError(
                "`build` must make the same model each time. Received: "
                f"variables of shapes {shapes} after {wanted}."
            )
        for variable, value in zip(model.variables, start, strict=True):
            variable.assign(value)
        model.optimizer.learning_rate = rate
        yield _fit(job, model, progress)


def _fit(job: SweepJob, model: DescentTrainer, progress: Progress) -> SweepRun:
    """Fits a model."""
    telemetry = Telemetry(["loss"])
    keras.utils.set_random_seed(job.seed)
    history = model.fit(
        job.x,
        job.y,
        sample_weight=job.sample_weight,
        batch_size=job.batch_size,
        epochs=job.epochs,
        # Keras warns of a dataset that it is asked to shuffle.
        shuffle=job.shuffle and not isinstance(job.x, tf.data.Dataset),
        validation_data=job.validation_data,
        verbose=0,
        callbacks=[telemetry, _EpochEnds(progress)],
    ).history
    floats = {name: list(map(float, some)) for name, some in history.items()}
    return SweepRun(telemetry["loss"], floats, model.get_weights())
