"""When something happens, counted in steps."""

import dataclasses

from gdtrain.common import checks


@dataclasses.dataclass(frozen=True)
class EverySteps:
    """The steps that are multiples of `every_steps`, which count from 1.

    Args:
        every_steps: A positive integer, in steps.

    Raises:
        TypeError: if `every_steps` is not an integer.
        ValueError: if `every_steps` is below 1.

    Example:

    >>> EverySteps(20).next(19), EverySteps(20).next(20)
    (20, 40)
    """

    every_steps: int = 1

    def __post_init__(self) -> None:
        checks.positive_integer("every_steps", self.every_steps)

    def next(self, step: int) -> int:
        """The first of these steps after `step`."""
        return (step // self.every_steps + 1) * self.every_steps


class OneTwoFive:
    """The steps 1, 2, 5, 10, 20, 50, 100, ...

    Often while much changes, less often later: 19 of the first million steps.

    Example:

    >>> OneTwoFive().next(0), OneTwoFive().next(5), OneTwoFive().next(699)
    (1, 10, 1000)
    """

    def next(self, step: int) -> int:
        """The first of these steps after `step`."""
        power = 10 ** (len(str(step)) - 1) if step > 0 else 1
        return next(
            multiple * power
            for multiple in (1, 2, 5, 10)
            if multiple * power > step
        )
