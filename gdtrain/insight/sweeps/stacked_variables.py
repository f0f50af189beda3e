"""Variables of one model, once for each of several runs."""

import keras
import numpy as np
import tensorflow as tf


class StackedVariables:
    """Variables, each as a variable `[runs, size]` whose rows begin equal.

    A row is a value made flat, so that a column of numbers, one a run,
    multiplies all shapes alike.

    Args:
        variables: A list of `keras.Variable`.
        runs: How many runs there are.
    """

    def __init__(self, variables, runs):
        self.of = list(variables)
        self.stacks = [_stack(variable, runs) for variable in self.of]

    def values(self):
        """What they are now, tensors `[runs, size]`."""
        return [tf.convert_to_tensor(stack.value) for stack in self.stacks]

    def given(self, rows):
        """Pairs of a variable and its value in one run, from its row."""
        return [
            (variable, tf.reshape(row, variable.shape))
            for variable, row in zip(self.of, rows, strict=True)
        ]

    def assign(self, values):
        """Sets them all to tensors `[runs, size]`."""
        for stack, value in zip(self.stacks, values, strict=True):
            stack.assign(value)

    def put(self, run):
        """Sets the model's own variables to their values in one run."""
        for variable, stack in zip(self.of, self.stacks, strict=True):
            variable.assign(tf.reshape(stack.value[run], variable.shape))


def rows(tensors):
    """Tensors made flat."""
    return [tf.reshape(tensor, [-1]) for tensor in tensors]


def _stack(variable, runs):
    row = variable.numpy().reshape(1, -1)
    return keras.Variable(
        np.repeat(row, runs, axis=0),
        dtype=variable.dtype,
        trainable=variable.trainable,
        name=variable.name,
    )
