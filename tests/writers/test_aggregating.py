"""Rows of windows are what a loop over all steps finds."""

import math

import numpy as np
import pytest

from gdtrain.writers.aggregating import AggregatingWriter
from gdtrain.writers.memory import MemoryWriter


def plain(rows, length):
    """What windows come to, by loops.

    Args:
        rows: A list of `(step, {name: value})`.

    Returns:
        A list of `(step, {name: (mean, minimum, maximum)})`.
    """
    windows, end, last = [], None, None
    for step, values in rows:
        if math.ceil(step / length) * length != end or step < last:
            if windows and step > last:
                windows[-1][0] = end
            end = math.ceil(step / length) * length
            windows.append([step, {}])
        windows[-1][0] = last = step
        for name, value in values.items():
            windows[-1][1].setdefault(name, []).append(float(value))
    return [
        (
            step,
            {
                name: (np.mean(x), np.min(x), np.max(x))
                for name, x in found.items()
            },
        )
        for step, found in windows
    ]


def check(memory, wanted):
    """Compares the memory with what `plain` found."""
    assert memory.steps.tolist() == [step for step, _ in wanted]
    names = {name for _, found in wanted for name in found}
    known = {name.partition("/")[0] for name in memory.names}
    assert names <= known
    for name in known:
        for place, suffix in enumerate(["", "/min", "/max"]):
            steps, values = memory.table.points(name + suffix)
            rows = [(s, f[name][place]) for s, f in wanted if name in f]
            assert steps.tolist() == [step for step, _ in rows]
            np.testing.assert_array_equal(
                values, np.float32([value for _, value in rows])
            )


@pytest.mark.parametrize("length", [1, 2, 7, 100, 5000])
@pytest.mark.parametrize("seed", range(6))
def test_windows_are_those_of_a_plain_loop(length, seed):
    random = np.random.default_rng(seed)
    memory, rows = MemoryWriter(), []
    writer = AggregatingWriter(memory, length)
    step = 0
    for _ in range(40):
        count = random.integers(0, 30)
        step = max(0, step - random.choice([0, 0, 0, 0, 10]))
        steps = step + np.cumsum(random.choice([1, 1, 1, 4], count))
        step = int(steps[-1]) if count else step
        names = random.permutation(["a", "b", "c", "d"])[: 1 + seed % 4]
        # Few bits, so that sums are exact in any order
        values = random.integers(-99, 99, [count, len(names)]) / 8
        values = values.astype("float32")
        values[random.random(values.shape) < 0.02] = np.nan
        measured = random.random(values.shape) < 0.7 if seed % 2 else None
        writer.write(steps, names, values, measured)
        known = np.ones(values.shape, bool) if measured is None else measured
        for row in range(count):
            found = zip(names, values[row], known[row], strict=True)
            rows.append((steps[row], {n: x for n, x, k in found if k}))
    writer.close()
    check(memory, plain(rows, length))


def test_complete_window_does_not_wait_for_the_next():
    memory = MemoryWriter()
    writer = AggregatingWriter(memory, 3)
    writer.write([1, 2], ["a"], [[1], [2]])
    assert memory.steps.tolist() == []
    writer.write([3, 4], ["a"], [[6], [9]])
    assert memory.steps.tolist() == [3] and memory["a"].tolist() == [3]
    writer.close()
    assert memory.steps.tolist() == [3, 4]
    writer.close()
    assert memory.steps.tolist() == [3, 4]


def test_window_of_steps_with_gaps_has_its_multiple_as_step():
    memory = MemoryWriter()
    writer = AggregatingWriter(memory, 10)
    writer.write([4, 8], ["a"], [[1], [2]])
    writer.write([12], ["a"], [[3]])
    assert memory.steps.tolist() == [10]


def test_new_run_closes_the_window():
    memory = MemoryWriter()
    writer = AggregatingWriter(memory, 10)
    writer.write([1, 2, 3, 1], ["a"], [[1], [2], [3], [4]])
    writer.write([1], ["a"], [[6]])
    writer.close()
    assert memory.steps.tolist() == [3, 1]
    assert memory["a"].tolist() == [2, 5]


def test_nan_of_one_step_is_seen_and_what_is_not_measured_is_not():
    memory = MemoryWriter()
    writer = AggregatingWriter(memory, 4)
    values = np.array([[1, 7], [np.nan, 8], [3, 9], [4, 9]], "float32")
    known = np.array([[1, 0], [1, 0], [1, 0], [1, 0]], bool)
    writer.write([1, 2, 3, 4], ["a", "b"], values, known)
    for suffix in ("", "/min", "/max"):
        assert np.isnan(memory.table.points("a" + suffix)[1]).tolist() == [True]
        assert len(memory.table.points("b" + suffix)[0]) == 0


def test_mean_is_taken_in_float64():
    memory = MemoryWriter()
    values = np.ones([1000, 1], "float32")
    values[0] = 2**24  # In float32, 2**24 + 1 is 2**24
    AggregatingWriter(memory, 1000).write(np.arange(1, 1001), ["a"], values)
    assert memory["a"].tolist() == [np.float32((2**24 + 999) / 1000)]


def test_opposite_infinities_give_nan_without_a_warning(recwarn):
    memory = MemoryWriter()
    AggregatingWriter(memory, 2).write([1, 2], ["a"], [[np.inf], [-np.inf]])
    assert np.isnan(memory["a"][0]) and memory["a/min"].tolist() == [-np.inf]
    assert not recwarn.list


def test_flush_and_close_reach_the_writer():
    calls = []

    class Hearing(MemoryWriter):
        def flush(self):
            calls.append("flush")

        def close(self):
            calls.append("close")

    writer = AggregatingWriter(Hearing(), 2)
    writer.flush()
    writer.close()
    assert calls == ["flush", "close"]


@pytest.mark.parametrize("wrong", [0, 1.5])
def test_length_of_windows_must_be_a_positive_integer(wrong):
    with pytest.raises((TypeError, ValueError), match="every_steps"):
        AggregatingWriter(MemoryWriter(), wrong)
