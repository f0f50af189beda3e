"""Sets the learning rate of each epoch, or of each step within the program."""

import inspect
import json
import warnings
from collections.abc import Callable, Hashable
from typing import Any

import keras
import tensorflow as tf

from gdtrain.common import checks
from gdtrain.common.explained import more
from gdtrain.descent import optimizers
from gdtrain.loop.callback import Callback, Logs

UNITS = ("epoch", "step")
_Schedule = keras.optimizers.schedules.LearningRateSchedule


class LearningRateScheduler(Callback):
    """Sets `optimizer.learning_rate` for each epoch, or for each step.

        learning_rate <- schedule(epoch)              unit="epoch"
        learning_rate <- schedule(updates so far)     unit="step"

    The rate stays a variable: telemetry, other callbacks and saved models see
    a number, and after training it can be set.

    By epoch, it is `keras.callbacks.LearningRateScheduler`, except that a
    schedule object is refused, as those count steps.

    By step, the weights are bit-equal to those of the same schedule inside
    the optimizer. The rate is set within the compiled step, so that blocks
    stay as long as they are without it. It counts the updates of the
    optimizer from 0, as Keras's schedules do; a second `fit` continues that
    count. Whatever else sets the rate is overruled at the next step.

    Args:
        schedule: With `"epoch"`, a function `schedule(epoch)` or
            `schedule(epoch, learning_rate)` of Python numbers. With `"step"`,
            a schedule of `gdtrain.schedules` or `keras.optimizers.schedules`,
            or a function of an integer tensor.
        verbose: With `"epoch"`, whether to print each rate, 0 or 1. Defaults
            to 0.
        unit: `"epoch"`, the default, or `"step"`.

    Raises:
        TypeError: if `schedule` is not callable, does not work on a tensor
            with `"step"`, or is a schedule object with `"epoch"`; when
            training begins, if the model is not one of gdtrain's, with
            `"step"`.
        ValueError: if `unit` is neither word, or `verbose` is used with
            `"step"`; when training begins, if the optimizer has a schedule
            already, or several optimizers in it.

    Example:

    >>> import keras, numpy as np, gdtrain
    >>> model = gdtrain.Sequential([keras.Input([1]), keras.layers.Dense(1)])
    >>> model.compile(gdtrain.GradientDescent(0.5), loss="mse")
    >>> schedule = gdtrain.callbacks.LearningRateScheduler(
    ...     gdtrain.schedules.WarmUp(0.4, warmup_steps=2), unit="step"
    ... )
    >>> telemetry = gdtrain.callbacks.Telemetry()
    >>> _ = model.fit(
    ...     np.ones([4, 1]), np.ones([4, 1]), batch_size=1, verbose=0,
    ...     callbacks=[schedule, telemetry],
    ... )
    >>> telemetry["learning_rate"]
    array([0. , 0.2, 0.4, 0.4], dtype=float32)
    """

    def __init__(
        self,
        schedule: Callable[..., Any],
        verbose: int = 0,
        *,
        unit: str = "epoch",
    ) -> None:
        super().__init__()
        self.unit = checks.one_of("unit", unit, UNITS)
        if not callable(schedule):
            raise TypeError(
                "`schedule` must be a function or a schedule. Received: "
                f"schedule={schedule!r}. For a constant rate, compile with "
                "it: gdtrain.GradientDescent(learning_rate=0.1)."
            )
        if unit == "epoch" and isinstance(schedule, _Schedule):
            raise TypeError(
                "A schedule counts steps; by default, a function of the epoch "
                f"is called. Received: schedule={schedule!r}. Write "
                '`LearningRateScheduler(schedule, unit="step")`.'
                + more("learning-rate-schedule")
            )
        if unit == "step" and verbose:
            raise ValueError(
                'With unit="step" there is no place to print from. Received: '
                f"verbose={verbose!r}. Add `gdtrain.callbacks.Telemetry()`, "
                "which keeps the learning rate of each step."
            )
        if unit == "step":
            _check_schedule(schedule)
        self.schedule = schedule
        self.verbose = verbose
        self.sync = "epoch" if unit == "epoch" else "never"
        self._begun_at: tuple[int, int] | None = None  # Updates, and steps

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_begun_at": None}

    @property
    def before_step_key(self) -> Hashable:
        """The schedule, so that callbacks with equal ones share programs.

        `None` for epochs: nothing happens within the step.
        """
        if self.unit == "epoch":
            return None
        return type(self), _key(self.schedule)

    def before_step(self, model: keras.Model) -> None:
        """Sets the rate of a model's optimizer, within the compiled step."""
        (optimizer,) = optimizers.by_name(model.optimizer).values()
        done = tf.cast(optimizer.iterations, tf.int64)
        rate = tf.cast(self.schedule(done), optimizer.learning_rate.dtype)
        optimizer.learning_rate.assign(rate)

    def on_train_begin(self, logs: Logs = None) -> None:
        """Checks the optimizer."""
        _check_optimizer(self.model.optimizer)
        if self.unit == "step":  # Epochs are those of any Keras model.
            super().on_train_begin(logs)
            self._begun_at = self._counts()

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Sets the rate of an epoch."""
        if self.unit == "epoch":
            rate = float(self.model.optimizer.learning_rate)
            rate = self._rate_of(epoch, rate)
            self.model.optimizer.learning_rate = rate
            if self.verbose > 0:
                print(
                    f"\nEpoch {epoch + 1}: LearningRateScheduler setting "
                    f"learning rate to {rate}."
                )

    def on_epoch_end(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        """Shows the rate in `History`, as Keras's own does."""
        if self.unit == "epoch" and logs is not None:
            logs["learning_rate"] = float(self.model.optimizer.learning_rate)

    def close(self) -> None:
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
                "loss)` in `train_step`." + more("no-update"),
                stacklevel=2,
            )

    def _counts(self) -> tuple[int, int]:
        """How many updates and steps the model has done."""
        updates = int(self.model.optimizer.iterations.numpy())
        return updates, self.steps_done

    def _rate_of(self, epoch: int, rate: float) -> float:
        try:
            inspect.signature(self.schedule).bind(epoch, rate)
        except TypeError:
            return float(self.schedule(epoch))
        return float(self.schedule(epoch, rate))


def _key(schedule: Callable[..., Any]) -> Hashable:
    """The configuration of a schedule, or itself."""
    if not isinstance(schedule, _Schedule):
        return schedule
    try:
        config = schedule.get_config()
    except NotImplementedError:  # Which a schedule of the user's own may lack
        return schedule
    return type(schedule), json.dumps(config, sort_keys=True, default=repr)


def _check_schedule(schedule: Callable[..., Any]) -> None:
    """Traces a schedule, as it must be part of a program.

    Raises:
        TypeError: if it cannot be.
        ValueError: if it does not give a scalar.
    """
    function = tf.function(
        lambda step: tf.convert_to_tensor(schedule(step)), autograph=False
    )
    try:
        traced = function.get_concrete_function(tf.TensorSpec([], tf.int64))
    except Exception as error:  # Whatever Python raises at a tensor
        raise TypeError(
            'With unit="step", `schedule` must work on a tensor: it becomes '
            f"part of the compiled step. Received: {schedule!r}, which raises "
            f"{type(error).__name__} there. Write `keras.ops.where` instead "
            "of `if`, and `keras.ops.cos` instead of `math.cos`; or use "
            'unit="epoch", whose schedule is plain Python.'
            + more("learning-rate-schedule")
        ) from error
    shape = traced.structured_outputs.shape
    if shape.rank != 0:
        raise ValueError(
            "`schedule` must give one number, the learning rate. Received: "
            f"{schedule!r}, which gives a tensor of shape {shape}."
            + more("learning-rate-schedule")
        )


def _check_optimizer(optimizer: keras.optimizers.Optimizer | None) -> None:
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
            "optimizers a schedule of its own." + more("learning-rate-schedule")
        )
    if optimizers.is_scheduled(optimizer):
        raise ValueError(
            "`LearningRateScheduler` needs a learning rate that can be set. "
            f"Received: {type(optimizer).__name__} with a schedule. Compile "
            "with a number, learning_rate=0.1, and give the schedule to this "
            "callback; or remove the callback." + more("learning-rate-schedule")
        )
