"""What is kept in memory is what was written."""

import tracemalloc

import numpy as np
import pytest

from gdtrain.writers.memory import MemoryWriter


def test_memory_of_no_steps_is_empty(tmp_path):
    writer = MemoryWriter()
    assert writer.steps.shape == (0,) and writer.names == []
    writer.save(tmp_path / "empty.npz")
    assert np.load(tmp_path / "empty.npz")["values"].size == 0
    with pytest.raises(KeyError, match="Known names: \\[\\]"):
        writer["loss"]


def test_saved_memory_reads_back_the_same(tmp_path):
    writer = MemoryWriter()
    writer.write([1, 2], ["loss"], [[0.5], [0.25]])
    writer.write([3], ["kl"], [[4.0]])
    writer.save(tmp_path / "run.npz")
    saved = np.load(tmp_path / "run.npz")
    assert saved["steps"].tolist() == [1, 2, 3]
    assert saved["names"].tolist() == ["loss", "kl"]
    np.testing.assert_array_equal(
        saved["values"], [[0.5, np.nan], [0.25, np.nan], [np.nan, 4.0]]
    )
    assert [file.name for file in tmp_path.iterdir()] == ["run.npz"]


def test_measured_nan_differs_from_what_was_not_measured():
    writer = MemoryWriter()
    values = np.array([[1, np.nan], [np.nan, 5]], "float32")
    writer.write([1, 2], ["a", "b"], values, [[True, True], [True, False]])
    writer.write([3], ["a", "b"], [[3, 4]])
    writer.write([4], ["a"], [[6]])
    np.testing.assert_array_equal(writer["a"], [1, np.nan, 3, 6])
    np.testing.assert_array_equal(writer["b"], [np.nan, np.nan, 4, np.nan])
    steps, values = writer.table.points("b")
    assert steps.tolist() == [1, 3] and steps.dtype == np.int64
    np.testing.assert_array_equal(values, np.float32([np.nan, 4]))
    assert writer.table.points("a")[0].tolist() == [1, 2, 3, 4]
    with pytest.raises(KeyError, match="Known names"):
        writer.table.points("c")


def test_memory_leaves_the_arrays_it_was_given_alone():
    values, writer = np.ones([1, 1], "float32"), MemoryWriter()
    writer.write([1], ["a"], values, [[False]])
    assert values.tolist() == [[1.0]] and np.isnan(writer["a"][0])


def test_memory_takes_the_numbers_and_little_more():
    values, writer = np.ones([1000, 100], "float32"), MemoryWriter()
    tracemalloc.start()
    for block in range(20):
        steps = np.arange(1000) + 1000 * block
        writer.write(steps, [f"a{i}" for i in range(100)], values + block)
    assert len(writer["a5"]) == 20000  # Joins the blocks
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 1.1 * 20 * values.nbytes
