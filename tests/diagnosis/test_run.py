"""The run that is judged: each step once, apart by update, by epochs."""

import numpy as np
import pytest

from gdtrain.diagnosis.run import last_known, runs_of
from tests.diagnosis.descents import telemetry_of
from tests.diagnosis.runs import run_of


def test_of_steps_that_came_again_the_later_count():
    steps = [1, 2, 3, 4, 3, 4, 5]
    run = run_of(steps, loss=[9, 8, 7, 6, 5, 4, 3])
    assert run.steps.tolist() == [1, 2, 3, 4, 5]
    assert run.loss.tolist() == [9, 8, 5, 4, 3]


def test_updates_of_their_own_names_are_runs_of_their_own():
    telemetry = telemetry_of(
        generator__loss=[3.0, 2.0],
        critic__loss=[5.0, 4.0],
        critic__gradient_norm__dense=[1.0, 1.0],
        critic__learning_rate=[0.5, 0.5],
        learning_rate=[0.25, 0.25],
        gradient_norm__loss=[7.0, 7.0],  # A layer of that name
    )
    generator, critic = runs_of(telemetry.table)
    assert (generator.name, critic.name) == ("generator", "critic")
    assert critic.loss.tolist() == [5, 4]
    assert list(critic.layers("gradient_norm")) == ["dense"]
    assert (critic.learning_rate, generator.learning_rate) == (0.5, 0.25)


def test_losses_are_those_before_the_first_that_is_not_finite():
    run = run_of(loss=[3.0, 2.0, np.nan, 1.0])
    assert run.first_nonfinite == 2
    assert run.loss.tolist() == [3, 2]
    assert run_of(accuracy=[1.0, 2.0]).loss.tolist() == []


def test_gaps_between_measurements_are_left_out():
    run = run_of(loss=[3.0, None, 2.0, None, 1.0])
    assert run.first_nonfinite is None
    assert run.loss_steps.tolist() == [1, 3, 5]
    assert run.at_loss("loss").tolist() == [3, 2, 1]
    assert np.isnan(run.at_loss("gradient_norm")).all()


def test_means_are_over_whole_epochs():
    loss = np.arange(1.0, 44)  # 10 epochs of 4, and 3 steps of the next
    run = run_of(loss=loss, steps_per_epoch=4)
    steps, means = run.means
    np.testing.assert_allclose(means, 2.5 + 4 * np.arange(10))
    np.testing.assert_allclose(steps, means)  # The loss is its step here
    # Every other step, and begun amid an epoch.
    thin = run_of(np.arange(4, 44, 2), loss=loss[3::2], steps_per_epoch=4)
    np.testing.assert_allclose(thin.means[1][:3], [7, 11, 15])


def test_steps_are_their_own_means_where_there_are_few_epochs():
    loss = np.arange(1.0, 25)
    for length in (4, None):
        steps, means = run_of(loss=loss, steps_per_epoch=length).means
        np.testing.assert_array_equal(means, loss)
        np.testing.assert_array_equal(steps, np.arange(1, 25))


@pytest.mark.parametrize(
    ("steps", "is_resumed"),
    [
        (range(1, 9), False),
        (range(10, 90, 10), False),
        (range(50, 58), True),
        ([40], True),
        ([1], False),
    ],
)
def test_run_that_begins_later_is_resumed(steps, is_resumed):
    assert run_of(steps, loss=np.ones(len(steps))).is_resumed == is_resumed


def test_last_known_number_passes_over_gaps():
    values = np.array([np.nan, 2.0, np.inf, np.nan])
    assert last_known(values, 3) == 2
    assert last_known(values, 0) is None
