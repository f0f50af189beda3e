"""Workers whose clocks and signals differ decide alike."""

import json
import logging

import numpy as np
import pytest

from gdtrain.distributed import reports
from gdtrain.distributed.reports import Reports, Stragglers, Times
from tests import workers

NAMES = ["worker-0", "worker-1", "worker-2"]


def slots(*of_workers):
    """The slots of a block of one step."""
    return np.array([of_workers], "float32")


def times(*seconds, waiting):
    """What workers of 10 examples did."""
    each = np.full(len(seconds), 10.0)
    names = NAMES[: len(seconds)]
    return Times(names, each, np.array(seconds), np.array(waiting))


def test_times_are_those_of_the_steps_of_a_block():
    # signal, due, stop, between, examples, elapsed, waited
    steps = np.array(
        [
            [[0, 0, 0, 0.5, 8, 1.0, 0.75], [0, 0, 0, 1.0, 4, 1.0, 0.25]],
            [[0, 0, 0, 0.5, 8, 2.0, 0.25], [0, 0, 0, 1.0, 4, 2.0, 0.5]],
        ]
    )
    found = Times.of(NAMES[:2], steps)
    assert found.examples.tolist() == [16, 8]
    assert found.seconds.tolist() == [2.5, 3.0]
    # In each step, beyond that of the worker which came last
    assert found.waiting.tolist() == [0.5, 0.25]
    assert found.examples_per_second.tolist() == [8.0, 8 / 2.75]


def test_blocks_last_as_long_as_the_worker_that_began_last_says():
    of_both = slots([0, 0, 0, 0, 8, 0.5, 0], [0, 0, 0, 0, 8, 0.25, 0])
    assert reports.agreed_seconds(of_both) == 0.25


def test_what_one_worker_reports_all_of_them_know(alone):
    own = Reports(alone)
    own.send(signal=None, due=False)
    own.read(slots([0, 0, 0, 0, 8, 1, 0], [15, 0, 0, 0, 8, 1, 0]))
    assert (own.signal, own.due) == (15, False)
    own.read(slots([0, 1, 0, 0, 8, 1, 0], [0, 0, 0, 0, 8, 1, 0]))
    assert (own.signal, own.due) == (0, True)
    own.begin()
    assert (own.signal, own.due) == (0, False)
    assert own.sent(stop=False) == [0, 0, 0, 0]


def test_time_between_blocks_fits_an_int32(alone, monkeypatch):
    own = Reports(alone)
    own.read(slots([0, 0, 0, 0, 8, 1, 0]))
    monkeypatch.setattr(reports.time, "perf_counter", lambda: 1e9)
    assert own.sent(stop=False)[-1] == 2**31 - 1


@pytest.fixture
def alone():
    import tensorflow as tf

    from gdtrain.distributed.workers import Workers

    return Workers(tf.distribute.get_strategy())


def test_a_straggler_is_named_once_and_when_it_is_none_any_more(caplog):
    caplog.set_level(logging.INFO, "gdtrain")
    stragglers = Stragglers()
    slow = times(1.0, 1.0, 1.0, waiting=[0.5, 0.6, 0.0])
    even = times(1.0, 1.0, 1.0, waiting=[0.05, 0.0, 0.02])
    assert [stragglers.add(slow) for _ in range(4)] == [None] + NAMES[2:] * 3
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == (
        "The worker worker-2 is slower than the others: it takes 2.2 times as "
        "long for a step, and they wait for it 55% of the time.\n"
        "More: python -m gdtrain explain slow-worker"
    )
    # Once is no change.
    assert stragglers.add(even) == stragglers.add(slow) == NAMES[2]
    assert [stragglers.add(even) for _ in range(2)] == [NAMES[2], None]
    assert caplog.messages[1:] == [
        "No worker is much slower than the others any more."
    ]


def test_a_little_slower_is_no_straggler_unless_it_was_one():
    stragglers = Stragglers()
    little = times(1.0, 1.0, waiting=[0.15, 0.0])
    slow = times(1.0, 1.0, waiting=[0.5, 0.0])
    assert [stragglers.add(little) for _ in range(3)] == [None] * 3
    assert [stragglers.add(slow) for _ in range(2)] == [None, "worker-1"]
    assert [stragglers.add(little) for _ in range(3)] == ["worker-1"] * 3


def test_short_blocks_are_looked_at_together():
    stragglers = Stragglers()
    short = times(0.25, 0.25, waiting=[0.125, 0.0])
    found = [stragglers.add(short) for _ in range(8)]
    assert found == [None] * 7 + ["worker-1"]


def run(folder, *arguments):
    """What each of two workers found, and their exit codes."""
    ended = workers.run(
        workers.environments(2),
        "tests.distributed.agreeing_fit",
        folder,
        *arguments,
    )
    written = [folder / f"{index}.json" for index in range(2)]
    assert all(path.exists() for path in written), ended
    found = [json.loads(path.read_text()) for path in written]
    return *found, [code for code, *_ in ended]


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    return run(tmp_path_factory.mktemp("two"))


@pytest.fixture(scope="module")
def two_long(tmp_path_factory):
    return run(tmp_path_factory.mktemp("two"), "long")


def test_blocks_are_equally_long_though_one_worker_is_slow(two):
    first, second, _ = two
    assert first["straggling"]["lengths"] == second["straggling"]["lengths"]
    ((lengths, predicted, _),) = first["lengths"]
    ((of_second, *_),) = second["lengths"]
    assert lengths == of_second
    assert sum(lengths) == 80 and max(lengths) > 1 and predicted == 400


def test_telemetry_of_workers_and_checkpoints_change_nothing(two):
    first, second, _ = two
    for found in first, second:
        assert found["straggling"]["weights"] == first["plain"]


def test_the_slow_worker_is_seen_and_named(two):
    first, second, _ = two
    seen = first["straggling"]["telemetry"]
    ((_, _, of_pipeline),) = first["lengths"]
    for found in seen, of_pipeline:
        waits = [found[f"workers/waiting/{name}"] for name in NAMES[:2]]
        assert waits[0] > 0.2 and waits[1] < 0.15
    speeds = [seen[f"workers/examples_per_second/{n}"] for n in NAMES[:2]]
    assert speeds[0] > 1.5 * speeds[1]
    (said,) = first["straggling"]["log"]
    assert said.startswith("The worker worker-1 is slower than the others")
    assert second["straggling"]["log"] == []


def test_the_first_worker_diagnoses(two):
    """Alone, and its verdict is written; weights and steps stay the same."""
    first, second, _ = two
    *_, last = first["straggling"]["diagnosed"]
    assert last == 80 and second["straggling"]["diagnosed"] is None
    assert "diagnosis/live" in first["straggling"]["texts"]


def test_tensorboard_shows_the_workers(two):
    first, second, _ = two
    shown = {
        f"step/workers/{what}/{name}"
        for what in ("examples_per_second", "waiting")
        for name in NAMES[:2]
    }
    assert shown <= set(first["straggling"]["tags"])


def test_callbacks_that_differ_are_refused(two):
    first, second, _ = two
    assert "Counted, History on worker-0, and others on w" in first["refused"]
    assert "History on worker-1, and others on worker-0" in second["refused"]


def test_one_clock_says_when_all_save_within_an_epoch(two):
    first, second, _ = two
    saved = first["straggling"]["saved"]
    assert saved == second["straggling"]["saved"]
    steps = [int(name.split("-")[1]) for name in saved]
    assert any(step % 40 for step in steps), steps


def check_stopped(first, second):
    assert first == second
    # With the block that follows the one after which it was asked for
    *before, last = np.cumsum(first["lengths"])
    assert before[-2] <= 15 < before[-1] < last < 80
    assert first["knows"]
    assert first["epochs"] == [0]


def test_a_callback_of_one_worker_stops_all_at_the_same_step(two):
    first, second, _ = two
    check_stopped(first["stopped"], second["stopped"])


def check_signalled(found, plain, ended):
    first, second = found
    assert first == second
    assert first["ended"] == ended
    # In the block that follows, or at its end
    assert 15 < first["steps"] < 80
    assert first["steps"] == sum(first["lengths"])
    assert first["weights"] == plain


def test_a_signal_to_one_worker_saves_and_stops_all(two):
    first, second, _ = two
    found = first["SIGTERM"], second["SIGTERM"]
    check_signalled(found, first["plain"], "SystemExit(143)")


def test_all_end_with_the_exit_code_of_the_signal_that_one_received(two):
    assert two[-1] == [143, 143]


@pytest.mark.long
def test_signals_of_each_kind_to_each_worker(two_long):
    first, second, codes = two_long
    for name, ended in {
        "SIGTERM": "SystemExit(143)",
        "SIGINT": "KeyboardInterrupt()",
        "hooks": "SystemExit(143)",
    }.items():
        check_signalled((first[name], second[name]), first["plain"], ended)
    assert codes == [143, 143]


@pytest.mark.long
def test_a_callback_of_the_first_worker_or_with_hooks_stops_all(two_long):
    first, second, _ = two_long
    check_stopped(first["stopped"], second["stopped"])
    for one in first, second:
        # After batches 10 and 3, one more; the run is known to be stopped.
        expected = {"batches": [12, 0, 5], "is_same": True}
        assert one["stopped by hooks"] == expected


@pytest.mark.long
def test_probes_are_at_the_same_steps_though_one_worker_is_slow(two_long):
    first, second, _ = two_long
    assert first["probed"] == second["probed"]
    assert first["probed"][:2] == [1, 2] and len(first["probed"]) < 41


@pytest.mark.long
def test_blocks_of_all_kinds_of_data_are_equally_long(two_long):
    first, second, _ = two_long
    for name in "lengths", "fixed":
        for one, other in zip(first[name], second[name], strict=True):
            lengths, predicted, _ = one
            assert lengths == other[0]
            assert sum(lengths) == 80 and predicted == 400
    assert all(max(lengths) == 7 for lengths, *_ in first["fixed"])
