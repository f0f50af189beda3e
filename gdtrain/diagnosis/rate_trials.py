"""What short trials of other learning rates show."""

import functools
import math
from typing import NamedTuple

from gdtrain.diagnosis.trial import Start, Trial, Trials

LARGER = (10.0, 100.0)  # Times the rate
SMALLER = (0.1, 0.01)
ENOUGH = 0.2  # Of the whole gain: such a rate is better
NONE = 0.05  # Of the whole gain: less than that says that it is not


class RateTrial(NamedTuple):
    """A trial of another learning rate.

    Args:
        rate: The learning rate that was tried.
        share: Of the whole gain, from new weights to the end of the trial,
            the part that the other rate adds; 0 or more.
        trial: How it went.
    """

    rate: float
    share: float
    trial: Trial


class RateTrials:
    """Trials of larger and smaller learning rates, made when asked for.

    Shares of `ENOUGH` or more decide: to a run that gained as much as it
    could, no other rate adds much within some steps; to one whose rate is far
    too small or too large, another rate soon adds as much as all of it did.

    Args:
        trials: Open.
        rate: The largest learning rate of the run, above 0.
    """

    def __init__(self, trials: Trials, rate: float) -> None:
        self._trials = trials
        self._rate = rate

    @functools.cached_property
    def larger(self) -> RateTrial | None:
        """The best of larger ones, from the last weights."""
        return self._best(LARGER, "last")

    @functools.cached_property
    def smaller(self) -> RateTrial | None:
        """The best of smaller ones, from the last weights."""
        return self._best(SMALLER, "last")

    @functools.cached_property
    def smaller_from_new(self) -> RateTrial | None:
        """The best of smaller ones, from new weights.

        Some steps of it against the whole run.
        """
        return self._best(SMALLER, "new")

    def _best(
        self, factors: tuple[float, ...], start: Start
    ) -> RateTrial | None:
        """The best of some rates; the next is tried while they get better."""
        best = None
        for factor in factors:
            rate = factor * self._rate
            # What follows the last weights may have decayed to nothing.
            is_last = start == "last"
            kind = "constant_learning_rate" if is_last else "learning_rate"
            found = self._trials.run([(kind, rate)], start=start)
            if not isinstance(found, Trial):
                return best
            tried = RateTrial(rate, self._share(found), found)
            if best is not None and tried.share <= best.share:
                return best
            best = tried
        return best

    def _share(self, found: Trial) -> float:
        """See `RateTrial`."""
        new, last = self._trials.loss("new"), self._trials.loss("last")
        if new is None or last is None or not math.isfinite(found.changed):
            return 0.0
        otherwise = found.without if found.start == "last" else last
        if not math.isfinite(otherwise):
            return 1.0
        whole = max(new, otherwise) - found.changed
        return max((otherwise - found.changed) / whole, 0) if whole > 0 else 0.0
