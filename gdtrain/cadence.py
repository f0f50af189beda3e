"""When something happens. Floor 0."""

import dataclasses

import numpy as np

from gdtrain import checks


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
