"""Tables as spreadsheets and people write them are read, or refused."""

import pathlib

import numpy as np
import pytest
import table
from sklearn.datasets import load_diabetes


def read(path):
    """`(x, y, note)` of the columns height and weight."""
    return table.read_file(str(path), {"--x": "height", "--y": "weight"})


def tables(separator, *rows):
    """A file of rows of two cells."""
    lines = [separator.join(row) for row in (("height", "weight"), *rows)]
    return "\n".join(lines).encode()


GERMAN = tables(";", ("1,5", "1.234,50 €"), ("20,25", "2.000,25 €"))
AMERICAN = b'height,weight\n1.5,"$1,234.50"\n20.25,"$2,000.25"\n'
READ = {
    "semicolons": tables(";", ("1.5", "1234.50"), ("20.25", "2000.25")),
    "tabs": tables("\t", ("1.5", "1234.50"), ("20.25", "2000.25")),
    "bars": tables("|", ("1.5", "1234.50"), ("20.25", "2000.25")),
    "decimal commas": GERMAN,
    "decimal commas, tabs": GERMAN.replace(b";", b"\t"),
    "thousands points": tables(";", ("1,5", "1.234,5"), ("20,25", "2.000,25")),
    "dollars": AMERICAN,
    "quotes": b'"height","weight"\n"1.5","1234.5"\n"20.25","2000.25"\n',
    "mark": b"\xef\xbb\xbf" + GERMAN,
    "UTF-16": GERMAN.decode().encode("utf-16"),
    "line that names the separator": b"sep=;\r\n" + GERMAN,
    "empty rows": GERMAN + b"\n;\n\n;;\n",
    "commas at the end": b"height,weight,\n1.5,1234.5,\n20.25,2000.25,\n",
    "spaces": tables(";", ("1,5", "1 234,50"), ("20,25", "2 000,25")),
    "Swiss": tables(";", ("1.5", "1'234.50"), ("20.25", "2'000.25")),
    "percent": tables(";", ("1,5 %", "1234,50"), ("20,25%", "2000,25")),
    "Windows": GERMAN.replace(b"\n", b"\r\n"),
}


@pytest.mark.parametrize("kind", READ)
def test_what_spreadsheets_write_is_read(kind, tmp_path):
    path = tmp_path / "table.csv"
    path.write_bytes(READ[kind])
    data = read(path)
    np.testing.assert_array_equal(data[0], [1.5, 20.25])
    np.testing.assert_array_equal(data[1], [1234.5, 2000.25])


def test_how_numbers_were_read_is_told(tmp_path):
    path = tmp_path / "table.csv"
    path.write_bytes(GERMAN)
    told = read(path)[2]
    assert told.endswith("as people write them: '1,5' is 1.5.")
    path.write_bytes(b"height,weight\n1,2\n3,4\n")
    told = read(path)[2]
    assert "as people write them" not in told


@pytest.mark.parametrize(
    "weights, separator, expected",
    [
        (["1,234", "5,678"], ";", [1.234, 5.678]),
        (["1,234", "5,678,000"], ";", [1234, 5678000]),
        (["1.234", "5.678.000"], ";", [1234, 5678000]),
        (["1.234", "0.5"], ";", [1.234, 0.5]),
        (['"1,234"', '"5,678"'], ",", [1234, 5678]),
        (['"1,2"', '"5,678"'], ",", [1.2, 5.678]),
        (["1.234", "5.678"], ",", [1.234, 5.678]),
        (["1e3", "-2.5E-1"], ",", [1000, -0.25]),
    ],
)
def test_a_mark_is_read_by_what_the_other_cells_show(
    tmp_path, weights, separator, expected
):
    path = tmp_path / "table.csv"
    path.write_bytes(tables(separator, *zip("12", weights)))
    data = read(path)
    np.testing.assert_array_equal(data[1], expected)


@pytest.mark.parametrize(
    "content, said",
    [
        (tables(";", ("1", "1.234"), ("2", "5.678")), "two numbers"),
        (tables("\t", ("1", "1,234"), ("2", "5,678")), "two numbers"),
        (tables(";", ("1,5", "2.5"), ("2", "3")), "two numbers"),
        (tables(";", ("1", "n/a"), ("2", "3"), ("4", "")), "1 of the 2"),
        (
            tables(",", ("2020-01-31", "1"), ("2020-02-29", "2")),
            "nor has any other row. If these are dates",
        ),
        (tables(",", ("big", "1"), ("small", "2")), "nor has any other"),
        (b"1;2\n3;4\n", "no names of columns"),
        (b"PK\x03\x04...", "a spreadsheet or an archive"),
        (b"height\n1\n2\n", "no column 'weight'. Its columns: height"),
        (b"size;age\n1;2\n", "separated by semicolons): size, age"),
        (b"height;weight\n1;2;3\n4;5;6\n", "has 3 cells"),
        ("height,weight\n1,2".encode("utf-16-le"), "not text in UTF-8"),
    ],
)
def test_what_cannot_be_read_is_told(tmp_path, content, said):
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError) as caught:
        read(path)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "content, said",
    [
        (b"", "is empty. Its first line must name the columns"),
        (b"\n\n", "is empty"),
        (b"height,weight\n", "has 0 rows of data"),
        (b"height,weight\n1,2\n", "has 1 row of data"),
        (b"height,size\n1,2\n3,4\n", "no column 'weight'. Its columns"),
        (b"weight,weight,height\n1,2,3\n4,5,6\n", "more than one column"),
        (b"height,weight\n1,2\n3\n", "line 3, has 1 cells"),
        (b"height,weight\n1,2\n3,4,5\n", "line 3, has 3 cells"),
        (b"height,weight\n1,2\ntall,4\n", "'height' has 'tall'"),
        (b"height,weight\n1,2\n3,\n", "'weight' has ''"),
        (b"height,weight\nnan,2\n3,4\n", "line 2: column 'height'"),
        (b"height,weight\n1,NaN\n3,4\n", "'weight' has 'NaN'"),
        (b"height,weight\n1,inf\n3,4\n", "'weight' has 'inf'"),
        (b"height,weight\n3,1\n3,2\n", "'height' is 3 in every row"),
        (b"height,weight\n1e308,1\n-1e308,2\n", "too large"),
        (b"height,weight\n1,1\n2,1e200\n", "too large"),
        (b"height,weight\n1,0\n2,1e-200\n", "too close together"),
        (b"height,weight\n\xff,1\n2,2\n", "is not text in UTF-8"),
        (b'height,weight\n"1,2\n', "is not CSV"),
    ],
)
def test_unusable_file_is_named(tmp_path, content, said):
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert said in str(caught.value)


@pytest.mark.parametrize("name", ["missing.csv", "a" * 300, "."])
def test_file_that_cannot_be_read_is_named(tmp_path, name):
    with pytest.raises(ValueError) as caught:
        read(tmp_path / name)
    assert f"cannot read {tmp_path / name}: " in str(caught.value)
    assert "Give --data the path of a CSV file" in str(caught.value)


def test_file_without_permission_is_named(tmp_path, monkeypatch):
    # The system's own refusal: whoever runs the tests may read all files.
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(pathlib.Path, "read_bytes", refuse)
    with pytest.raises(ValueError, match="cannot read table.csv: Permission"):
        read("table.csv")


def test_file_needs_names_of_columns(tmp_path):
    path = tmp_path / "table.csv"
    path.write_bytes(b"height,weight\n1,2\n3,4\n")
    with pytest.raises(ValueError) as caught:
        table.read_columns(str(path), "height", None)
    message = "needs --y, the name of a column. Its columns: height, weight"
    assert message in str(caught.value)


@pytest.mark.parametrize("data", ["points", "diabetes"])
def test_columns_are_for_files_only(data):
    with pytest.raises(ValueError, match="--x and --y name columns of a CSV"):
        table.read_columns(data, "height", None)


def test_what_is_read_is_printed(tmp_path, capsys):
    path = tmp_path / "table.csv"
    path.write_bytes(GERMAN)
    x, y, scale = table.read_columns(str(path), "height", "weight")
    printed = capsys.readouterr().out
    assert f"{path}, 2 rows: 'weight' from 'height'. Numbers are" in printed
    assert scale == (x.mean(), x.std(), y.mean(), y.std())


def test_diabetes_is_read_from_the_package():
    x, y, _ = table.read_columns("diabetes", None, None)
    expected = load_diabetes(scaled=False)
    np.testing.assert_array_equal(x, expected.data[:, 2])
    np.testing.assert_array_equal(y, expected.target)


def test_constant_y_has_a_scale_of_one(tmp_path):
    path = tmp_path / "table.csv"
    path.write_bytes(b"height,weight\n1,5\n2,5\n3,5\n")
    assert table.read_columns(str(path), "height", "weight")[2][2:] == (5, 1)
