"""One learning rate after another, by `fit`."""

import keras
import numpy as np
import tensorflow as tf

from gdtrain.callbacks.telemetry import Telemetry
from gdtrain.insight.sweeps.run import Run


class _Progress(keras.callbacks.Callback):
    """Tells of each epoch."""

    sees = "logs"

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
