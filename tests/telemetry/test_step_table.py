"""A table of steps says what was measured, however it was made."""

import numpy as np
import pytest

from gdtrain.telemetry.row_layout import Column, RowLayout
from gdtrain.telemetry.step_table import BlockTable, StepTable, stacked

STEPS, NAMES = [3, 4, 5], ["loss", "norm"]
ARRAY = np.array([[1, np.nan], [2, 8], [np.nan, 9]], "float32")
MASK = np.array([[1, 0], [1, 1], [1, 0]], bool)


def block(rows=6, **arguments):
    """Steps 5 to 10 of `loss`, `norm` at each third, `bins`, and a `kl`."""
    columns = [
        Column("loss", "loss", 0),
        Column("norm", "norm", 1),
        Column("bins", "bins", 2, 3),
    ]
    layout = RowLayout.of(["kl"], [columns])
    numbers = np.arange(rows * layout.width).reshape([rows, layout.width])
    return BlockTable(
        5, layout, numbers.astype("float32"), {"norm": 3}, **arguments
    )


def test_nan_that_was_measured_differs_from_a_gap():
    table = StepTable(STEPS, NAMES, ARRAY, MASK)
    np.testing.assert_array_equal(table["loss"], [1, 2, np.nan])
    np.testing.assert_array_equal(table["norm"], [np.nan, 8, np.nan])
    assert table.measured("loss").tolist() == [True, True, True]
    assert table.measured("norm").tolist() == [False, True, False]
    steps, values = table.points("norm")
    assert steps.tolist() == [4] and values.tolist() == [8]


@pytest.mark.parametrize(
    "rows", [slice(1, None), np.array([1, 2]), np.array([False, True, True])]
)
def test_some_of_the_steps_are_a_table(rows):
    table = StepTable(STEPS, NAMES, ARRAY, MASK)[rows]
    assert (table.first_step, table.last_step, len(table)) == (4, 5, 2)
    assert table.measured("norm").tolist() == [True, False]
    assert StepTable(STEPS, NAMES, ARRAY, MASK)[1:2].mask is None


def test_unknown_name_is_refused():
    table = StepTable(STEPS, NAMES, ARRAY)
    assert "loss" in table and "kl" not in table
    for read in (table.__getitem__, table.measured, table.points):
        with pytest.raises(KeyError, match="Known names: .'loss', 'norm'."):
            read("kl")


def test_saved_table_reads_back_the_same(tmp_path):
    path = tmp_path / "run.npz"
    StepTable(STEPS, NAMES, ARRAY, MASK).save(path)
    table = StepTable.load(path)
    assert table.names == tuple(NAMES) and table.steps.tolist() == STEPS
    np.testing.assert_array_equal(table["loss"], ARRAY[:, 0])
    np.testing.assert_array_equal(table.mask, MASK)


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04"])
def test_file_of_another_kind_is_refused(tmp_path, content):
    path = tmp_path / "run.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="run.npz"):
        StepTable.load(path)
    with pytest.raises(FileNotFoundError):
        StepTable.load(tmp_path / "none.npz")


def test_stacked_tables_have_gaps_where_a_name_is_missing():
    table = stacked(
        [StepTable([1], ["a"], [[1]]), StepTable([2], ["b", "a"], [[3, 2]])]
    )
    assert table["a"].tolist() == [1, 2]
    assert table.measured("b").tolist() == [False, True]
    assert len(stacked([])) == 0


def test_block_has_each_quantity_at_its_own_steps():
    table = block(at_end={"speed": ("speed", 7.0), "sharpness": (None, 8.0)})
    assert (table.first_step, table.last_step, len(table)) == (5, 10, 6)
    assert table.names == ("loss", "norm", "kl", "speed", "sharpness")
    assert table.measured("loss").all()
    assert table.points("norm")[0].tolist() == [6, 9]
    steps, values = table.points("speed")
    assert steps.tolist() == [10] and values.tolist() == [7]


@pytest.mark.parametrize("every", [1, 2, 3, 4, 7])
def test_selection_is_what_is_both_measured_and_wanted(every):
    table = block(at_end={"speed": ("speed", 7.0)})
    chosen = table.select({"loss": 2, "norm": every, "speed": 100})
    assert chosen.names == ("loss", "norm", "speed")
    wanted = {
        "loss": [6, 8, 10],
        "norm": [s for s in (6, 9) if s % every == 0],
        "speed": [10],
    }
    for name, steps in wanted.items():
        found, values = chosen.points(name)
        assert found.tolist() == steps
        expected = table[np.isin(table.steps, steps)][name]
        np.testing.assert_array_equal(values, expected)
    assert set(chosen.steps) == {s for some in wanted.values() for s in some}


def test_histograms_are_no_columns():
    table = block()
    assert "bins" not in table
    found = table.histograms({"bins": 4})
    assert [(step, name) for step, name, _ in found] == [(8, "bins")]
    assert len(found[0][2]) == 3
    assert table.histograms({"loss": 1}) == []
