"""What short trials of other learning rates show."""

import functools
import math
from typing import Literal, NamedTuple

from gdtrain.diagnosis.trial import NotTried, Trial, Trials
from gdtrain.diagnosis.trial_ways import Start
from gdtrain.diagnosis.verdict import (
    Change,
    ChangeKind,
    Verdict,
    confidence,
)

LARGER = (10.0, 100.0)  # Times the rate
SMALLER = (0.1, 0.01, 0.001)

STARTS: tuple[Start, ...] = ("last", "new")

#: Name of the evidence that a verdict follows from trials
SHARE_OF_GAIN = "share_of_gain"

ENOUGH = 0.2  # Of the whole gain: such a rate is better
NONE = 0.05  # Of the whole gain: less than that says that it is not

Kind = Literal["larger", "smaller", "smaller from new weights", "held"]
FACTORS: dict[Kind, tuple[float, ...]] = {
    "larger": LARGER,
    "smaller": SMALLER,
    "smaller from new weights": SMALLER,
    "held": (1.0, 0.1),
}


class RateTrial(NamedTuple):
    """A trial of another learning rate.

    Args:
        rate: The learning rate that was tried.
        share: Of the whole gain, from new weights to the best that any trial
            comes to, the part that the other rate adds; 0 or more.
        trial: How it went.
    """

    rate: float
    share: float
    trial: Trial

    def verdict(
        self,
        name: str,
        steps: tuple[int, int],
        rate: float | None,
        text: str = "",
        advice: str = "",
        kind: ChangeKind = "learning_rate",
    ) -> Verdict:
        """The verdict that follows from it.

        Args:
            name, steps: Of the verdict.
            text, advice: The same. Default to how the trial went, and to try
                its rate.
            rate: The learning rate of the run.
            kind: Of the change to the rate that was tried.
        """
        text = text or (
            f"learning_rate {rate:.3g}: with {self.rate:.2g}, {self.trial}."
        )
        return Verdict(
            name,
            confidence(self.share / ENOUGH),
            steps,
            {"learning_rate": rate, SHARE_OF_GAIN: self.share},
            text,
            advice or f"Try {self.rate:.2g}.",
            changes=(Change(kind, self.rate),),
        )


class RateTrials:
    """Trials of larger and smaller learning rates, made when asked for.

    Shares of `ENOUGH` or more decide: to a run that gained as much as it
    could, no other rate adds much within some steps; to one whose rate is far
    too small or too large, another rate soon adds as much as all of it did.

    Args:
        trials: Open.
        rate: The largest learning rate of the run, above 0.
        has_decayed: Whether it was far lower at the end. Then rates up to the
            largest are tried from there on, which is the kind `"held"`, and
            no `"smaller"` ones.
    """

    def __init__(self, trials: Trials, rate: float, has_decayed: bool) -> None:
        self._trials = trials
        self._rate = rate
        other: Kind = "smaller" if has_decayed else "held"
        self._kinds = [kind for kind in FACTORS if kind != other]

    @property
    def last_loss(self) -> float | None:
        """The loss at the last weights; `None` if it is not known."""
        return self._trials.loss("last")

    @property
    def least_loss(self) -> float:
        """The least loss that any trial comes to; infinite without one."""
        made = [one for some in self._tried.values() for one in some.values()]
        return min((one.changed for one in made), default=math.inf)

    def of(self, kind: Kind) -> RateTrial | None:
        """The best trial of a kind; `None` if none could be made."""
        return self._all.get(kind)

    def decides_for(self, kind: Kind) -> RateTrial | None:
        """The trial of a kind, if it is the best of all, and by enough."""
        found = self._best_that_holds(kind)
        others = [one.share for name, one in self._all.items() if name != kind]
        if found is None or found.share < max(ENOUGH, *others, 0):
            return None
        return found

    def rules_out(self, kind: Kind) -> bool:
        """Whether no rate of a kind adds anything to speak of."""
        return kind in self._all and self._best_that_holds(kind) is None

    def better_from_new(self, rate: float | None) -> RateTrial | None:
        """The smaller rate that did best from new weights, if by enough.

        Args:
            rate: Only if it did better than this one; `None` for any.
        """
        found = self._all.get("smaller from new weights")
        if found is None or found.share < ENOUGH:
            return None
        other = self._from_new(rate) if rate else None
        if isinstance(other, Trial) and other.changed <= found.trial.changed:
            return None
        return found

    def without_decay(self) -> RateTrial | None:
        """The best trial of the same rate without weight decay, if any.

        From the last weights, and from new ones: those that have decayed to
        nothing do not grow again.
        """
        made = [
            self._trials.run([("weight_decay", 0.0)], start=start)
            for start in STARTS
        ]
        found = [
            RateTrial(self._rate, self._share(one, one.changed), one)
            for one in made
            if isinstance(one, Trial)
        ]
        return max(found, key=lambda one: one.share, default=None)

    def _holds(self, kind: Kind, found: RateTrial) -> bool:
        """Whether what a rate gains is no matter of the last weights alone.

        At the end of a run, a smaller one nearly always helps for some steps:
        it must gain from new weights, too. A larger one may be slow to begin,
        but must not lose much there.
        """
        if kind not in ("larger", "smaller"):
            return True
        again = self._from_new(found.rate)
        if not isinstance(again, Trial) or not math.isfinite(again.without):
            return True
        best = min(one.trial.changed for one in self._all.values())
        gain = (again.without - again.changed) / max(again.before - best, 1e-30)
        return gain > (NONE if kind == "smaller" else -ENOUGH)

    def _best_that_holds(self, kind: Kind) -> RateTrial | None:
        """The best trial of a kind that adds something, and holds.

        Of two rates, the larger may do best from the last weights alone, as
        one at the stable limit does, and the other from new ones as well.
        """
        if kind not in self._all:
            return None
        best = self._all[kind]
        others = [
            self._of(trial, rate) for rate, trial in self._tried[kind].items()
        ]
        others.sort(key=lambda one: one.share, reverse=True)
        for one in [best, *others]:
            if one.share >= NONE and self._holds(kind, one):
                return one
        return None

    @functools.cached_property
    def _tried(self) -> dict[Kind, dict[float, Trial]]:
        """The trials of each kind that could be made, by rate."""
        tried = {kind: self._try(kind) for kind in self._kinds}
        return {kind: trials for kind, trials in tried.items() if trials}

    @functools.cached_property
    def _all(self) -> dict[Kind, RateTrial]:
        """The best trial of each kind."""
        found: dict[Kind, RateTrial] = {}
        for kind, trials in self._tried.items():
            rate = _best(trials, is_new=kind == "smaller from new weights")
            found[kind] = self._of(trials[rate], rate)
        return found

    def _of(self, trial: Trial, rate: float) -> RateTrial:
        return RateTrial(rate, self._share(trial, self.least_loss), trial)

    def _try(self, kind: Kind) -> dict[float, Trial]:
        """Trials by rate; the next is made while they get better."""
        found: dict[float, Trial] = {}
        least = math.inf
        for factor in FACTORS[kind]:
            rate = factor * self._rate
            one = self._trial(rate, kind)
            if not isinstance(one, Trial):
                break
            found[rate] = one
            if factor < 1 and math.isinf(one.changed):
                continue  # It is still too large.
            if one.changed >= least:
                break
            least = one.changed
        return found

    def _from_new(self, rate: float) -> Trial | NotTried:
        return self._trials.run([("learning_rate", rate)], start="new")

    def _trial(self, rate: float, kind: Kind) -> Trial | NotTried:
        if kind == "smaller from new weights":
            return self._from_new(rate)
        # What follows the last weights may have decayed to nothing.
        change = ("constant_learning_rate", rate)
        return self._trials.run([change], start="last")

    def _share(self, found: Trial, best: float) -> float:
        """See `RateTrial`.

        Args:
            found: A trial.
            best: The least loss that any trial comes to.
        """
        new, last = self._trials.loss("new"), self._trials.loss("last")
        if new is None or last is None or not math.isfinite(found.changed):
            return 0.0
        otherwise = found.without
        if found.start == "new":  # Both the whole run and its first steps
            otherwise = min(last, found.without)
        if not math.isfinite(otherwise):
            return 1.0
        whole = max(new, otherwise) - best
        return max((otherwise - found.changed) / whole, 0) if whole > 0 else 0.0


def _best(trials: dict[float, Trial], is_new: bool) -> float:
    """The rate whose trial comes to the least loss.

    Args:
        trials: By rate.
        is_new: Whether they start from new weights. Then, of rates that do
            about as well, the least one: the run goes on for longer.
    """
    best = min(trials, key=lambda rate: trials[rate].changed)
    least = trials[best].changed
    return min(
        rate
        for rate, one in trials.items()
        if rate == best
        or (is_new and one.changed - least < NONE * (one.before - least))
    )
