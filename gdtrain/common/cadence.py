"""When something happens, counted in steps."""

import dataclasses

import numpy as np

from gdtrain.common import checks


@dataclasses.dataclass(frozen=True)
class EverySteps:
    """True at the steps that are multiples of `every_steps`.

    Step numbers count from 1, so that `EverySteps(20)` picks steps 20, 40,
    60, ... as the lecture prints them, and `EverySteps(1)` picks them all.

    Args:
        every_steps: A positive integer, in steps.

    Raises:
        TypeError: if `every_steps` is not an integer.
        ValueError: if `every_steps` is below 1.

    Example:

    >>> EverySteps(20).mask([19, 20, 21, 40]).tolist()
    [False, True, False, True]
    """

    every_steps: int = 1

    def __post_init__(self):
        checks.positive_integer("every_steps", self.every_steps)

    def mask(self, steps):
        """Which of `steps` are picked.

        Args:
            steps: Step numbers, integers of shape `[n]`.

        Returns:
            A bool array of shape `[n]`.
        """
        return np.asarray(steps) % self.every_steps == 0

    def next(self, step):
        """The first picked step after `step`."""
        return (step // self.every_steps + 1) * self.every_steps


@dataclasses.dataclass(frozen=True)
class OneTwoFive:
    """True at steps 1, 2, 5, 10, 20, 50, 100, ...

    Often while much changes, seldom later: 19 steps of the first million.

    Example:

    >>> OneTwoFive().next(5), OneTwoFive().next(699)
    (10, 1000)
    >>> OneTwoFive().mask([1, 2, 3, 4, 5, 6]).tolist()
    [True, True, False, False, True, False]
    """

    def mask(self, steps):
        """Which of `steps` are picked, a bool array of shape `[n]`."""
        return np.array([self.next(step - 1) == step for step in steps], bool)

    def next(self, step):
        """The first picked step after `step`."""
        power = 10 ** (len(str(step)) - 1) if step > 0 else 1
        return next(
            multiple * power
            for multiple in (1, 2, 5, 10)
            if multiple * power > step
        )
