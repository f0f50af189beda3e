"""Sets the learning rate ahead of each step, within the program."""

import json

import keras
import tensorflow as tf

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
        _check(schedule)

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


def _check(schedule):
    """Traces a schedule, to see what becomes of it in a program."""
    function = tf.function(
        lambda step: tf.convert_to_tensor(schedule(step)), autograph=False
    )
    try:
        traced = function.get_concrete_function(tf.TensorSpec([], tf.int64))
    except Exception as error:  # Whatever Python raises at a tensor
        raise TypeError(
            "With unit=\"step\", `schedule` must work on a tensor: it becomes "
            f"part of the compiled step. Received: {schedule!r}, which raises "
            f"{type(error).__name__} there. Write `keras.ops.where` in the "
            "place of `if`, and `keras.ops.cos` in the place of `math.cos`; "
            "or use unit=\"epoch\", whose schedule is plain Python."
        ) from error
    shape = traced.structured_outputs.shape
    if shape.rank != 0:
        raise ValueError(
            "`schedule` must give one number, the learning rate. Received: "
            f"{schedule!r}, which gives a tensor of shape {shape}."
        )
