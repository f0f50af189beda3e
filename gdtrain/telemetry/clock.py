"""Which step it is, and which quantities are due at it."""

from typing import Any, NamedTuple

import tensorflow as tf

_RANGE = 2**30  # Step numbers within a program are modulo this, to be int32.


class Clock(NamedTuple):
    """The time, within a program.

    Args:
        step: The number of the step, an int32 scalar.
        strides: For each group of quantities, every how many steps it is
            measured, int32 `[groups]`.
        phases: For each group, how many steps ago, modulo its stride, it was
            due last, int32 `[groups]`.
    """

    step: Any
    strides: Any
    phases: Any

    def after(self, steps):
        """The time so many steps later."""
        return Clock(self.step + steps, self.strides, self.phases + steps)

    def is_due(self, index, group):
        """Whether a group is measured at this step.

        Args:
            index: Its place in `strides`.
            group: The `Group`.

        Returns:
            `True` if that is known before the step, else a bool scalar.
        """
        # Python, which drives an eager step, knows no value of a branch that
        # is not taken; there, everything is measured and little of it shown.
        if group.is_constant or tf.executing_eagerly():
            return True
        stride, phase = self.strides[index], self.phases[index]
        due = tf.equal(phase % stride, 0)
        if group.looks_back:
            due |= tf.equal((phase + 1) % stride, 0)
        return due


def numbers(step, strides):
    """The time of a step as a list of integers, to be given to a program.

    Args:
        step: Its number, from 1.
        strides: For each group, every how many steps it is measured.
    """
    return [step % _RANGE, *strides, *(step % stride for stride in strides)]


def parse(vector):
    """The `Clock` of numbers that `numbers` made, int32 `[1 + 2 * groups]`."""
    groups = (vector.shape[0] - 1) // 2
    return Clock(vector[0], vector[1 : 1 + groups], vector[1 + groups :])


def when(due, then, otherwise):
    """`tf.cond`, but for what is known before the step."""
    return then() if due is True else tf.cond(due, then, otherwise)
