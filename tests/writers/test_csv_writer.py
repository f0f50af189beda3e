"""Python's own reader finds in the CSV file what was written."""

import csv
import math
import os
import shutil

import numpy as np
import pytest

from gdtrain.writers.csv_writer import CSVWriter


def read(path):
    """`(names, {step: {name: float32}})`, by plain Python."""
    with open(path, newline="", encoding="utf-8") as file:
        header, *lines = csv.reader(file)
    assert header[0] == "step"
    assert all(len(line) == len(header) for line in lines)
    return header[1:], {
        int(line[0]): {
            name: np.float32(cell)
            for name, cell in zip(header[1:], line[1:], strict=True)
            if cell
        }
        for line in lines
    }


def test_every_float32_reads_back_bit_for_bit(tmp_path):
    random = np.random.default_rng(0)
    bits = random.integers(0, 2**32, [3000, 7], dtype=np.uint32)
    bits[0, :4] = [0, 1, 0x80000000, 0x7F7FFFFF]  # 0, least, -0, greatest
    values = bits.view(np.float32)
    measured = random.random(values.shape) < 0.8
    measured[0] = True
    names = list("abcdefg")
    steps = np.arange(3000) + 2**40
    writer = CSVWriter(tmp_path / "run.csv")
    writer.write(steps[:1500], names, values[:1500], measured[:1500])
    writer.write(steps[1500:], names, values[1500:], measured[1500:])
    writer.close()
    found, rows = read(tmp_path / "run.csv")
    assert found == names and list(rows) == steps.tolist()
    for step, row, known in zip(steps, values, measured, strict=True):
        wanted = {n: x for n, x, k in zip(names, row, known, strict=True) if k}
        assert rows[step].keys() == wanted.keys()
        for name, value in wanted.items():
            same = rows[step][name].tobytes() == value.tobytes()
            assert same or math.isnan(rows[step][name]) and math.isnan(value)


def test_numbers_are_as_short_as_they_can_be(tmp_path):
    writer = CSVWriter(tmp_path / "run.csv")
    values = [[0.1, np.nan, -np.inf, 1e-30]]
    writer.write([1], ["a", "b", "c", "d"], values)
    writer.close()
    text = (tmp_path / "run.csv").read_text()
    assert text == "step,a,b,c,d\n1,0.1,nan,-inf,1e-30\n"


def test_new_names_become_columns_at_the_end(tmp_path):
    writer = CSVWriter(tmp_path / "run.csv")
    writer.write([1, 2], ["b", "with, comma\nand line"], [[1, 2], [3, 4]])
    writer.flush()
    writer.write([3], ["x", "b", "y"], [[5, 6, 7]])
    writer.write([4], ["y"], [[8]])
    writer.close()
    names, rows = read(tmp_path / "run.csv")
    assert names == ["b", "with, comma\nand line", "x", "y"]
    assert rows == {
        1: {"b": 1, "with, comma\nand line": 2},
        2: {"b": 3, "with, comma\nand line": 4},
        3: {"x": 5, "b": 6, "y": 7},
        4: {"y": 8},
    }
    assert os.listdir(tmp_path) == ["run.csv"]


def test_large_file_gets_a_new_column_in_every_line(tmp_path):
    writer = CSVWriter(tmp_path / "run.csv")
    steps = np.arange(200_000)
    writer.write(steps, ["a"], steps[:, None])
    assert os.path.getsize(tmp_path / "run.csv") > 2**20
    writer.write([-1], ["b"], [[1]])
    writer.close()
    names, rows = read(tmp_path / "run.csv")
    assert names == ["a", "b"] and rows.pop(-1) == {"b": 1}
    assert rows == {step: {"a": step} for step in range(200_000)}


def test_new_writer_replaces_the_file_and_a_closed_one_continues(tmp_path):
    path = tmp_path / "new folder" / "run.csv"
    for _ in range(2):
        writer = CSVWriter(path)
        for step in (1, 2):
            writer.write([step], ["a"], [[step]])
            writer.close()
        writer.close()
        assert path.read_text() == "step,a\n1,1.0\n2,2.0\n"


def test_file_in_its_place_stays_until_something_is_written(tmp_path):
    path = tmp_path / "run.csv"
    path.write_text("old")
    writer = CSVWriter(path)
    writer.close()
    assert path.read_text() == "old"


def test_one_that_wrote_nothing_goes_on_without_a_file(tmp_path):
    path = tmp_path / "run.csv"
    writer = CSVWriter(path)
    writer.set_state(writer.get_state())
    writer.close()
    assert not path.exists()
    writer.write([1], ["loss"], [[0.5]])
    writer.close()
    assert path.read_text() == "step,loss\n1,0.5\n"


@pytest.mark.parametrize("more", [True, False])
def test_deleted_file_is_noticed_at_the_next_flush(tmp_path, more):
    writer = CSVWriter(tmp_path / "runs" / "run.csv")
    writer.write([1], ["a"], [[1]])
    writer.flush()
    shutil.rmtree(tmp_path / "runs")
    if more:
        writer.write([2], ["a"], [[2]])
    with pytest.raises(FileNotFoundError, match="must stay in place.*run.csv"):
        writer.flush()


def test_file_that_others_changed_is_left_alone(tmp_path):
    path = tmp_path / "run.csv"
    writer = CSVWriter(path)
    writer.write([1], ["a"], [[1]])
    writer.flush()
    path.write_text("another's")
    writer.write([2], ["a"], [[2]])
    with pytest.raises(OSError, match="changed by others"):
        writer.flush()
    assert path.read_text() == "another's"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_full_disk_is_an_error_at_flush():
    writer = CSVWriter("/dev/full")
    writer.write([1], ["a"], [[1]])
    for _ in range(2):  # Lines are kept, and tried again
        with pytest.raises(OSError, match="No space left.*/dev/full"):
            writer.flush()


def test_half_a_line_is_taken_back_and_written_later(tmp_path, monkeypatch):
    path = tmp_path / "run.csv"
    writer = CSVWriter(path)
    writer.write([1], ["a"], [[1]])
    writer.flush()
    writer.write([2], ["a"], [[2]])
    with monkeypatch.context() as patch:
        patch.setattr(
            "gdtrain.writers.csv_writer.open", open_full_disk, raising=False
        )
        with pytest.raises(OSError, match="No space left"):
            writer.flush()
    assert path.read_text() == "step,a\n1,1.0\n"
    writer.close()
    assert path.read_text() == "step,a\n1,1.0\n2,2.0\n"


def test_failed_widening_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "run.csv"
    writer = CSVWriter(path)
    writer.write([1], ["a"], [[1]])
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refuse)
        with pytest.raises(PermissionError, match="must stay in place"):
            writer.write([2], ["b"], [[2]])
    assert path.read_text() == "step,a\n1,1.0\n"
    assert os.listdir(tmp_path) == ["run.csv"]
    writer.write([2], ["b"], [[2]])
    writer.close()
    assert path.read_text() == "step,a,b\n1,1.0,\n2,,2.0\n"


def open_full_disk(path, mode):
    """A file on a disk that has room for three more bytes."""
    file = open(path, mode, buffering=0)

    class Full:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            file.close()

        def write(self, lines):
            file.write(lines[:3])
            raise OSError(28, "No space left on device")

    return Full()


def refuse(*_):
    raise PermissionError(13, "Permission denied")
