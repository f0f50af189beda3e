"""The truth about a learning rate: from trainings at many of them."""

import math
from typing import NamedTuple

import numpy as np

from tests.zoo.bench import Bench, Trained

HEALTHY = "healthy"
TOO_SMALL, TOO_LARGE = "learning rate too small", "learning rate too large"
OVERFITTING, DEAD = "overfitting", "dead layer"
BORDERLINE = "borderline"  # Neither a miss nor a false alarm

#: First verdicts that are right; of the others, none that is trouble
ACCEPTED = {
    TOO_SMALL: (TOO_SMALL,),
    TOO_LARGE: (TOO_LARGE,),
    OVERFITTING: (OVERFITTING,),
}

FACTOR = math.sqrt(10)
#: Powers of `FACTOR` times the best rate that are kept
KEPT = (-6, -4, -3, -2, -1, 0, 1, 2, 3)
START = {
    "descent": 0.1, "momentum": 0.03, "nesterov": 0.03, "adagrad": 0.1,
    "lion": 0.001,
}  # fmt: skip
LEARNED = 0.7  # Of its first loss, a task's best rate must leave less
ENOUGH_GAIN, LITTLE_GAIN = 0.9, 0.5  # Of the gain of the best rate
UNSTEADY = 0.1  # Of the gain: a rise of the loss that is no noise
OVERFITTED = 0.25  # Of the gain: so far has the loss of validation risen
HELD_UNSTEADY = 0.05  # Less is no overfitting; in between, who knows


class Labelled(NamedTuple):
    """A training, and what is true of it.

    Args:
        trained: A `Trained`.
        label: `HEALTHY`, `TOO_SMALL`, `TOO_LARGE`, `OVERFITTING`,
            `BORDERLINE`, or the kind of fault that was planted.
        accepted: First verdicts that are right; of none, all that are no
            trouble.
        gain: How much of the best rate's fall of the loss it has.
        place: `"best x 0.1"`, where its rate is.
        why: Why it is borderline, or what shows the fault; may be empty.
    """

    trained: Trained
    label: str
    accepted: tuple[str, ...]
    gain: float
    place: str
    why: str = ""


def sweep(bench: Bench, seed: int, start: float = 0.01) -> dict[int, Trained]:
    """Trainings by power of `FACTOR` times the best rate, those of `KEPT`.

    The best rate is the one with the least loss of all training data at the
    end. Rates around the best one so far are trained until none is better;
    empty if that is a million times `start`, or a millionth of it.
    """
    runs: dict[int, Trained] = {}
    best, wanted = 0, set(range(-2, 3))
    while missing := sorted(wanted - runs.keys()):
        for power in missing:
            runs[power] = bench.train(start * FACTOR**power, seed)
        best = min(runs, key=lambda power: runs[power].end)
        wanted = {best + power for power in KEPT}
        if abs(best) > 12:
            return {}
    return {power: runs[best + power] for power in KEPT}


def steadiness(run: Trained, gain: float) -> str:
    """Why a training is not steady, or `""`.

    By means over tenths of the losses of its steps: the highest is above the
    first loss, or the last above the lowest, by a tenth of the gain.
    """
    tenths = [part.mean() for part in np.array_split(run.loss, 10)]
    if not np.max(tenths) <= run.first + UNSTEADY * gain:
        return "rose above its first loss"
    if not tenths[-1] <= np.min(tenths) + UNSTEADY * gain:
        return "ended unstable"
    return ""


def overfitted(run: Trained, gain: float) -> float:
    """How far validation ends above its least loss, as a share of the gain."""
    held = run.history.get("val_loss", [0.0])
    return float(held[-1] - np.min(held)) / gain


def labelled(runs: dict[int, Trained]) -> list[Labelled]:
    """The truth about the trainings of a sweep; none of a task not learned.

    With gain = (first - end) / (first - end of the best):

    - healthy: gain >= 0.9, steady, and the loss of validation (if there is
      one) ends at most 0.05 of the gain above its minimum
    - overfitting: the same, but it ends 0.25 of the gain above, or more
    - learning rate too small: below the best, and gain <= 0.5
    - learning rate too large: above the best, and gain <= 0.5
    - borderline: all others

    A rate too large may silence a layer for good. Then there are two faults,
    and either may be named first.
    """
    if not runs or not runs[0].end < LEARNED * runs[0].first:
        return []
    best = runs[0]
    whole = best.first - best.end
    return [_label(power, run, whole) for power, run in runs.items()]


def _label(power: int, run: Trained, whole: float) -> Labelled:
    gain = (run.first - run.end) / whole
    label, why = BORDERLINE, "gain in between"
    if gain >= ENOUGH_GAIN:
        why, rise = steadiness(run, whole), overfitted(run, whole)
        if not why and rise > HELD_UNSTEADY:
            why = f"validation rose by {rise:.2f} of the gain"
            label = OVERFITTING if rise >= OVERFITTED else BORDERLINE
        elif not why:
            label = HEALTHY
    elif gain <= LITTLE_GAIN:
        label, why = (TOO_SMALL if power < 0 else TOO_LARGE), ""
    place = f"best x {FACTOR**power:.2g}"
    accepted = ACCEPTED.get(label, ())
    if label == TOO_LARGE and run.silent:
        accepted += (DEAD,)
    return Labelled(run, label, accepted, gain, place, why)
