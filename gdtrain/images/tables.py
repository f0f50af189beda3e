"""Finds the photos that a table lists with their labels."""

import csv
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

from gdtrain.common.explained import more
from gdtrain.images import finding
from gdtrain.images.photos import counted, named


class Table(Protocol):
    """Columns by name, as in a DataFrame or a dictionary of lists."""

    def __iter__(self) -> Iterator[Any]: ...

    def __getitem__(self, name: str, /) -> Any: ...


def find_in_table(
    table: str | os.PathLike | Table,
    file_column: str,
    label_column: str,
    root: str | os.PathLike | None,
    verbose: Any = 0,
) -> finding.Found:
    """Finds the photos in a table of files and labels.

    Raises:
        ValueError: if the table cannot be read, lacks a column or a value,
            or there are fewer than two classes.
    """
    columns = file_column, label_column
    if isinstance(table, (str, os.PathLike)):
        source = os.fspath(table)
        root = os.path.dirname(source) if root is None else root
        rows = _read_csv(source, columns)
    else:
        source = "the table"
        _check_columns(source, list(table), columns)
        rows = _rows(source, [list(table[column]) for column in columns])
    for column, values in zip(columns, zip(*rows)):
        empty = [i for i, v in enumerate(values, 1) if is_missing(v)]
        if empty:
            raise ValueError(
                f"{source} must have a {column} in each row. It has none in "
                f"row {named(empty)}. Add it, or remove the row."
                + more("photo-tables")
            )
    for i, (path, _) in enumerate(rows, 1):
        if not isinstance(path, (str, os.PathLike)):
            raise ValueError(
                f"{source} must have the path of a file in each row. It has "
                f"{path!r} in row {i}. Name the right column by `file_column`."
                + more("photo-tables")
            )
    rows = [(os.fspath(path), str(label)) for path, label in rows]
    repeated = len(rows) - len(set(rows))
    rows = list(dict.fromkeys(rows))
    notes = []
    if repeated:
        notes = [f"Left out: {counted(repeated, 'row')} that came before."]
    labels = [label for _, label in rows]
    class_names = sorted(set(labels))
    if len(class_names) < 2:
        raise ValueError(
            f"{source} must have two or more classes in the column "
            f"{label_column!r}. It has {len(class_names)}."
            + more("photo-tables")
        )
    paths = [os.path.join(root or "", path) for path, _ in rows]
    examined = finding.examine_all(paths, verbose, are_photos=True)
    files = [
        finding.in_class(one.file, label, "")
        for one, label in zip(examined, labels)
    ]
    return finding.Found(
        source,
        [file for file in files if file.status == "read"],
        [file for file in files if file.status != "read"],
        class_names,
        {name: f"the class '{name}' of {source}" for name in class_names},
        False,
        {one.file.digest: one.aspect for one in examined},
        notes,
    )


def _rows(source: str, columns: Sequence[list]) -> list[tuple]:
    """The rows of a table that has columns."""
    lengths = [len(column) for column in columns]
    if len(set(lengths)) > 1:
        raise ValueError(
            f"{source} must have columns of the same length. It has "
            f"{lengths[0]:,} files and {lengths[1]:,} labels."
            + more("photo-tables")
        )
    return list(zip(*columns))


def is_missing(value: Any) -> bool:
    """Whether a value of a table is none: `None`, "", or unequal to itself."""
    try:
        return value is None or value == "" or bool(value != value)
    except TypeError:  # `pandas.NA` is neither equal nor unequal.
        return True


def _read_csv(path: str, columns: tuple[str, str]) -> list[tuple]:
    """The two columns of a CSV file, with commas, semicolons or tabs."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            header = file.readline()
            delimiter = max(",;\t", key=header.count)
            file.seek(0)
            reader = csv.DictReader(file, delimiter=delimiter)
            _check_columns(path, reader.fieldnames or [], columns)
            return [tuple(row[name] for name in columns) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise ValueError(
            f"cannot read the table {path}: {why}. Give a CSV file in UTF-8 "
            f"with the columns {columns[0]} and {columns[1]}."
            + more("photo-tables")
        ) from error


def _check_columns(
    source: str, present: Sequence[str], columns: Iterable[str]
) -> None:
    for column in columns:
        if column not in present:
            raise ValueError(
                f"{source} has no column {column!r}. It has "
                f"{', '.join(map(repr, present)) or 'none'}. Name the right "
                "one by `file_column` or `label_column`." + more("photo-tables")
            )
