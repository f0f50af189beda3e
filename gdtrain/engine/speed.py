"""How long steps take."""

import math
from typing import Any


class Speed:
    """Seconds a step, from the blocks that have run.

    Example:

    >>> speed = Speed()
    >>> speed.add(steps=1, seconds=0.9)  # With compilation
    >>> speed.add(steps=1, seconds=0.001)
    >>> speed.steps_in(1.0)  # No more than 8 times as many as last time
    8
    >>> speed.add(steps=8, seconds=0.008)
    >>> speed.steps_in(0.02)
    20
    """

    _GROWTH = 8

    def __init__(self):
        self.first: Any = None  # Seconds of the first block, compiled then
        self.seconds_per_step: Any = None
        self.best = math.inf  # The least seconds a step of any block
        self.blocks = self.steps = 0  # But for the first block
        self._most = 1

    def add(self, steps, seconds):
        """Takes note of a block of steps."""
        if self.first is None:
            self.first = seconds
            return
        self.blocks += 1
        self.steps += steps
        # A block of few steps, such as what is left of a run, tells more of
        # the time around them.
        if steps >= self._most / 2:
            self.seconds_per_step = seconds / steps
            self.best = min(self.best, self.seconds_per_step)
            self._most = steps

    def seconds(self, steps):
        """How long so many steps take; infinite if that is not known."""
        if self.seconds_per_step is None:
            return math.inf
        return steps * self.seconds_per_step

    def steps_in(self, seconds):
        """How many steps to run in about so many seconds, at least 1."""
        if self.seconds_per_step is None:
            return 1
        steps = int(seconds / self.seconds_per_step)
        return max(1, min(steps, self._GROWTH * self._most))
