"""Which step it is, and which quantities are due at it."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from gdtrain.telemetry.requests import RequestGroup

_RANGE = 2**30  # Step numbers within a program are modulo this, to be int32.


class StepClock(NamedTuple):
    """The number of a step and what is due at it, within a program.

    Args:
        step: The number of the step, an int32 scalar.
        strides: For each group of quantities, every how many steps it is
            measured, int32 `[groups]`.
        phases: For each group, how many steps ago, modulo its stride, it was
            due last, int32 `[groups]`.
    """

    step: tf.Tensor
    strides: tf.Tensor
    phases: tf.Tensor

    @staticmethod
    def encode(step: int, strides: Sequence[int]) -> list[int]:
        """The clock of a step as integers, to be given to a program.

        Args:
            step: Its number, from 1.
            strides: For each group, every how many steps it is measured.

        Returns:
            `1 + 2 * groups` integers.
        """
        return [step % _RANGE, *strides, *(step % stride for stride in strides)]

    @classmethod
    def decode(cls, vector: tf.Tensor) -> "StepClock":
        """The clock of what `encode` gave, as an int32 vector."""
        groups = (vector.shape[0] - 1) // 2
        return cls(vector[0], vector[1 : 1 + groups], vector[1 + groups :])

    def after(self, steps: Any) -> "StepClock":
        """The time so many steps later."""
        return StepClock(self.step + steps, self.strides, self.phases + steps)

    def is_due(self, index: int, group: RequestGroup) -> Any:
        """Whether a group is measured at this step.

        Args:
            index: Its place in `strides`.
            group: The `RequestGroup`.

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


def when(
    due: Any, then: Callable[[], Any], otherwise: Callable[[], Any]
) -> Any:
    """`tf.cond`, but for what is known before the step."""
    return then() if due is True else tf.cond(due, then, otherwise)
