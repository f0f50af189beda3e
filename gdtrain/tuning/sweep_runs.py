"""The trainings of a sweep, and how they are run one after another."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from gdtrain.callbacks.telemetry import Telemetry
from gdtrain.data import choice
from gdtrain.data.protocols import DataSource
from gdtrain.descent import optimizers
from gdtrain.keras_bridge import models
from gdtrain.loop.callback import Callback
from gdtrain.model import from_keras
from gdtrain.trainer import DescentTrainer

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
        if isinstance(self.x, Iterator):
            raise ValueError(
                "`x` must be data that can be read again for each learning "
                f"rate. Received: x of type {type(self.x).__name__}. Pass "
                "arrays, a tf.data.Dataset or a keras.utils.PyDataset."
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
            models.build(model, self.data_source().batch_spec)
        return model

    def data_source(self) -> DataSource:
        """The data, in the order that `fit` takes for the seed."""
        keras.utils.set_random_seed(self.seed)
        return choice.data_source(
            self.x,
            self.y,
            self.sample_weight,
            strategy=tf.distribute.get_strategy(),
            batch_size=self.batch_size,
            shuffle=self.shuffle,
        )

    def validation_source(self) -> DataSource | None:
        """The data to validate on, or `None`."""
        if self.validation_data is None:
            return None
        return choice.data_source(
            *keras.utils.unpack_x_y_sample_weight(self.validation_data),
            strategy=tf.distribute.get_strategy(),
            batch_size=self.batch_size,
        )


class _EpochEnds(Callback):
    """Reports each epoch."""

    sync = "never"

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self._progress = progress

    def on_epoch_end(
        self, epoch: int, logs: Mapping[str, Any] | None = None
    ) -> None:
        """Reports an epoch."""
        self._progress(1, [(logs or {}).get("loss", np.nan)])


def train(job: SweepJob, progress: Progress) -> Iterator[SweepRun]:
    """Trains at the learning rates of a job, one after another.

    Yields:
        A `SweepRun` for each learning rate.

    Raises:
        ValueError: if `build` does not make the same model each time.
    """
    start: list[np.ndarray] = []
    for rate in job.learning_rates:
        model = job.model()
        start = start or [variable.numpy() for variable in model.variables]
        _set_start(model, start)
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
    )
    return SweepRun(
        telemetry["loss"],
        {
            name: [float(value) for value in values]
            for name, values in history.history.items()
        },
        model.get_weights(),
    )


def _set_start(model: DescentTrainer, start: list[np.ndarray]) -> None:
    """Gives a model the start of the first one."""
    shapes = [tuple(variable.shape) for variable in model.variables]
    wanted = [value.shape for value in start]
    if shapes != wanted:
        raise ValueError(
            "`build` must make the same model each time. Received: variables "
            f"of shapes {shapes} after {wanted}."
        )
    for variable, value in zip(model.variables, start, strict=True):
        variable.assign(value)
