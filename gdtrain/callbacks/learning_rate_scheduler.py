"""Sets the learning rate ahead of each step, within the program."""

import inspect
import json
import warnings

import keras
import tensorflow as tf

from gdtrain.callbacks.callback import Callback
from gdtrain.telemetry import record


class RateSetter:
    """Ahead of a step, sets the rate that a schedule gives for its number.

    It counts the updates of the optimizer, as a schedule inside of it would:
    a step that is left out counts nothing. Two setters of the same schedule
    are equal, so that a program made with one serves the other.

    Args:
        schedule: A function of the number of updates so far, an integer
            tensor, that gives a scalar.

    Raises:
        TypeError: if it cannot be part of a program.
        ValueError: if it gives something else than a scalar.
    """

    def __init__(self, schedule):
        self._schedule = schedule
        self._key = _key(schedule)
        _check_rate(schedule)

    def __call__(self, model):
        """Sets the rate of a model's optimizer."""
        (optimizer,) = record.with_rates(model.optimizer).values()
        done = tf.cast(optimizer.iterations, tf.int64)
        rate = tf.cast(self._schedule(done), optimizer.learning_rate.dtype)
        optimizer.learning_rate.assign(rate)

    def __eq__(self, other):
        return isinstance(other, RateSetter) and self._key == other._key

    def __hash__(self):
        return hash(self._key)


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
    >>> schedule = gdtrain.schedules.WarmUp(0.4, steps=2)
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

    requests = ()  # It asks for no measurement.

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
        self.steers = unit == "step"
        if self.steers:
            self.before_step = RateSetter(schedule)
        self._begun_at = None  # Updates and steps, when training began
        self._is_heard = False

    def __getstate__(self):
        afresh = {"_begun_at": None, "_is_heard": False}
        return {**super().__getstate__(), **afresh}

    @property
    def sees(self):
        """Epochs, if the rate is set between them."""
        return "logs" if self.unit == "step" else "epochs"

    def on_run_begin(self, run):
        """Called by the trainer before training begins."""
        if self.unit == "step":
            self._is_heard = True
            run.model.step_observers.attach(self)

    def on_train_begin(self, logs=None):
        """Checks the model and its optimizer."""
        _check(self.model.optimizer)
        if self.unit == "epoch":
            return
        if not self._is_heard:
            raise TypeError(
                '`LearningRateScheduler(unit="step")` needs a gdtrain model, '
                "trained by its own `fit`. Received: "
                f"{type(self.model).__name__} {self.model.name!r}. Write "
                "`gdtrain.from_keras(model)`."
            )
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

    def observe(self, table):
        """Nothing: all was done within the step."""

    def close(self):
        """Called by the trainer when `fit` ends, however it ends."""
        self._is_heard = False
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
            self.model.step_observers.steps_done,
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
    if len(record.with_rates(optimizer)) != 1:
        raise ValueError(
            "`LearningRateScheduler` sets one learning rate. Received: "
            f"{type(optimizer).__name__}, which has several. Give each of its "
            "optimizers a schedule of its own."
        )
    if record.is_scheduled(optimizer):
        raise ValueError(
            "`LearningRateScheduler` needs a learning rate that can be set. "
            f"Received: {type(optimizer).__name__} with a schedule. Compile "
            "with a number, learning_rate=0.1, and give the schedule to this "
            "callback; or leave out the callback."
        )
