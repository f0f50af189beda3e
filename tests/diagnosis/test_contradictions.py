"""No text and advice that are printed together contradict each other."""

import itertools

import numpy as np
import pytest

import gdtrain
from gdtrain.diagnosis.diagnose import NAMES
from gdtrain.diagnosis.verdict import Diagnosis, Verdict
from tests.diagnosis.contradictions import contradictions
from tests.diagnosis.descents import noisy, telemetry_of

STEPS = 96
PLACES = np.arange(STEPS)
COURSES = {
    "falls fast": 3 * 0.8**PLACES + 1,
    "falls": 3 * 0.97**PLACES + 0.5,
    "falls slowly": 3 - 1e-3 * PLACES,
    "falls hardly": 3 - 1e-7 * PLACES,
    "falls and stands": np.maximum(3 - 0.1 * PLACES, 1),
    "stands": np.full(STEPS, 0.7),
    "rises a little": 1 + 3e-3 * PLACES,
    "rises": 1.1**PLACES,
    "rises at once": np.where(PLACES < 2, 2.0 + 1e9 * PLACES, np.nan),
    "falls and rises": np.abs(PLACES - 50) / 50 + 0.1,
    "turns back": 2 + 0.5 * (-1.0) ** PLACES * 0.999**PLACES,
    "overflows": np.where(PLACES < 1, 1e12, np.inf),
    "not finite": np.where(PLACES < 30, 1 + 0.9**PLACES, np.nan),
    "below 0": -1.0 - 0.9**PLACES,
}
NOISE = {"": 0, " with noise": 0.05}
RATES = {
    "constant": np.full(STEPS, 0.1),
    "decays at once": 0.1 * 0.3**PLACES,
    "decays": 0.1 * 0.9**PLACES,
    "cosine": 0.05 * (1 + np.cos(np.pi * PLACES / (STEPS - 1))),
    "falls in a step": np.where(PLACES < 20, 0.1, 1e-5),
    "rises": np.geomspace(1e-5, 0.1, STEPS),
    "zero": np.zeros(STEPS),
}
NORMS = {
    "unknown": None,
    "constant": np.ones(STEPS),
    "falls": 0.8**PLACES,
    "rises": 1e-3 * 1.05**PLACES,
    "large": np.full(STEPS, 1e8),
}
LIMITS = (None, 0.02, 0.3)
HISTORIES = (
    None,
    {"loss": np.linspace(4, 1, 12), "val_loss": 1 + (PLACES[:12] - 3.0) ** 2},
)


def diagnoses():
    """Yields what each combination is, and its `Diagnosis`."""
    for course, noise, rate, norm, limit, history in itertools.product(
        COURSES, NOISE, RATES, NORMS, LIMITS, HISTORIES
    ):
        if history and (norm != "constant" or limit):
            continue
        loss = COURSES[course]
        if NOISE[noise]:
            loss = noisy(loss, NOISE[noise] * np.abs(loss[0]), STEPS)
        columns = {"loss": loss, "learning_rate": RATES[rate]}
        if NORMS[norm] is not None:
            lengths = np.full(STEPS, 2.0)
            columns |= {
                "gradient_norm": NORMS[norm],
                "gradient_norm/line": NORMS[norm],
                "weight_norm/line": lengths,
                "update_ratio/line": RATES[rate] * NORMS[norm] / lengths,
            }
        if limit:
            columns["stable_learning_rate"] = np.full(STEPS, limit)
        found = gdtrain.diagnose(telemetry_of(**columns), history=history)
        what = f"{course}{noise}; rate {rate}; gradient {norm}; limit {limit}"
        yield what, found


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_no_text_and_advice_contradict_each_other():
    names = set()
    for what, found in diagnoses():
        names |= {verdict.name for verdict in found.verdicts}
        assert not contradictions(found), f"{what}\n{found}"
    # Some take several layers, the length of epochs, or a model.
    missing = {
        "vanishing gradients",
        "exploding gradients",
        "dead layer",
        "data not shuffled",
        "weight decay too strong",
        "output and loss do not fit",
        "inputs not scaled",
        "targets not scaled",
        "label noise",
        "nothing to report",
    }
    assert names == set(NAMES) - missing


@pytest.mark.parametrize(
    ("name", "text", "advice", "evidence"),
    [
        ("converged", "The loss falls no more.", "Train on.", {}),
        ("converged", "It still falls.", "Stop here: it is done.", {}),
        (
            "learning rate too small",
            "It falls slowly.",
            "Try 0.5, ten times as much.",
            {"learning_rate": 0.05, "stable_learning_rate": 0.2},
        ),
        (
            "learning rate too large: diverging",
            "It grows.",
            "Try 0.3.",
            {"learning_rate": 0.2},
        ),
    ],
)
def test_contradictions_are_seen(name, text, advice, evidence):
    one = Verdict(name, 0.9, (1, 9), evidence, text, advice)
    assert contradictions(Diagnosis((one,)))
