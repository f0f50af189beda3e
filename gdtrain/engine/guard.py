"""Leaves out a step that is not finite: nothing of it stays.

    variables <- variables before the step, if any of them is not finite after

What must be finite are the weights that are trained, the optimizer's
variables, moving averages, and the loss. What comes back are all variables:
those, metrics, and the states of random generators, as if the step had not
been. It is decided in the graph, in that very step, on all replicas alike.

It serves where a `watch` does not, and after that has found something. The
values from before cost a copy of each variable that the step moves. (An
update on condition would cost more: it waits for all gradients, where now one
weight is moved while the gradient of the next is on its way.) Where all that
the step makes is finite if its gradients are, these alone are looked at.
"""

import keras
import tensorflow as tf

from gdtrain import keras_bridge
from gdtrain.descent import replicas
from gdtrain.descent.gradient_descent import GradientDescent
from gdtrain.engine import variables

GOES_ON, LEFT_OUT, HALTS = 0, 1, 2
COLUMN = "nonfinite_step"  # Under which name the table has one of these

# If the sum of a gradient's squares is finite, so is all that these make of
# it: they divide by nothing less than their epsilon. By exact type.
_SAFE = (
    GradientDescent,
    keras.optimizers.SGD,
    keras.optimizers.Adagrad,
    keras.optimizers.Adam,
    keras.optimizers.Adamax,
    keras.optimizers.AdamW,
    keras.optimizers.Lion,
    keras.optimizers.Nadam,
    keras.optimizers.RMSprop,
)


class Guard:
    """Guards one step on one replica, while it is traced or runs eagerly.

    Args:
        model: A `DescentTrainer`, compiled. What it is before the step is read
            here.
    """

    def __init__(self, model):
        kinds = variables.of(model)
        self._is_sure = is_sure(model)
        # A moving average may be of what the loss does not depend on.
        checked = keras_bridge.statistics(model)
        if not self._is_sure:
            checked += [*model.trainable_variables, *kinds["optimizer"]]
        every = [v for kind in variables.KINDS for v in kinds[kind]]
        self._variables = [_local(variable) for variable in every]
        self._before = [tf.convert_to_tensor(v) for v in self._variables]
        self._checked = [
            _local(v) for v in checked if tf.as_dtype(v.dtype).is_floating
        ]
        self._seen: list = []  # Numbers of the update, if they suffice

    def look(self, loss, gradients, optimizer):
        """Takes note of an update that is about to be made.

        Args:
            loss, gradients, optimizer: Of the update. Gradients are means
                over replicas; `None` is left out.
        """
        if self._is_sure:
            self._seen += [
                tf.cast(loss, tf.float32),
                tf.cast(optimizer.learning_rate, tf.float32),
                *(_half_squares(g) for g in gradients if g is not None),
            ]

    def leave_out(self, returned):
        """Undoes the step if it was not finite.

        Args:
            returned: The scalars that the step returned, by name.

        Returns:
            1 if it was left out, else 0: a float32 scalar, equal on all
            replicas.
        """
        numbers = [tf.convert_to_tensor(v) for v in self._checked]
        if self._seen:
            numbers.append(tf.add_n(self._seen))
        elif "loss" in returned:
            numbers.append(returned["loss"])
        bad = _any([_has_nonfinite(number) for number in numbers])
        if replicas.count() > 1:
            bad = replicas.total(tf.cast(bad, tf.float32)) > 0
        tf.cond(bad, self._undo, lambda: 0)
        return tf.cast(bad, tf.float32)

    def _undo(self):
        for variable, value in zip(self._variables, self._before, strict=True):
            variable.assign(value)
        return 0  # A branch must return something.

    @staticmethod
    def verdict(left_out, step, memory):
        """What becomes of training after a step: a float32 scalar.

        `HALTS` if more steps were left out in a row than `allow` said, else
        `LEFT_OUT` or `GOES_ON`.

        Args:
            left_out: Whether the step was, a scalar that is not 0 if so.
            step: Its number, an int32 scalar.
            memory: The `Memory` of the model, which keeps the count.
        """

        def count():
            in_a_row, last, most = _counts(memory)
            in_a_row.assign(tf.where(last + 1 == step, in_a_row + 1, 1))
            last.assign(step)
            return tf.where(in_a_row > most, float(HALTS), float(LEFT_OUT))

        halts = tf.cond(left_out > 0, count, lambda: float(GOES_ON))
        return tf.convert_to_tensor(halts)


def allow(most, memory):
    """Says how many steps may be left out in a row."""
    _counts(memory)[2].assign(most)


def _counts(memory):
    """Steps left out in a row, the last of them, and how many may be."""
    return memory.keep(("guard",), lambda: [tf.constant(0)] * 3)


def is_sure(model):
    """Whether finite gradients make the update finite."""
    optimizer = model.optimizer
    return (
        type(optimizer) in _SAFE
        and getattr(optimizer, "epsilon", 1e-7) > 0
        and optimizer.clipvalue is None  # Which makes infinity finite.
        and model.repeated_loss is not None  # So that it is one `descend`.
        and all(v.dtype == "float32" for v in model.trainable_variables)
        and not any(v.constraint for v in model.trainable_variables)
    )


def _half_squares(gradient):
    """Half the sum of squares: one operation, finite if the gradient is."""
    if isinstance(gradient, tf.IndexedSlices):
        gradient = gradient.values
    return tf.nn.l2_loss(tf.cast(gradient, tf.float32))


def _any(flags):
    """Whether any of some bool scalars is true."""
    if len(flags) == 1:
        return flags[0]
    return tf.reduce_any(tf.stack([tf.constant(False), *flags]))


def _local(variable):
    """The TensorFlow variable on this replica, which it may set by itself."""
    parts = variables.parts(variable, tf.distribute.get_strategy())
    context = tf.distribute.get_replica_context()
    number = tf.get_static_value(context.replica_id_in_sync_group)
    return parts[number % len(parts)]


def _has_nonfinite(number):
    return tf.logical_not(tf.reduce_all(tf.math.is_finite(number)))
