"""A verdict on a training, with its evidence and an advice."""

import dataclasses
import os

from gdtrain.insight.diagnosis import (
    at_rest,
    layers,
    nonfinite,
    overfitting,
    too_large,
    too_small,
)
from gdtrain.insight.diagnosis.run import runs_of
from gdtrain.insight.diagnosis.trend import trend
from gdtrain.insight.diagnosis.verdict import (
    DEAD,
    DIVERGING,
    EXPLODING,
    HEALTHY,
    NONFINITE,
    NOT_LEARNING,
    OSCILLATING,
    OVERFITTING,
    PLATEAU,
    TOO_SMALL,
    VANISHING,
    Diagnosis,
    ranked,
)
from gdtrain.insight.epochs import open_epochs
from gdtrain.insight.source import open_source

ENOUGH = 8  # Losses


def diagnose(telemetry, *, history=None):
    source = open_source(telemetry)
    epochs = open_epochs(telemetry, history)
    runs = runs_of(source)
    found = [
        verdict
        for run in runs
        for verdict in _judge(run, epochs)
    ]
    return Diagnosis(ranked(found))


def _judge(run, epochs):
    """All verdicts on one run."""
    course = trend(run.loss) if len(run.loss) >= ENOUGH else None
    divergence = too_large.judge_divergence(run, course)
    broken = nonfinite.judge(run)
    found = [*divergence, *broken, *layers.judge(run)]
    if not divergence and not broken:
        found += too_large.judge_oscillation(run, course)
        found += too_small.judge(run, course)
        found += overfitting.judge(run, epochs)
    if not found:
        found = at_rest.judge(run, course)
    return found
