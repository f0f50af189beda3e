"""Leaves out a step that is not finite: nothing of it stays.

    variables <- variables before the step, if any of them is not finite after

What must be finite are the weights that are trained, the optimizer's
variables, moving averages, and the loss. What comes back are all variables:
those, metrics, and the states of random generators, as if the step had not
been. It is decided in the graph, in that very step, on all replicas alike.
"""

import tensorflow as tf

from gdtrain import keras_bridge
from gdtrain.descent import replicas
from gdtrain.engine import variables

GOES_ON, LEFT_OUT, HALTS = 0, 1, 2
COLUMN = "nonfinite_step"  # Under which name the table has one of these


class Guard:
    """Guards one step on one replica, while it is traced or runs eagerly.

    Args:
        model: A `DescentTrainer`, compiled. What it is before the step is read
            here.
    """

    def __init__(self, model):
        kinds = variables.of(model)
        all_of_them = [v for kind in variables.KINDS for v in kinds[kind]]
        checked = {
            id(v)
            for v in (
                *model.trainable_variables,
                *kinds["optimizer"],
                *keras_bridge.statistics(model),
            )
        }
        pairs = [(_local(v), id(v) in checked) for v in all_of_them]
        self._variables = [variable for variable, _ in pairs]
        self._checked = [
            variable
            for variable, is_checked in pairs
            if is_checked and variable.dtype.is_floating
        ]
        self._before = [tf.identity(variable) for variable in self._variables]

    def leave_out(self, returned):
        """Undoes the step if it was not finite.

        Args:
            returned: The scalars that the step returned, by name.

        Returns:
            Whether it was left out, a bool scalar, equal on all replicas.
        """
        numbers = [tf.convert_to_tensor(v) for v in self._checked]
        if "loss" in returned:
            numbers.append(returned["loss"])
        bad = tf.reduce_any([_has_nonfinite(number) for number in numbers])
        bad = replicas.total(tf.cast(bad, tf.float32)) > 0
        tf.cond(bad, self._undo, lambda: None)
        return bad

    def _undo(self):
        for variable, value in zip(self._variables, self._before, strict=True):
            variable.assign(value)


def verdict(left_out, memory):
    """What becomes of training after a step: a float32 scalar.

    `HALTS` if more steps were left out in a row than `allow` said, else
    `LEFT_OUT` or `GOES_ON`.

    Args:
        left_out: Whether the step was, a scalar that is not 0 if so.
        memory: The `Memory` of the model, which keeps the count.
    """
    in_a_row, most = _counts(memory)
    bad = left_out > 0
    count = tf.where(bad, in_a_row + 1, 0)
    in_a_row.assign(count)
    halts = tf.where(count > most, HALTS, LEFT_OUT)
    return tf.cast(tf.where(bad, halts, GOES_ON), tf.float32)


def allow(most, memory, in_a_row=0):
    """Says how many steps may be left out in a row, and how many were."""
    count, limit = _counts(memory)
    count.assign(in_a_row)
    limit.assign(most)


def _counts(memory):
    """Two int32 variables: steps left out in a row, and how many may be."""
    return memory.keep(
        ("guard",), lambda: [tf.constant(0), tf.constant(0)]
    )


def _local(variable):
    """The TensorFlow variable on this replica, which it may set by itself."""
    parts = variables.parts(variable, tf.distribute.get_strategy())
    context = tf.distribute.get_replica_context()
    number = tf.get_static_value(context.replica_id_in_sync_group)
    return parts[number % len(parts)]


def _has_nonfinite(number):
    return tf.logical_not(tf.reduce_all(tf.math.is_finite(number)))
