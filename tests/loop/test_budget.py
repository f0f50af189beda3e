"""What may be measured less often, so that training stays fast."""

import logging
import math

import pytest
import tensorflow as tf

from gdtrain.loop import block_runner, hooks
from gdtrain.loop.hooks import Budget
from tests import models
from tests.clock import Clock, Costly
from tests.telemetry.listening import Listener


class Clockwork:
    """Steps that take given times.

    Args:
        budget: The budget to tell.
        without, measuring: Seconds of a step, and of measuring in one.
    """

    def __init__(self, budget, without=1e-3, measuring=1.9e-4):
        self.budget = budget
        self.without = without
        self.measuring = measuring
        self.stretches = []

    def run(self, blocks, steps=100):
        """Runs so many blocks of steps."""
        for _ in range(blocks):
            stretch = self.budget.stretch
            self.stretches.append(stretch)
            seconds = self.without + self.measuring / stretch
            self.budget.add(steps, steps * seconds)

    def share(self):
        """Of the time of training that measuring takes now."""
        return self.measuring / self.budget.stretch / self.without


def test_without_a_budget_all_is_measured_as_asked():
    clockwork = Clockwork(Budget())
    clockwork.run(300)
    assert set(clockwork.stretches) == {1}


def test_trials_are_in_turn_without_and_with():
    clockwork = Clockwork(Budget(0.05))
    clockwork.run(10)
    assert clockwork.stretches == [math.inf, 1] * 5


def test_time_in_which_no_batch_was_found_does_not_count():
    budget = Budget(0.05)
    budget.add(steps=0, seconds=1.0)
    assert budget.stretch == math.inf  # The first trial has not ended.


@pytest.mark.parametrize("blocks_a_trial, steps", [(1, 200), (4, 30)])
@pytest.mark.parametrize("share", [0.01, 0.02, 0.05, 0.1])
def test_settles_to_the_least_stretch_within_the_budget(
    share, blocks_a_trial, steps
):
    clockwork = Clockwork(Budget(share), measuring=2.3e-4)
    clockwork.run(10 * blocks_a_trial + 1, steps)
    stretch = clockwork.budget.stretch
    assert stretch == math.ceil(0.23 / share)
    assert clockwork.share() <= share < 0.23 / (stretch - 1)


@pytest.mark.parametrize("measuring", [0.0, -1e-4, 4e-5])
def test_what_costs_little_is_measured_as_asked(measuring, caplog):
    clockwork = Clockwork(Budget(0.05), measuring=measuring)
    with caplog.at_level(logging.INFO, "gdtrain"):
        clockwork.run(30)
    assert clockwork.budget.stretch == 1
    assert caplog.text == ""


def test_one_slow_trial_does_not_count():
    clockwork = Clockwork(Budget(0.05))
    clockwork.run(3)
    assert clockwork.budget.stretch == 1
    clockwork.budget.add(100, 10.0)  # Another process had the machine.
    clockwork.run(6)
    assert clockwork.budget.stretch == 4


def test_says_once_how_much_less_often(caplog):
    clockwork = Clockwork(Budget(0.05))
    with caplog.at_level(logging.INFO, "gdtrain"):
        clockwork.run(1500)  # Several times of trials
    assert clockwork.stretches.count(math.inf) > 10
    (message,) = [record.getMessage() for record in caplog.records]
    assert "budget=0.05" in message
    assert "19.0% of the time" in message
    assert "4 times less often" in message


def test_tries_again_when_speeds_may_have_changed():
    clockwork = Clockwork(Budget(0.05))
    clockwork.run(11)
    assert clockwork.budget.stretch == 4
    clockwork.measuring = 1e-3  # It takes longer now: 100%.
    clockwork.run(100)
    assert clockwork.budget.stretch == 4  # Trials are rare.
    clockwork.run(1000)
    assert set(clockwork.stretches[-20:]) <= {20, math.inf, 1}
    assert 20 in clockwork.stretches


def test_trials_take_a_fiftieth_of_the_time():
    clockwork = Clockwork(Budget(0.05))
    clockwork.run(20_000)
    settled = clockwork.stretches.count(4)
    assert settled / len(clockwork.stretches) > 0.97


def train(listener, steps, **arguments):
    model = models.line()
    model.compile("sgd", "mse", jit_compile=False, **arguments)
    x, y = models.regression_data(4, features=1)
    data = tf.data.Dataset.from_tensors((x, y)).repeat(steps)
    model.fit(data, shuffle=False, verbose=0, callbacks=[listener])
    return model


def test_what_costs_much_is_measured_less_often(monkeypatch):
    clock = Clock(0.03)  # For each block of 30 steps, a tenth of measuring
    monkeypatch.setattr(block_runner, "time", clock)
    listener = Listener([Costly(clock)], stretchable=True, budget=0.5)
    model = train(listener, 1500, steps_per_execution=30)
    strides = [table.strides["costly"] for table in listener.tables]
    assert 2**30 in strides  # Trials without
    assert 1 in strides
    assert model._step_hooks.budget.stretch == 20
    steps = list(listener.values("costly"))
    assert steps == [
        step
        for table in listener.tables
        for step in range(table.first_step, table.last_step + 1)
        if step % table.strides["costly"] == 0
    ]


@pytest.mark.parametrize("stretchable, share", [(False, 0.01), (True, None)])
def test_what_may_not_be_stretched_is_measured_as_asked(stretchable, share):
    listener = Listener([Costly().every(2)], stretchable, share)
    train(listener, 300, steps_per_execution=30)
    assert list(listener.values("costly")) == list(range(2, 301, 2))


def test_the_least_budget_of_several_counts():
    shares = (0.2, None, 0.1, 0.3)
    listeners = [Listener([], budget=share) for share in shares]
    with hooks.Hooks().registered(listeners) as registered:
        assert registered.budget.share == 0.1
