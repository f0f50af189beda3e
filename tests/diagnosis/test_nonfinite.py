"""Numbers that are not finite: where, how many, and in which layer."""

import keras
import numpy as np
import pytest

from gdtrain.diagnosis.case import Case
from gdtrain.diagnosis.diagnose import verdicts_on
from gdtrain.diagnosis.verdicts.nonfinite import judge
from tests.diagnosis.runs import case_of, run_of
from tests.diagnosis.tasks import case_with, compiled


def test_first_step_count_and_layer_are_told():
    nan = np.nan
    run = run_of(
        range(11, 17),
        loss=[3, 2, 1, nan, nan, nan],
        nonfinite_count=[0, 0, 0, 7, 9, 9],
        gradient_norm__first=[1, 1, 1, 1, nan, nan],
        gradient_norm__second=[1, 1, 1, np.inf, nan, nan],
    )
    (found,) = judge(Case(run))
    assert (found.name, found.confidence) == ("non-finite", 1)
    assert found.steps == (14, 16)
    assert found.evidence == {"first_step": 14, "nonfinite_count": 7}
    assert "finite (numbers in it: 7), in the gradient of second." in found.text


def test_loss_alone_is_enough():
    (found,) = judge(case_of(loss=[1.0, np.inf, 1.0]))
    assert found.evidence == {"first_step": 2}
    (found,) = judge(case_of(loss=[np.nan] * 4))
    assert found.evidence == {"first_step": 1}


def test_count_alone_is_enough():
    run = run_of(loss=[3.0, 2, 1], nonfinite_count=[0, 1, 0])
    (found,) = judge(Case(run))
    assert found.steps == (2, 3)


def test_numbers_between_measurements_are_not_missing():
    run = run_of(loss=[3.0, None, 2.0, None, 1.0, None])
    assert judge(Case(run)) == []
    (found,) = judge(case_of(loss=[3.0, None, 2.0, None, np.nan, None]))
    assert found.evidence == {"first_step": 5}


def test_first_update_far_beyond_the_weights_is_told_of_a_run_that_ends_soon():
    columns = {
        "loss": [4e18, np.inf, np.nan],
        "update_ratio/first": [2e9, np.inf, np.nan],
    }
    (found,) = judge(case_of(**columns))
    assert "The first update of first is 2e+09 times as long" in found.text
    assert "scale them" in found.advice
    columns = {
        "loss": [*np.linspace(3, 1, 40), np.nan],
        "update_ratio/first": [2e9, *np.full(40, 1e-3)],
    }
    (found,) = judge(case_of(**columns))
    assert "first update" not in found.text


@pytest.mark.parametrize("spoiled", ["x", "y"])
def test_data_that_are_not_finite_are_named_and_no_rate_is_blamed(spoiled):
    """However steeply the loss rises where it is finite."""
    data = {"x": np.ones([64, 2], "float32"), "y": np.ones([64, 1], "float32")}
    data[spoiled][40] = np.nan
    loss = np.append(2.0 ** np.arange(30), np.nan)
    columns = {"loss": loss, "learning_rate": np.full(31, 0.1)}
    model = compiled([keras.layers.Dense(1)], "mse", [2])
    case = case_with(model, **data, **columns)
    (found,) = [one for one in verdicts_on(case) if one.is_trouble][:1]
    assert found.name == "non-finite" and f" in {spoiled}." in found.text
    (found, *_) = verdicts_on(case_of(**columns))
    assert found.name.endswith("diverging")
