"""Jumps from side to side, against sequences that are known."""

import numpy as np
import pytest

from gdtrain.diagnosis.verdicts.oscillating import alternation, swing
from tests.diagnosis.descents import noisy


def test_alternation_tells_jumps_from_noise_walks_and_descent():
    places = np.arange(4000)
    noise = noisy(0, 1, 4000)
    assert alternation((-0.99) ** places[:400]) == 1
    # Of three independent numbers the middle one is the outermost in 2 of 3;
    # 0.03 is over 3 standard errors.
    assert alternation(noise) == pytest.approx(2 / 3, abs=0.03)
    assert alternation(np.cumsum(noise)) == pytest.approx(1 / 2, abs=0.03)
    assert alternation(0.99**places) == 0


@pytest.mark.parametrize("values", [[], [1.0], [1.0, 2.0]])
def test_few_values_do_not_alternate_or_swing(values):
    assert alternation(np.array(values)) == 0
    assert swing(np.array(values)) == 0


@pytest.mark.parametrize("half", [0.25, 3.0])
def test_swing_is_the_distance_of_the_sides_over_their_mean(half):
    sides = 10 + half * (-1.0) ** np.arange(50)
    assert swing(sides) == pytest.approx(2 * half / 10)


def test_swing_of_a_straight_line_is_zero():
    assert swing(np.linspace(3, 9, 20)) == pytest.approx(0, abs=1e-15)
