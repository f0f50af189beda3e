"""Gradients from layer to layer, made up so that all is known."""

import dataclasses

import keras
import numpy as np
import pytest

from gdtrain.diagnosis.case import Case
from gdtrain.diagnosis.layers import relative_gradients
from gdtrain.diagnosis.task import Task
from gdtrain.diagnosis.verdicts import dead, exploding, vanishing
from tests.diagnosis.runs import case_of, run_of
from tests.diagnosis.tasks import compiled

STEPS = 20


def judge(case):
    """The verdicts on layers, in order."""
    found = dead.judge(case) + exploding.judge(case)
    names = {verdict.name for verdict in found}
    return found + vanishing.judge(dataclasses.replace(case, found=names))


def deep(gradients, weights=None, **more):
    """Columns of layers of given lengths of gradient and weights."""
    weights = weights or [1.0] * len(gradients)
    columns = {"loss": np.linspace(2, 1, STEPS)}
    for i, (gradient, weight) in enumerate(
        zip(gradients, weights, strict=True)
    ):
        columns[f"gradient_norm__layer_{i}"] = np.full(STEPS, gradient)
        columns[f"weight_norm__layer_{i}"] = np.full(STEPS, weight)
    return columns | more


@pytest.mark.parametrize("factor", [4.0, 8.0])
def test_gradients_that_shrink_backwards_vanish(factor):
    run = run_of(**deep(factor ** np.arange(-6.0, 1)))
    (found,) = judge(Case(run))
    assert found.name == "vanishing gradients"
    assert found.evidence["factor_a_layer"] == pytest.approx(factor)
    assert found.evidence["ratio"] == pytest.approx(factor**6)
    assert found.confidence == pytest.approx(1 - 150 / factor**6)
    assert "layer_6 back to layer_0" in found.text


def test_network_that_has_learned_has_no_vanishing_gradients():
    x = np.linspace(-1, 1, 32)[:, np.newaxis]
    model = compiled([keras.layers.Dense(1)], "mse", [1])
    run = run_of(**deep(8.0 ** np.arange(-6.0, 1)))
    found = {}
    for slope in (0.0, 3.0):  # Of targets 3 * x
        model.set_weights([np.array([[slope]]), np.zeros(1)])
        found[slope] = judge(Case(run, task=Task(model, x, 3 * x)))
    assert found[0.0] and not found[3.0]


def test_gradients_are_seen_against_weights():
    """A layer of weights ten times as long has a gradient as much longer."""
    lengths = 10.0 ** np.arange(6)
    assert judge(case_of(**deep(0.01 * lengths, list(lengths)))) == []
    names, values = relative_gradients(run_of(**deep(lengths, [2.0] * 6)))
    assert names == [f"layer_{i}" for i in range(6)]
    np.testing.assert_allclose(values[:, 0], lengths / 2)


def test_gradients_that_grow_backwards_explode():
    run = run_of(**deep(0.4 ** np.arange(6.0)))
    (found,) = judge(Case(run))
    assert found.name == "exploding gradients"
    assert found.evidence["ratio"] == pytest.approx(2.5**5)
    assert found.evidence["gradient_to_weights"] == pytest.approx(1)
    assert found.confidence == pytest.approx(1 - 0.5 * 30 / 2.5**5)


def test_gradients_far_longer_than_weights_explode():
    (found,) = judge(case_of(**deep([9e6] * 4)))
    assert found.name == "exploding gradients"
    assert found.evidence["gradient_to_weights"] == pytest.approx(9e6)
    assert found.confidence == pytest.approx(1 - 0.5 / 3)


def test_explosion_is_judged_at_the_first_step():
    columns = deep([1.0] * 5)
    columns["gradient_norm__layer_0"][1:] = 1e4
    assert judge(case_of(**columns)) == []


def test_three_layers_are_not_deep():
    assert judge(case_of(**deep([1e-9, 1e-3, 1e3]))) == []


def test_layer_without_a_gradient_is_dead():
    columns = deep([0.0, 0.0, 1.0, 1.0])
    (found,) = judge(case_of(**columns))
    assert found.name == "dead layer"
    assert found.evidence == {"steps_without_gradient": 1.0}
    assert "layer_1" in found.text  # The one nearest to the loss
    columns["gradient_norm__layer_1"][::4] = 0.1
    columns["gradient_norm__layer_0"][::4] = 0.1
    assert judge(case_of(**columns)) == []


def test_silent_units_are_told_of_where_they_are_measured():
    silent = np.full(STEPS, np.nan)
    silent[::5] = [0.9, 0.95, 0.95, 0.97]
    run = run_of(**deep([1.0, 1.0]), dead_fraction__layer_0=silent)
    (found,) = dead.judge(Case(run))
    assert found.evidence["dead_fraction"] == pytest.approx(0.95)
    assert "95% of the units of layer_0" in found.text
    silent[::5] = 0.5
    assert (
        dead.judge(case_of(**deep([1.0]), dead_fraction__layer_0=silent)) == []
    )


def test_all_layers_without_a_gradient_are_no_dead_layer():
    """The loss or the output does not depend on anything then."""
    assert dead.judge(case_of(**deep([0.0, 0.0]))) == []


def test_layers_that_were_not_measured_are_no_error():
    assert judge(case_of(loss=np.ones(9))) == []
    assert dead.judge(case_of(accuracy=np.ones(9))) == []


def test_gradients_of_what_is_learned_are_not_taken_for_vanishing():
    columns = deep([1e-3, 1e-2, 1e-1, 1.0])
    assert judge(case_of(**columns))[0].name == "vanishing gradients"
    for layer in range(4):  # Once the loss is low, layers differ.
        columns[f"gradient_norm__layer_{layer}"][:10] = 1.0
    assert judge(case_of(**columns)) == []


@pytest.mark.parametrize("values", [[9e6] * 4, [1e-3, 1e-2, 1e-1, 1.0]])
def test_gradients_of_a_resumed_training_are_not_those_of_its_start(values):
    columns = deep(values)
    steps = np.arange(900, 900 + len(columns["loss"]))
    assert judge(case_of(steps, **columns)) == []
