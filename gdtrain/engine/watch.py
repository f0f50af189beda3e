"""Runs a block of steps unguarded, and undoes it if it was not finite.

Looking back at a block costs next to nothing, where leaving out a single step
costs each step some time: what was before must be kept, and nothing may go on
until it is known what the step made. So a block whose steps can be run once
more is watched; if it was not finite, its variables are put back, and the same
steps are run again, each with a `Guard`. What remains is the same, to the bit.

It is enough to look at the end: where finite gradients make a finite update,
what is not finite in a weight or in a variable of the optimizer stays so, as
each of them becomes a sum with what it was, or the larger of both.
"""

import tensorflow as tf

from gdtrain import keras_bridge
from gdtrain.engine import guard, variables


class Watch:
    """In the place of a `Guard`, notes whether the loss of a step is finite.

    Args:
        model: A `DescentTrainer`, compiled.
    """

    def __init__(self, model):
        self._loss = tf.zeros(())

    def look(self, loss, gradients, optimizer):
        """Takes note of an update that is about to be made."""
        self._loss = tf.cast(loss, tf.float32)

    def leave_out(self, returned):
        """0 if the loss is finite, else NaN."""
        return self._loss - self._loss

    @staticmethod
    def verdict(left_out, step, memory):
        """What a row says of the step, as that of a `Guard`."""
        return left_out


class BlockWatch:
    """Looks back at blocks whose steps have a `Watch`.

    Args:
        model: A `DescentTrainer`, compiled, whose step was traced.
    """

    def __init__(self, model):
        self._checked = [
            *model.trainable_variables,
            *variables.of(model)["optimizer"],
            *keras_bridge.statistics(model),
        ]
        memory = model.step_observers.memory.variables
        self._moved = [
            variables.parts(variable, model.distribute_strategy)[0]
            for some in variables.of(model).values()
            for variable in some
        ] + [variable for kept in memory.values() for variable in kept]
        with tf.init_scope():
            # An output of the program would be lost if an operation fails.
            # A copy is made when what was copied moves, not before.
            self._before = [
                tf.Variable(variable, trainable=False)
                for variable in self._moved
            ]

    def begin(self):
        """Keeps what is before the block. Traced."""
        for kept, variable in zip(self._before, self._moved, strict=True):
            kept.assign(variable)

    def end(self, rows):
        """Whether the block was finite, a bool scalar. Traced.

        Args:
            rows: The rows of its steps, whose last numbers are of a `Watch`.
        """
        numbers = [tf.convert_to_tensor(v) for v in self._checked]
        numbers = [rows[:, -1:], *(n for n in numbers if n.dtype.is_floating)]
        is_finite = tf.reduce_all(
            [tf.reduce_all(tf.math.is_finite(number)) for number in numbers]
        )
        # What is kept is what is there: no memory until the next block.
        tf.cond(is_finite, lambda: (self.begin(), 0)[1], lambda: 0)
        return is_finite

    def put_back(self):
        """Makes all as it was before the block."""
        for variable, kept in zip(self._moved, self._before, strict=True):
            variable.assign(kept)


def serves(model):
    """Whether blocks of a model can be watched, if they can be run again."""
    return (
        model.built
        and not model.run_eagerly
        and model.distribute_strategy.num_replicas_in_sync == 1
        and guard.is_sure(model)
    )
