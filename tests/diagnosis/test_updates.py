"""Plain descent is told from other updates, by norms alone."""

import numpy as np
import pytest

from gdtrain.diagnosis.limits import is_plain, step_multiple
from tests.diagnosis.descents import bowl
from tests.diagnosis.runs import run_of


def test_plain_descent_makes_steps_of_the_rate_times_the_gradient():
    run = run_of(**bowl([1.0, 0.2], 0.3, 50))
    multiple, deviation = step_multiple(run)
    assert multiple == pytest.approx(1, abs=1e-5)
    assert deviation < 1e-4
    assert is_plain(run)


def test_heavy_ball_ends_with_longer_steps():
    # Nearly a slope: steps come to 1 / (1 - momentum) times plain ones.
    run = run_of(**bowl([1e-4], 0.1, 200, momentum=0.8))
    assert step_multiple(run)[0] == pytest.approx(5, rel=1e-2)
    assert not is_plain(run)


def test_scaled_steps_are_not_plain():
    columns = bowl([1.0, 0.2], 0.3, 50)
    columns["update_ratio__bowl"] = np.full(50, 0.001)
    assert not is_plain(run_of(**columns))


@pytest.mark.parametrize(
    "missing", ["learning_rate", "update_ratio__bowl", "weight_norm__bowl"]
)
def test_it_cannot_be_known_without_all_of_the_norms(missing):
    columns = bowl([1.0], 0.3, 20)
    del columns[missing]
    run = run_of(**columns)
    assert step_multiple(run) is None
    assert is_plain(run) is None


def test_it_cannot_be_known_where_steps_do_not_follow_each_other():
    columns = bowl([1.0], 0.3, 40)
    thin = {name: values[::4] for name, values in columns.items()}
    steps = np.arange(1, 41)[::4]
    assert is_plain(run_of(steps, **thin)) is None
