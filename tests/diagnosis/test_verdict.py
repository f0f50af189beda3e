"""Verdicts: their order, how sure they are, and how they are told."""

import json
import math

import numpy as np
import pytest

from gdtrain.diagnosis.diagnose import NAMES, diagnose, ranked
from gdtrain.diagnosis.verdict import Diagnosis, Verdict, confidence
from tests.diagnosis.descents import telemetry_of

HEALTHY = {"converging", "noise floor", "converged", "nothing to report"}


def named(name, **evidence):
    return Verdict(name, 0.75, (1, 2000), evidence, "It is so.", "Do this.")


def test_list_of_names_is_the_one_promised():
    assert set(NAMES) == {
        "converging",
        "converged",
        "learning rate too large: diverging",
        "learning rate too large: oscillating",
        "learning rate too large: overshot",
        "learning rate decayed too early",
        "learning rate too small",
        "plateau",
        "noise floor",
        "vanishing gradients",
        "exploding gradients",
        "dead layer",
        "non-finite",
        "not learning",
        "nothing moves",
        "output and loss do not fit",
        "inputs not scaled",
        "targets not scaled",
        "label noise",
        "data not shuffled",
        "weight decay too strong",
        "overfitting",
        "nothing to report",
    }
    assert HEALTHY == set(NAMES[-4:])


def test_most_important_comes_first():
    found = Diagnosis(ranked([named(name) for name in reversed(NAMES)]))
    assert [one.name for one in found.verdicts] == list(NAMES)
    assert found.verdict.name == NAMES[0]


@pytest.mark.parametrize(
    ("margins", "expected"),
    [((1.0,), 0.5), ((2.0,), 0.75), ((50.0, 10.0), 0.95), ((0.1,), 0.5)],
)
def test_confidence_grows_with_the_least_margin(margins, expected):
    assert confidence(*margins) == pytest.approx(expected)


def test_confidence_stays_in_its_range():
    assert 0.5 <= confidence(math.inf) <= 1


def test_it_is_printed_as_text():
    found = Diagnosis((named("plateau"), named("dead layer")))
    assert str(found).splitlines() == [
        "plateau (confidence 0.75, steps 1 to 2,000)",
        "  It is so.",
        "  Do this.",
        "dead layer (confidence 0.75, steps 1 to 2,000)",
        "  It is so.",
        "  Do this.",
    ]


def test_dict_is_json_whatever_the_evidence():
    one = named("plateau", end=0.5, first_step=3, rate=None, norm=math.inf)
    told = Diagnosis((one,)).as_dict()
    again = json.loads(json.dumps(told, allow_nan=False))
    assert again["verdict"] == "plateau"
    assert again["verdicts"][0]["evidence"] == {
        "end": 0.5,
        "first_step": 3,
        "rate": None,
        "norm": None,
    }
    assert again["verdicts"][0]["steps"] == [1, 2000]


@pytest.mark.parametrize(
    ("loss", "is_trouble"),
    [
        (1 + 0.97 ** np.arange(60.0), False),  # Converging
        (1 + 0.5 ** np.arange(60.0), False),  # Converged
        (np.ones(3), False),  # Nothing to report
        (np.ones(60), True),  # Not learning
        (1.5 ** np.arange(60.0), True),  # Diverging
    ],
)
def test_only_what_is_wrong_is_trouble(loss, is_trouble):
    found = diagnose(telemetry_of(loss=loss)).verdict
    assert found.is_trouble == is_trouble == (found.name not in HEALTHY)
