"""Keeps measuring within a share of training time."""

import logging
import math
import statistics

_log = logging.getLogger("gdtrain")

_PAIRS = 5  # Trials without and with the measuring; the median counts.
_TRIAL = 0.1  # Seconds of each at least
_PAUSE = 50  # Times as long as the trials, until the next ones


class Budget:
    """Says how much more seldom than asked for to measure.

    It times steps without the stretchable quantities and with them, in turn,
    and stretches their cadences until they cost no more than allowed; again
    from time to time, as speeds change. Trials are training like any other.

    Args:
        share: Of the time of the steps without them; `None` for no limit.

    Example:

    >>> budget = Budget(0.05)
    >>> for _ in range(5):
    ...     assert budget.stretch == math.inf  # Without them, 1 ms a step
    ...     budget.add(steps=100, seconds=0.1)
    ...     assert budget.stretch == 1  # With them, 1.2 ms
    ...     budget.add(steps=100, seconds=0.12)
    >>> budget.stretch
    4
    """

    def __init__(self, share=None):
        self.share = share
        self._settled = 1
        self._on_trial = share is not None
        self._steps, self._seconds = 0, 0.0  # Of the trial that goes on
        self._without = None  # Seconds a step of the trial before
        self._ratios = []  # Of the trials with to those without
        self._spent = 0.0  # Seconds of the trials; then negative until again

    @property
    def stretch(self):
        """How many times as seldom: 1 or more, `math.inf` for not at all."""
        if not self._on_trial:
            return self._settled
        return math.inf if self._without is None else 1

    def add(self, steps, seconds):
        """Takes note of a block of steps, run with `stretch` as it was."""
        if self.share is None:
            return
        self._spent += seconds
        if not self._on_trial:
            self._on_trial = self._spent > 0
            return
        self._steps += steps
        self._seconds += seconds
        if self._seconds < _TRIAL:
            return
        each = self._seconds / self._steps
        self._steps, self._seconds = 0, 0.0
        if self._without is None:
            self._without = each
            return
        self._ratios.append(each / self._without)
        self._without = None
        if len(self._ratios) == _PAIRS:
            self._settle()

    def _settle(self):
        """Sets the stretch by what the trials showed."""
        cost = max(statistics.median(self._ratios) - 1.0, 0.0)
        before, self._settled = self._settled, max(
            1, math.ceil(cost / self.share)
        )
        self._ratios = []
        self._on_trial = False
        self._spent *= -_PAUSE
        if self._settled != before:
            _log.info(
                "budget=%g: what is measured beyond the standard quantities "
                "takes %.1f%% of the time of training as often as asked for; "
                "it is measured %d times as seldom now.",
                self.share,
                100 * cost,
                self._settled,
            )
