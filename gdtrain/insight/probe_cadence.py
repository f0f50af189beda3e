"""When to probe, so that probes take no more than a share of the time."""

import logging
import math

from gdtrain.cadence import EverySteps

_log = logging.getLogger("gdtrain")


class ProbeCadence:
    """The multiples of `every_steps`, fewer of them where probes are dear.

        seconds of probes <= budget * seconds of training

    holds before each probe. The first one, which is compiled meanwhile, is
    not counted, and neither is the first block of steps. One that comes later
    than at the next multiple is told of in the log ("gdtrain", INFO), again
    when gaps have doubled.

    Args:
        every_steps: A positive integer, in steps.
        budget: The share; `None` for no limit.

    Example:

    >>> cadence = ProbeCadence(100, budget=0.05)
    >>> cadence.next(after=0)
    1
    >>> cadence.probed(1, seconds=3.0)  # Not counted
    >>> cadence.next(after=1)
    100
    >>> cadence.trained(steps=1, seconds=2.0)  # Not counted
    >>> cadence.trained(steps=100, seconds=0.1)  # 1 ms a step
    >>> cadence.probed(101, seconds=0.015)  # Worth 300 steps at 5%
    >>> cadence.next(after=101)
    400
    """

    def __init__(self, every_steps, budget=None):
        self._multiples = EverySteps(every_steps)
        self._budget = budget
        #: From which step on the next probe is wanted.
        self.next_step = 1
        self._has_trained = self._has_probed = False
        self._steps, self._trained, self._probed = 0, 0.0, 0.0
        self._said = 1  # How many times as seldom, when last told of

    def next(self, after):
        """The first step after `after` at which to probe."""
        return max(self.next_step, after + 1)

    def is_due(self, step):
        """Whether to probe now, after a step."""
        return step >= self.next_step

    def trained(self, steps, seconds):
        """Takes note of a block of steps."""
        if self._has_trained:
            self._steps += steps
            self._trained += seconds
        self._has_trained = True

    def probed(self, step, seconds):
        """Takes note of a probe after a step."""
        if self._has_probed:
            self._probed += seconds
        self._has_probed = True
        wait = self._steps_owed()
        self.next_step = self._multiples.next(step)
        if step + wait > self.next_step:
            self.next_step = self._multiples.next(step + wait - 1)
            self._tell(step, seconds)

    def _steps_owed(self):
        """How many steps of training must come first, to be within budget."""
        if self._budget is None or not self._steps:
            return 0
        seconds = self._probed / self._budget - self._trained
        return math.ceil(seconds * self._steps / max(self._trained, 1e-9))

    def _tell(self, step, seconds):
        """Says that probes are fewer than asked for, if that is news."""
        every = self._multiples.every_steps
        times = (self.next_step - step) / every
        if times < 2 * self._said:
            return
        self._said = times
        _log.info(
            "budget=%g: a probe took %.1f ms, %d steps of training take %.1f "
            "ms; the next one is at step %d.",
            self._budget,
            1e3 * seconds,
            every,
            1e3 * self._trained / self._steps * every,
            self.next_step,
        )
