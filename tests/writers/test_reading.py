"""Objects, files and folders are read alike, or the error says why not."""

import numpy as np
import pytest

from gdtrain.writers.memory import MemoryWriter
from gdtrain.writers.reading import open_source
from gdtrain.writers.tensorboard import TensorBoardWriter
from tests.trainings import training


def test_file_holds_what_the_object_held(tmp_path):
    writer = training(range(1, 50))
    writer.save(tmp_path / "run.npz")
    for path in (tmp_path / "run.npz", str(tmp_path / "run.npz")):
        opened = open_source(path)
        np.testing.assert_array_equal(opened.steps, writer.steps)
        assert list(opened.table.names) == list(writer.names)
        for name in writer.names:
            np.testing.assert_array_equal(opened[name], writer[name])


def test_log_folder_holds_what_was_written(tmp_path):
    writer = training(range(10, 60, 10))
    tags = [f"step/{name}" for name in writer.names]
    values = np.stack([writer[name] for name in writer.names], 1)
    events = TensorBoardWriter(str(tmp_path / "train"))
    events.write(writer.steps, tags, values)
    events.close()
    opened = open_source(tmp_path)
    np.testing.assert_array_equal(opened.steps, writer.steps)
    for name in writer.names:
        np.testing.assert_array_equal(opened[name], writer[name])
    with pytest.raises(KeyError, match="the folder .*'loss'"):
        opened["kl"]


def test_folder_without_events_is_told_of(tmp_path):
    with pytest.raises(FileNotFoundError, match="event files"):
        open_source(tmp_path)


def test_object_that_grows_after_it_was_read_leaves_what_was_read():
    writer = training([1, 2])
    opened = open_source(writer)
    writer.write([3], writer.names, np.ones([1, len(writer.names)]))
    assert opened.steps.tolist() == [1, 2]
    assert {len(opened[name]) for name in writer.names} == {2}
    assert open_source(writer).steps.tolist() == [1, 2, 3]


def test_table_is_read_as_it_is():
    opened = open_source(training([1, 2]).table)
    assert opened.steps.tolist() == [1, 2]


def test_what_was_measured_is_known_of_objects_files_and_folders(tmp_path):
    writer = MemoryWriter()
    mask = np.array([[True, True], [True, False], [True, True]])
    values = np.array([[5, 1], [np.nan, 0], [3, np.nan]])
    writer.write([1, 2, 3], ["loss", "gradient_norm/a"], values, mask)
    writer.save(tmp_path / "run.npz")
    events = TensorBoardWriter(str(tmp_path / "logs"))
    tags = ["step/loss", "step/gradient_norm/a"]
    events.write([1, 2, 3], tags, values, mask)
    events.close()
    for source in (writer, tmp_path / "run.npz", tmp_path / "logs"):
        opened = open_source(source)
        assert opened.table.measured("loss").all()
        steps, names, norms = opened.layers("gradient_norm")
        assert (steps.tolist(), names) == ([1, 3], ["a"])
        np.testing.assert_array_equal(norms, [[1, np.nan]])


def test_parts_are_in_order_and_without_the_whole():
    parts = open_source(training([1, 2])).parts("gradient_norm")
    assert list(parts) == ["stem", "block_1/query", "block_2/query", "head"]


@pytest.mark.parametrize("name", ["missing", "missing.npz"])
def test_missing_folder_or_file_is_told_of(tmp_path, name):
    with pytest.raises(FileNotFoundError, match=f"{name}', looked for from"):
        open_source(tmp_path / name)


def test_missing_name_is_told_of_with_those_that_are_there():
    opened = open_source(training([1]))
    with pytest.raises(KeyError, match="'kl'.*a MemoryWriter, with .*'loss'"):
        opened["kl"]
    with pytest.raises(KeyError, match="'weight_norm/...'.*standard"):
        opened.parts("weight_norm")


def test_file_of_something_else_is_refused(tmp_path):
    np.savez(tmp_path / "other.npz", steps=[1], x=[2])
    with pytest.raises(ValueError, match="other.npz' ..names is not a file"):
        open_source(tmp_path / "other.npz")


def test_file_that_is_no_npz_is_refused(tmp_path):
    (tmp_path / "table.csv").write_text("step,loss\n1,0.5\n")
    (tmp_path / "empty.npz").touch()
    np.save(tmp_path / "array.npy", np.ones(3))
    training([1, 2]).save(tmp_path / "whole.npz")
    whole = (tmp_path / "whole.npz").read_bytes()
    (tmp_path / "half.npz").write_bytes(whole[: len(whole) // 2])
    for name in ("table.csv", "empty.npz", "array.npy", "half.npz"):
        with pytest.raises(ValueError, match=f"{name}'"):
            open_source(tmp_path / name)


def test_object_of_something_else_is_refused():
    with pytest.raises(TypeError, match="source=3 of type int"):
        open_source(3)


def test_training_without_steps_is_refused():
    with pytest.raises(ValueError, match="a MemoryWriter, which has none"):
        open_source(training([]))
