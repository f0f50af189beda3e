"""Where a loss that is in no trouble is, and two that stand still."""

import types

import numpy as np
import pytest

from gdtrain.diagnosis.case import Case
from gdtrain.diagnosis.diagnose import verdicts_on
from gdtrain.diagnosis.trend import FALLS
from gdtrain.diagnosis.verdicts import not_learning
from gdtrain.diagnosis.verdicts.plateau import gradient_rise
from tests.diagnosis.descents import bowl, noisy
from tests.diagnosis.runs import run_of


def found_in(run):
    (found,) = verdicts_on(Case(run))
    return found


def test_descent_that_is_at_its_least_has_converged():
    found = found_in(run_of(**bowl([1.0, 0.5], 0.5, 200, least=3.0)))
    assert found.name == "converged"
    assert found.evidence["end"] == pytest.approx(3)
    assert found.evidence["start"] == pytest.approx(3.75)
    assert found.steps == (101, 200)


def test_descent_that_is_on_its_way_converges_with_a_share_left():
    found = found_in(run_of(**bowl([1.0], 0.02, 60, least=3.0)))
    assert found.name == "converging"
    last = np.mean((1 - 0.02) ** (2 * np.arange(60)[-7:]))
    # Levels are float32: third differences of them are known to 1%.
    assert found.evidence["share_left"] == pytest.approx(last, rel=0.02)
    assert found.evidence["tends_to"] == pytest.approx(3, rel=1e-3)


def test_noise_around_a_level_is_a_noise_floor():
    course = 0.5 + 5 * 0.9 ** np.arange(400)
    found = found_in(run_of(loss=noisy(course, 0.05, 400)))
    assert found.name == "noise floor"
    assert found.evidence["noise"] == pytest.approx(0.05, rel=0.15)
    assert found.evidence["end"] == pytest.approx(0.5, rel=0.05)
    assert found.steps == (201, 400)


def test_noise_around_a_descent_converges():
    course = 0.5 + 5 * 0.99 ** np.arange(200)
    assert found_in(run_of(loss=noisy(course, 0.05, 200))).name == "converging"


def test_epochs_tell_a_descent_that_batches_hide():
    random = np.random.default_rng(0)
    batches = random.normal(0, 0.4, (40, 8))
    batches -= batches.mean(1, keepdims=True)  # Every example once an epoch
    course = 1 + np.exp(-np.arange(320) / 80)
    loss = course + batches.ravel()
    assert found_in(run_of(loss=loss)).name == "noise floor"
    found = found_in(run_of(loss=loss, steps_per_epoch=8))
    assert found.text.startswith("The mean loss of an epoch fell from 1.")
    assert found.name == "converging"
    assert found.evidence["noise"] == pytest.approx(0.4, rel=0.2)


@pytest.mark.parametrize("loss", [noisy(0.7, 0.01, 200), np.full(200, 0.7)])
def test_loss_that_stays_as_it_was_is_not_learning(loss):
    found = found_in(run_of(loss=loss, learning_rate=np.full(200, 0.1)))
    assert found.name == "not learning"
    # More losses make it no surer: a rate too small looks the same.
    assert found.confidence == 0.5
    assert "Either the learning rate is too small" in found.advice
    assert "gdtrain.diagnose(telemetry, model, x, y)" in found.advice


def test_advice_asks_for_no_model_where_it_was_given():
    run = run_of(loss=np.full(200, 0.7), learning_rate=np.full(200, 0.1))
    task = types.SimpleNamespace(constant_loss=None)
    [found] = not_learning.judge(Case(run, task=task))
    assert "gdtrain.diagnose" not in found.advice
    assert "try a larger rate" in found.advice


def test_loss_of_zero_and_a_resumed_one_have_converged():
    assert found_in(run_of(loss=np.zeros(40))).name == "converged"
    resumed = run_of(np.arange(500, 560), loss=np.full(60, 0.2))
    assert found_in(resumed).name == "converged"


def test_loss_that_stands_while_the_gradient_grows_is_on_a_plateau():
    # A saddle: the gradient grows by 5% a step while the loss stays.
    growth = 1.05 ** np.arange(80)
    loss = np.concatenate([np.linspace(3, 1, 20), 1 - 1e-9 * growth[:60]])
    gradient = 1e-4 * growth
    run = run_of(loss=loss, gradient_norm=gradient)
    found = found_in(run)
    assert found.name == "plateau"
    # Medians of a geometric series: two quarters are 20 steps apart.
    assert found.evidence["gradient_rise"] == pytest.approx(1.05**20, rel=1e-3)
    assert gradient_rise(run) == found.evidence["gradient_rise"]


def test_gradient_that_was_not_measured_does_not_rise():
    assert gradient_rise(run_of(loss=np.ones(20))) == 0
    sparse = np.full(20, np.nan)
    sparse[3] = 1.0
    assert gradient_rise(run_of(loss=np.ones(20), gradient_norm=sparse)) == 0


def test_less_than_eight_losses_are_nothing_to_report():
    run = run_of(loss=[3.0, 2.0, 1.0])
    (found,) = verdicts_on(Case(run))
    assert (found.name, found.confidence) == ("nothing to report", 1)
    assert found.evidence == {"losses": 3}


def test_memorizing_labels_of_chance_is_no_movement():
    course = np.linspace(0.6930, 0.6928, 20000)  # By a fifth of the noise
    loss = noisy(course, 0.001, 20000)
    run = run_of(loss=loss)
    assert run.trend.drift > FALLS
    assert not run.trend.ends_lower
    assert found_in(run).name == "not learning"
    assert run_of(loss=course).trend.ends_lower


@pytest.mark.parametrize(("noise", "is_unsure"), [(0.3, True), (0.01, False)])
def test_fall_by_less_than_noise_is_told_with_what_it_may_be_else(
    noise, is_unsure
):
    run = run_of(
        loss=noisy(np.linspace(1.1, 1.0, 400), noise, 400),
        learning_rate=np.full(400, 0.1),
        update_ratio__layer=np.full(400, 2e-4),
    )
    found = found_in(run)
    assert found.name == "learning rate too small"
    assert ("the network cannot learn this" in found.advice) == is_unsure
    assert (found.confidence == 0.5) == is_unsure


def test_gradient_that_falls_again_is_no_sign_of_a_saddle():
    loss = np.concatenate([np.linspace(3, 1, 20), np.full(60, 1.0)])
    gradient = np.full(80, 0.5)
    gradient[62:75] = 1.0
    run = run_of(loss=loss - 1e-9 * np.arange(80), gradient_norm=gradient)
    assert gradient_rise(run) > 1.1
    assert found_in(run).name != "plateau"
