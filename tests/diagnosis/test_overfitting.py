"""Validation that turns while training continues, with a known turn."""

import numpy as np
import pytest

from gdtrain.diagnosis.diagnose import open_epochs
from gdtrain.diagnosis.verdicts.overfitting import judge, turn_of
from tests.diagnosis.descents import noisy
from tests.diagnosis.runs import case_of


def judged(loss, val_loss):
    history = {"loss": list(loss), "val_loss": list(val_loss)}
    epochs = open_epochs(None, history)
    return judge(case_of(loss=np.linspace(1, 0.1, 200), epochs=epochs))


def test_turn_of_validation_is_found():
    held = np.abs(np.arange(20) - 8) / 10 + 1
    (found,) = judged(np.linspace(1, 0.1, 20), held)
    assert found.name == "overfitting"
    assert found.evidence == {
        "best_epoch": 9,
        "least_val_loss": pytest.approx(1.0),
        "val_loss": pytest.approx(2.1),
        "loss": pytest.approx(0.1),
    }
    # 200 steps in 20 epochs, of which the ninth ends with step 90.
    assert found.steps == (91, 200)
    assert "Stop at epoch 9" in found.advice


def test_confidence_follows_the_rise():
    held = [2.0, 1.5, 1.0, 1.05, 1.1, 1.2]
    (found,) = judged(np.linspace(1, 0.5, 6), held)
    assert found.confidence == pytest.approx(0.75)  # Twice 10% of the fall


@pytest.mark.parametrize(
    "held",
    [
        np.linspace(2, 1, 20),
        [*np.linspace(2, 1, 19), 1.05],
        [1.0, 2.0, 3.0],
        [2.0, 1.0, 2.0, np.nan, 3.0, 4.0],
        [0.0, 1.0, 2.0, np.inf, 4.0, 5.0],
    ],
)
def test_falling_little_noisy_few_or_unusable_validation_is_none(held):
    assert judged(np.linspace(1, 0.1, len(held)), held) == []


def test_training_that_rises_too_is_none():
    assert judged([3, 2, 1, 2, 3, 4], [3, 2, 1, 2, 3, 4]) == []


def test_noisy_validation_is_averaged():
    course = 1 + ((np.arange(200) - 80) / 60) ** 2
    turn = turn_of(noisy(course, 0.1, 200))
    assert turn.size == 25
    assert turn.noise == pytest.approx(0.1 / 5, rel=0.2)
    assert abs(turn.last - 92) < 15  # The last of 25 around 80
    assert turn.end == pytest.approx(course[-25:].mean(), rel=0.05)


def test_noise_alone_is_seldom_taken_for_a_rise():
    falls = np.linspace(1, 0.1, 20)
    alarms = sum(
        bool(judged(falls, noisy(1, 0.15, 20, seed))) for seed in range(300)
    )
    assert alarms <= 9  # 3%


@pytest.mark.parametrize("offset", [0.0, 100.0, -1.5, -100.0])
@pytest.mark.parametrize(("end", "is_found"), [(1.05, False), (1.2, True)])
def test_where_a_loss_has_its_zero_does_not_matter(offset, end, is_found):
    held = np.r_[np.linspace(2, 1, 10), np.linspace(1, end, 10)] + offset
    found = judged(np.linspace(1, 0.5, 20) + offset, held)
    assert bool(found) == is_found
