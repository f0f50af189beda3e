"""Few steps are all kept, many are thinned evenly."""

import numpy as np
import pytest

from gdtrain.writers.memory import SampledMemory


def written(count, block, **limits):
    """Steps 1 to `count`, in blocks; each number is its step."""
    memory = SampledMemory(**limits)
    for first in range(1, count + 1, block):
        steps = np.arange(first, min(first + block, count + 1))
        memory.write(steps, ["loss", "norm"], np.stack([steps, -steps], 1))
    return memory


def test_few_steps_are_all_kept():
    memory = written(100, 7, most_steps=100)
    assert memory.steps.tolist() == [*range(1, 101)]


@pytest.mark.parametrize("block", [1, 7, 100, 1000])
@pytest.mark.parametrize("limits", [{"most_steps": 50}, {"most_numbers": 100}])
def test_many_steps_are_thinned_evenly_whatever_the_blocks(block, limits):
    memory = written(1000, block, **limits)
    assert memory.steps.tolist() == [*range(1, 1001, 27)]  # 38 of them
    np.testing.assert_array_equal(memory["loss"], memory.steps)
    np.testing.assert_array_equal(memory["norm"], -memory.steps)


def test_what_was_not_measured_stays_so():
    memory = SampledMemory(most_steps=3)
    for step in range(1, 10):
        memory.write([step], ["loss", "x"], [[0, 1]], [[True, step == 4]])
    steps, _ = memory.measured("x")
    assert memory.steps.tolist() == [1, 4, 7] and steps.tolist() == [4]


def test_names_may_change():
    memory = SampledMemory(most_steps=2)
    memory.write([1, 2], ["a"], [[1], [2]])
    memory.write([3, 4], ["b"], [[3], [4]])
    assert memory.steps.tolist() == [1, 4]
    np.testing.assert_array_equal(memory["b"], [np.nan, 4])
