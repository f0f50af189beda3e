"""What must never be said together of one training."""

import re

from gdtrain.diagnosis.verdicts import (
    converged,
    dead,
    diverging,
    exploding,
    oscillating,
    overfitting,
    too_small,
)

STANDS = re.compile(r"falls no more|stays at|stands at|no more than noise")
GO_ON = re.compile(r"[Tt]rain on\b(?! only)")
STOP = re.compile(r"Stop here")
MORE = re.compile(r"still falls|may be to come|[Tt]rain on\b|Try |keep ")
TRIED = re.compile(r"\bTry ([0-9][0-9.e+-]*[0-9]|[0-9])")
TOO_LARGE = {diverging.NAME, oscillating.NAME}


def contradictions(diagnosis):
    """Sentences on what contradicts itself in a `Diagnosis` of one run."""
    found = []
    verdicts = diagnosis.verdicts
    names = {verdict.name for verdict in verdicts}
    said = " ".join(f"{one.text} {one.advice}" for one in verdicts)
    if STANDS.search(said) and GO_ON.search(said):
        found.append("the loss stands, and is to be trained on")
    if STOP.search(said) and MORE.search(said):
        found.append("stop, and go on")
    if too_small.NAME in names and names & {
        *TOO_LARGE,
        dead.NAME,
        exploding.NAME,
    }:
        found.append("the learning rate is too small and too large")
    if {too_small.NAME, overfitting.NAME} <= names:
        found.append("the rate is to be raised, and training to be stopped")
    if len(verdicts) > 1 and converged.NAME in names:
        found.append("converged, and in trouble")
    for verdict in verdicts:
        found += _of_rates(verdict)
    return found


def _of_rates(verdict):
    """Contradictions of the rate to try and those that are told."""
    tried = TRIED.search(verdict.advice)
    rate = verdict.evidence.get("learning_rate")
    limit = verdict.evidence.get("stable_learning_rate")
    if not tried:
        return []
    value, found = float(tried[1]), []
    if limit and value > limit:
        found.append(f"{value} is to be tried, beyond the limit {limit}")
    if rate and verdict.name in TOO_LARGE and value >= rate:
        found.append(f"{rate} is too large, and {value} is to be tried")
    if rate and verdict.name == too_small.NAME and value <= rate:
        found.append(f"{rate} is too small, and {value} is to be tried")
    return found
