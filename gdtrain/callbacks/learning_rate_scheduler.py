"""Sets the learning rate ahead of each step, within the program."""

import inspect
import json
import warnings

import keras
import tensorflow as tf

from gdtrain.descent import optimizers
from gdtrain.loop.callback import Callback


def _key(schedule):
    """What a schedule is known by: its configuration, or itself."""
    kind = keras.optimizers.schedules.LearningRateSchedule
    if not isinstance(schedule, kind):
        return schedule
    try:
        config = schedule.get_config()
    except NotImplementedError:  # Which a schedule of the user's own may lack
        return schedule
    return type(schedule), json.dumps(config, sort_keys=True, default=repr)


def _check_rate(schedule):
    """Traces a schedule, to see what becomes of it in a program."""
    function = tf.function(
        lambda step: tf.convert_to_tensor(schedule(step)), autograph=False
    )
    try:
        traced = function.get_concrete_function(tf.TensorSpec([], tf.int64))
    except Exception as error:  # Whatever Python raises at a tensor
        raise TypeError(
            'With unit="step", `schedule` must work on a tensor: it becomes '
            f"part of the compiled step. Received: {schedule!r}, which raises "
            f"{type(error).__name__} there. Write `keras.ops.where` in the "
            "place of `if`, and `keras.ops.cos` in the place of `math.cos`; "
            'or use unit="epoch", whose schedule is plain Python.'
        ) from error
    shape = traced.structured_outputs.shape
    if shape.rank != 0:
        raise ValueError(
            "`schedule` must give one number, the learning rate. Received: "
            f"{schedule!r}, which gives a tensor of shape {shape}."
        )


UNITS = ("step", "epoch")


class LearningRateScheduler(Callback):
    """Sets `optimizer.learning_rate` before each step, or each epoch.

        learning_rate <- schedule(updates so far)     unit="step"
        learning_rate <- schedule(epoch)              unit="epoch"

    The weights come out bit-equal to those of the same schedule inside the
    optimizer, but the rate stays a variable: telemetry, other callbacks and
    saved models see a number, and after training it can be set to another.

    By step, it is set within the compiled step, so that blocks stay as long
    as they are without it. It counts the updates of the optimizer from 0, as
    Keras's schedules do; training again goes on with that count. Whatever
    else sets the rate meanwhile is overruled at the next step.

    Args:
        schedule: With `"step"`, a schedule of `gdtrain.schedules` or
            `keras.optimizers.schedules`, or a function of an integer tensor.
            With `"epoch"`, any function `schedule(epoch)` or
            `schedule(epoch, learning_rate)` of Python numbers, as in
            `keras.callbacks.LearningRateScheduler`.
        unit: `"step"`, the default, or `"epoch"`.

    Raises:
        TypeError: if `schedule` is not callable; with `"step"`, when training
            begins, if it does not work on a tensor, or the trainer is not one
            of gdtrain's.
        ValueError: if `unit` is another word; when training begins, if the
            optimizer has a schedule already, or several optimizers in it.

    Example:

    >>> import keras, numpy as np, gdtrain
    >>> model = gdtrain.Sequential([keras.Input([1]), keras.layers.Dense(1)])
    >>> model.compile(gdtrain.GradientDescent(0.5), loss="mse")
    >>> schedule = gdtrain.schedules.WarmUp(0.4, warmup_steps=2)
    >>> telemetry = gdtrain.callbacks.Telemetry()
    >>> _ = model.fit(
    ...     np.ones([4, 1]), np.ones([4, 1]), batch_size=1, verbose=0,
    ...     callbacks=[
    ...         gdtrain.callbacks.LearningRateScheduler(schedule), telemetry
    ...     ],
    ... )
    >>> telemetry["learning_rate"]
    array([0. , 0.2, 0.4, 0.4], dtype=float32)
    """

    def __init__(self, schedule, unit="step"):
        super().__init__()
        if unit not in UNITS:
            raise ValueError(
                f"`unit` must be one of {UNITS}. Received: unit={unit!r}."
            )
        if not callable(schedule):
            raise TypeError(
                "`schedule` must be a function or a schedule. Received: "
                f"schedule={schedule!r}. For a constant rate, compile with "
                "it: gdtrain.GradientDescent(learning_rate=0.1)."
            )
        self.schedule = schedule
        self.unit = unit
        self.sync = "never" if unit == "step" else "epoch"
        if unit == "step":
            _check_rate(schedule)
        self._begun_at = None  # Updates and steps, when training began

    def __getstate__(self):
        return {**super().__getstate__(), "_begun_at": None}

    @property
    def before_step_key(self):
        """The schedule, so that two callbacks with equal ones share programs.

        `None` for epochs: nothing happens within the step.
        """
        if self.unit == "epoch":
            return None
        return type(self), _key(self.schedule)

    def before_step(self, model):
        """Sets the rate of a model's optimizer, within the compiled step."""
        (optimizer,) = optimizers.by_name(model.optimizer).values()
        done = tf.cast(optimizer.iterations, tf.int64)
        rate = tf.cast(self.schedule(done), optimizer.learning_rate.dtype)
        optimizer.learning_rate.assign(rate)

    def on_train_begin(self, logs=None):
        """Checks the model and its optimizer."""
        _check(self.model.optimizer)
        if self.unit == "epoch":
            return
        super().on_train_begin(logs)
        self._begun_at = self._counts()

    def on_epoch_begin(self, epoch, logs=None):
        """Sets the rate of an epoch."""
        if self.unit == "epoch":
            rate = float(self.model.optimizer.learning_rate)
            self.model.optimizer.learning_rate = self._rate_of(epoch, rate)

    def on_epoch_end(self, epoch, logs=None):
        """Shows the rate in `History`, as Keras's own does."""
        if self.unit == "epoch" and logs is not None:
            logs["learning_rate"] = float(self.model.optimizer.learning_rate)

    def close(self):
        """Warns if the schedule never moved."""
        if self._begun_at is None:
            return
        updates, steps = self._counts()
        if updates == self._begun_at[0] and steps > self._begun_at[1]:
            warnings.warn(
                "`LearningRateScheduler` counts the updates of "
                "`model.optimizer`, of which there were none in "
                f"{steps - self._begun_at[1]} steps: the learning rate stayed "
                "where the schedule begins. Update by `self.descend(tape, "
                "loss)` in `train_step`.",
                stacklevel=2,
            )

    def _counts(self):
        """How many updates and steps the model has behind it."""
        return (
            int(self.model.optimizer.iterations.numpy()),
            self.steps_done,
        )

    def _rate_of(self, epoch, rate):
        """The rate of an epoch, a float."""
        try:
            inspect.signature(self.schedule).bind(epoch, rate)
        except TypeError:
            return float(self.schedule(epoch))
        return float(self.schedule(epoch, rate))


def _check(optimizer):
    """Refuses an optimizer without one rate that can be set."""
    if optimizer is None:
        raise ValueError(
            "`LearningRateScheduler` needs an optimizer. Received: a model "
            "without one. Write `model.compile(gdtrain.GradientDescent(0.1), "
            "...)`."
        )
    if len(optimizers.by_name(optimizer)) != 1:
        raise ValueError(
            "`LearningRateScheduler` sets one learning rate. Received: "
            f"{type(optimizer).__name__}, which has several. Give each of its "
            "optimizers a schedule of its own."
        )
    if optimizers.is_scheduled(optimizer):
        raise ValueError(
            "`LearningRateScheduler` needs a learning rate that can be set. "
            f"Received: {type(optimizer).__name__} with a schedule. Compile "
            "with a number, learning_rate=0.1, and give the schedule to this "
            "callback; or leave out the callback."
        )
