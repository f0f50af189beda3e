"""What is planted is what it says, and the checks see whether it is there."""

import dataclasses
import functools
import math
import types

import numpy as np
import pytest

from gdtrain.diagnosis.diagnose import NAMES
from tests.zoo import halves, making
from tests.zoo.bench import Bench, Trained
from tests.zoo.planted import FAULTS, deep, spoiled, unit
from tests.zoo.planted.edited import edited, last_activation, one_unit
from tests.zoo.planted.fault import (
    has_labels,
    has_values,
    is_binary,
    names_of_rate,
)
from tests.zoo.sweep import HEALTHY
from tests.zoo.training import Examples, Setup

units = functools.cache(unit.units)

PLANE = Setup("build", "plane linear", "descent", None, "constant", 60)
BLOBS = Setup("build", "blobs relu_net", "adam", 32, "constant", 160)


def planted(setup, fault, **changes):
    return unit.Planted(dataclasses.replace(setup, fault=fault, **changes), 0)


def places(setup, fault, **changes):
    return {run.place: run for run in planted(setup, fault, **changes).runs()}


def test_faults_have_names_of_verdicts():
    named = {n for one in FAULTS.values() for n in (one.kind, *one.also)}
    causes = {name.partition(":")[0] for name in NAMES}
    assert named - {HEALTHY} <= {*NAMES, *causes}


def test_parts_share_no_deep_task_either():
    drawn = [name for part in halves.PARTS.values() for name in part.data]
    built = [
        name for part in halves.PARTS.values() for name in part.architectures
    ]
    for tasks in deep.TASKS.values():
        drawn += [task.draw.__name__ for task in tasks]
        built += [task.build.__name__ for task in tasks]
    for names in (drawn, built):
        assert len(set(names)) == len(names)


def test_several_yes_or_no_answers_are_neither_classes_nor_values():
    y = np.eye(4, dtype="float32")
    data = Examples(np.zeros([4, 3], "float32"), y)
    assert not any(fit(data) for fit in (is_binary, has_labels, has_values))
    assert is_binary(data._replace(y=y[:, :1]))


def test_faults_are_planted_where_inputs_are_one_array():
    tasks = {one.setup.task for one in units("reserve")}
    assert "signatures siamese" not in tasks
    assert "signatures siamese" in halves.tasks("reserve")


@pytest.mark.parametrize("half", halves.PARTS)
def test_deep_models_take_their_data(half):
    for task in deep.TASKS[half]:
        x, y = task.draw(np.random.default_rng(0), 8)
        outputs = task.build()(x)
        assert outputs.shape[0] == len(y) == 8
        assert np.isfinite(outputs).all()


@pytest.mark.parametrize("half", halves.PARTS)
def test_every_kind_is_tried_in_several_tasks(half):
    tried = {}
    for one in units(half):
        tried.setdefault(one.fault.kind, set()).add(one.setup.task)
    assert set(tried) == {fault.kind for fault in FAULTS.values()}
    assert min(map(len, tried.values())) >= 2


def data():
    random = np.random.default_rng(0)
    x = random.normal(size=(50, 3)).astype("float32")
    return x, random.integers(0, 4, 50)


def test_spoiled_data_is_spoiled():
    x, y = data()
    shifted, _ = spoiled.shifted((x, y), 30)
    assert shifted.mean() == pytest.approx(30 * x.std(), rel=0.02)
    large, _ = spoiled.one_large_feature((x, y), 1e4, 0)
    assert sorted((large != x).all(0)) == [False, False, True]
    whole, _ = spoiled.pixels((x, y))
    assert (whole.min(), whole.max()) == (0, 255)
    ordered, labels = spoiled.ordered((x, y))
    assert (np.diff(labels) >= 0).all()
    assert {*map(tuple, ordered)} == {*map(tuple, x)}
    _, noisy = spoiled.random_labels((x, y), 0.5, 0)
    assert 0.2 < (noisy != y).mean() < 0.55
    _, other = spoiled.unrelated((x, y), 0)
    assert (np.sort(other) == np.sort(y)).all() and (other != y).any()
    same, _ = spoiled.constant_inputs((x, y))
    assert (same == x[0]).all()
    nan, _ = spoiled.with_nonfinite((x, y), math.nan, "x", 0)
    assert np.isnan(nan).sum() == 1 and np.isfinite(x).all()
    values = x.sum(1, keepdims=True)
    _, large = spoiled.large_targets((x, values), 10.0, 2.0)
    np.testing.assert_allclose(large, 10 * values + 20, rtol=1e-5)


def test_drawn_labels_are_not_those_that_the_data_was_drawn_with():
    for one in units("build"):
        if one.fault.kind == "label noise":
            clean = unit.training_of(dataclasses.replace(one.setup, fault=""))
            noisy = unit.training_of(one.setup)
            assert 0.2 < (clean.draw(0).y != noisy.draw(0).y).mean() < 0.8


def test_layers_are_edited():
    task = halves.tasks("build")["blobs relu_net"]
    model = task.build()
    x = np.random.default_rng(0).normal(size=(6, 5))
    inputs, outputs = edited(model, last_activation("softmax"))
    np.testing.assert_allclose(
        type(model)(inputs, outputs)(x).numpy().sum(1), 1, rtol=1e-5
    )
    _, outputs = edited(model, one_unit("sigmoid"))
    assert outputs.shape == (None, 1)
    assert model.output.shape == (None, 4)


def trained(rate, end):
    return Trained(rate, 0, 2.0, end, {}, {}, [], [])


def test_a_wrong_rate_beside_a_fault_is_accepted_too():
    best = trained(0.1, 1.0)
    assert names_of_rate(trained(0.01, 1.9), best) == {
        "learning rate too small"
    }
    assert len(names_of_rate(trained(1.0, math.inf), best)) == 2
    assert names_of_rate(trained(1.0, 1.2), best) == set()
    assert names_of_rate(trained(1.0, 2.0), trained(0.1, 2.0)) == set()


@pytest.mark.long
def test_a_rate_that_decays_too_early_is_there_and_one_that_does_not_is_not():
    found = places(PLANE, "decays by 10 each 2%", steps=120)
    run = found["best rate without the fault"]
    assert run.label == "learning rate decayed too early"
    rates = run.trained.telemetry["learning_rate"]
    assert rates[-1] < 1e-6 * rates[0] and run.gain < 0.75
    assert not places(PLANE, "cosine to 0 at 15%", steps=6000)


@pytest.mark.long
def test_inputs_that_are_not_scaled_are_there():
    found = places(PLANE, "inputs + 30 deviations", steps=120)
    assert set(found) == {"best rate", "best rate without the fault"}
    assert found["best rate"].accepted == ("inputs not scaled",)
    # At ten or more times the best rate for these inputs, it diverges.
    assert len(found["best rate without the fault"].accepted) == 3


@pytest.mark.parametrize("fault", ["frozen", "rate 0"])
def test_nothing_moves(fault):
    (run,) = places(PLANE, fault).values()
    assert run.label == "nothing moves"
    assert run.trained.first == run.trained.end


@pytest.mark.long
def test_a_softmax_twice_is_there_and_one_that_keras_mends_is_healthy():
    assert places(BLOBS, "softmax twice")
    mended = places(BLOBS, "softmax that Keras mends")
    assert [run.label for run in mended.values()] == [HEALTHY]
    assert [run.accepted for run in mended.values()] == [()]


@pytest.mark.long
def test_a_dead_layer_is_there():
    (run,) = places(BLOBS, "dead second relu").values()
    assert run.accepted == ("dead layer",)


def test_a_planted_run_is_compiled_again_as_it_was():
    bench = making.bench_of(planted(BLOBS, "L2 of 1").setup)
    assert len(bench.model.losses) == 5
    assert making.bench_of(BLOBS).model.losses == []


def test_softmax_over_one_unit_moves_nothing():
    """Which Keras mends in the loss, unless another layer follows."""
    corners = Setup("build", "corners corner_net", "descent", 32, "constant", 8)
    spoiled_one = dataclasses.replace(corners, fault="softmax over one unit")
    trained_one = Bench(unit.training_of(spoiled_one)).train(0.1, 0)
    assert trained_one.first == trained_one.end > 1


def test_best_rate_is_found_of_losses_below_0():
    class Quadratic:
        def train(self, rate, seed):
            end = math.log10(rate / 0.1) ** 2 - 3
            return types.SimpleNamespace(rate=rate, first=1.0, end=end)

    assert unit.at_best_rate(Quadratic(), 0, 0.001).rate == pytest.approx(0.1)
