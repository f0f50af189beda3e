"""When to probe: by a clock that is an argument."""

import logging

import pytest

from gdtrain.callbacks.stability import ProbeCadence


def run(cadence, steps, step_seconds, probe_seconds, block=10):
    """Trains and probes; returns the steps of probes, and both times."""
    done, probes, trained, probed = 0, [], 0.0, 0.0
    while done < steps:
        last = min(cadence.next(done), done + block)
        cadence.trained(last - done, (last - done) * step_seconds)
        trained += (last - done) * step_seconds
        done = last
        if done >= cadence.next_step:
            if probes:
                share = probed / trained
                assert cadence._budget is None or share <= cadence._budget
            cadence.probed(done, probe_seconds)
            probed += probe_seconds if probes else 0
            probes.append(done)
    return probes, trained, probed


@pytest.mark.parametrize("budget", [None, 0.05])
def test_cheap_probes_come_at_step_1_and_at_the_multiples(budget):
    probes, *_ = run(ProbeCadence(100, budget), 1000, 1e-3, 1e-3)
    assert probes == [1, *range(100, 1001, 100)]


def test_without_a_budget_expensive_ones_come_as_asked():
    probes, *_ = run(ProbeCadence(100), 500, 1e-3, 10.0)
    assert probes == [1, 100, 200, 300, 400, 500]


@pytest.mark.parametrize("seconds", [0.006, 0.02, 0.3])
def test_expensive_ones_keep_to_the_budget_and_use_it(seconds):
    budget, steps = 0.05, 40_000
    probes, trained, probed = run(
        ProbeCadence(100, budget), steps, 1e-3, seconds
    )
    assert all(step % 100 == 0 for step in probes[1:])
    assert 0.6 * budget < probed / trained <= budget + seconds / trained


def test_block_that_ends_late_is_probed_at_its_end():
    cadence = ProbeCadence(10)
    cadence.probed(1, 0.1)
    assert cadence.next_step > 9
    assert cadence.next_step <= 13
    cadence.probed(13, 0.1)
    assert cadence.next(13) == 20


def test_next_is_never_in_the_past():
    cadence = ProbeCadence(10)
    assert cadence.next(after=57) == 58


def test_fewer_probes_are_reported_when_gaps_double(caplog):
    with caplog.at_level(logging.INFO, "gdtrain"):
        run(ProbeCadence(100, 0.05), 20_000, 1e-3, 0.02)
    assert 1 <= len(caplog.records) <= 2
    assert "a probe took 20.0 ms, 100 steps of training take 100.0" in (
        caplog.text
    )
    caplog.clear()
    with caplog.at_level(logging.INFO, "gdtrain"):
        run(ProbeCadence(100, 0.05), 20_000, 1e-3, 1e-3)
    assert caplog.text == ""
