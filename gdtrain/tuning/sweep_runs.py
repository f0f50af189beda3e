"""The trainings of a sweep, one after another, and what they write."""

import dataclasses
import os
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from gdtrain.callbacks import run_description
from gdtrain.callbacks.judged_steps import JudgedSteps
from gdtrain.callbacks.telemetry import Telemetry
from gdtrain.common import failures
from gdtrain.data import choice
from gdtrain.descent import optimizers
from gdtrain.keras_bridge import models
from gdtrain.loop.callback import Callback
from gdtrain.model import from_keras
from gdtrain.tuning.sweep_result import Run
from gdtrain.writers import summaries
from gdtrain.writers.tensorboard_runs import TensorBoardRuns


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
        if optimizers.is_scheduled(model.optimizer):
            raise ValueError(
                "The model that `build` returns must have a learning rate "
                "that can be set. Received: an optimizer with a schedule, "
                f"{model.optimizer.learning_rate!r}. Compile with a number; "
                "it is replaced."
            )
        model = from_keras(model)
        if not model.built:
            models.build(model, self.feed().batch_spec)
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


_MEASURED = ["loss", "learning_rate"]


def write_logs(log_dir, sweep, *, batch_size, entries):
    """Writes each run to a folder of its own, `learning_rate=...`.

    With the tags of `gdtrain.callbacks.TensorBoard`: `step/loss`,
    `step/learning_rate`, `epoch_loss` and other metrics, for `validation`
    too, and `diagnosis`; and with a row in HParams.

    Args:
        log_dir: The folder above them.
        sweep: A `Sweep`.
        batch_size: In examples.
        entries: A dict of the user's own for HParams.
    """
    for run, label in enumerate(sweep.labels):
        folder = os.path.join(log_dir, f"learning_rate={label}")
        runs = TensorBoardRuns(folder)
        runs.lock()
        parts = failures.Parts()
        try:
            runs.begin(steps_done=0, epoch=0)
            # Its optimizer tells the learning rate.
            runs.describe(
                run_description.describe(
                    sweep.model(run),
                    batch_size,
                    entries,
                    [(name, name) for name in _MEASURED],
                    parts,
                )
            )
            rate, history = sweep.learning_rates[run], sweep.history[run]
            rows = np.stack(
                [sweep.losses[run], np.full(len(sweep.losses[run]), rate)], 1
            )
            _write_run(runs, rows, history)
            with parts.alone("The diagnosis is left out"):
                _judge(runs, rows, history)
            runs.describe([summaries.hparams_end()])
        finally:
            runs.close()


def _write_run(runs, rows, history):
    """Writes the steps of a run, and what its history shows."""
    runs.steps.write(np.arange(1, 1 + len(rows)), _MEASURED, rows)
    parts: dict[str, dict] = {"train": {}, "validation": {}}
    for name, values in history.items():
        part = "validation" if name.startswith("val_") else "train"
        parts[part][f"epoch_{name.removeprefix('val_')}"] = values
    for part, columns in parts.items():
        if columns:
            values = np.stack(list(columns.values()), axis=1)
            runs[part].write(
                np.arange(len(values)), list(columns), values.astype("float32")
            )


def _judge(runs, rows, history):
    """Writes the verdict of `gdtrain.diagnose`."""
    judged = JudgedSteps()
    judged.write(np.arange(1, 1 + len(rows)), _MEASURED, rows)
    text = judged.verdict(history)
    if text:
        runs.judge(len(rows), summaries.text("diagnosis", text))


class _Progress(Callback):
    """Tells of each epoch."""

    sync = "never"

    def __init__(self, progress):
        super().__init__()
        self._progress = progress

    def on_epoch_end(self, epoch, logs=None):
        """Tells of an epoch."""
        self._progress(1, [(logs or {}).get("loss", np.nan)])


def train(job, progress):
    """Trains at the learning rates of a job, one after another.

    Args:
        job: A `Job`.
        progress: Called with a number of epochs and the losses of the last.

    Yields:
        A `Run` for each learning rate.

    Raises:
        ValueError: if `build` makes another model each time.
    """
    start = None
    for rate in job.learning_rates:
        model = job.model()
        start = start or [variable.numpy() for variable in model.variables]
        _begin(model, start)
        model.optimizer.learning_rate = rate
        yield _fit(job, model, progress)


def _fit(job, model, progress):
    """Fits a model; returns its `Run`."""
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
        callbacks=[telemetry, _Progress(progress)],
    )
    return Run(
        telemetry["loss"],
        {
            name: [float(value) for value in values]
            for name, values in history.history.items()
        },
        model.get_weights(),
    )


def _begin(model, start):
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
