"""A table of text in a file: cells, whichever way they are separated."""

import codecs
import collections
import csv
import io
from typing import NamedTuple

from _console import InputError

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}


class Table(NamedTuple):
    """What a file says.

    Args:
        path: The file.
        header: Names of the columns.
        rows: `(line, cells)` of each row that is not empty.
        separator: What stands between cells.
    """

    path: str
    header: list
    rows: list
    separator: str

    def column(self, position):
        """The cells of a column, without spaces around them."""
        return [cells[position].strip() for _, cells in self.rows]

    def position(self, option, name):
        """The position of a named column.

        Args:
            option: The option that names it.
            name: The name, or `None` if none was given.
        """
        if self.header.count(name) == 1:
            return self.header.index(name)
        if name is None:
            what = f"needs {option}, the name of a column"
        elif name in self.header:
            what = f"has more than one column '{name}'"
        else:
            what = f"has no column '{name}'"
        names = ", ".join(self.header[:10])
        more = ", ..." if len(self.header) > 10 else ""
        between = ""
        if self.separator != ",":
            between = f" (cells are separated by {SEPARATORS[self.separator]})"
        raise InputError(
            f"{self.path} {what}. Its columns{between}: {names}{more}. Name "
            f"one with {option}."
        )


def read(path):
    """Reads a `Table` from a file of text.

    Raises:
        InputError: if it is not a table with names of columns.
    """
    text = decoded(path)
    first, _, rest = text.partition("\n")
    separator = None
    if first.strip().lower() in {f"sep={one}".strip() for one in SEPARATORS}:
        separator, text = first.rstrip("\r\n")[4:] or "\t", "\n" + rest
    separator = separator or separator_of(path, text)
    rows = cells_of(path, text, separator)
    if not rows:
        raise InputError(
            f"{path} is empty. Its first line must name the columns."
        )
    (_, header), *rows = rows
    header = [name.strip() for name in header]
    if all(is_number(name) for name in header):
        raise InputError(
            f"{path} has no names of columns: its first line is "
            f"{', '.join(header[:5])}. Write a line with names above it."
        )
    rows = [(line, same_length(path, line, c, header)) for line, c in rows]
    return Table(path, header, rows, separator)


def decoded(path):
    """The text in a file: UTF-8, or UTF-16 with the mark of it in front."""
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        raise InputError(
            f"cannot read {path}: {error.strerror}. Give --data the path of "
            "a CSV file, or the word points or diabetes."
        ) from error
    if content.startswith(b"PK\x03\x04"):
        raise InputError(
            f"{path} is a spreadsheet or an archive, not text. Open it and "
            "save it as CSV in UTF-8."
        )
    is_wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        # `utf-8-sig` drops the mark that spreadsheets put in front.
        text = content.decode("utf-16" if is_wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not text in UTF-8 ({error.reason}). Save it as CSV "
            "in UTF-8."
        ) from error
    if "\0" in text:
        raise InputError(
            f"{path} is not text in UTF-8 (it has bytes of 0). Save it as CSV "
            "in UTF-8."
        )
    return text


def separator_of(path, text):
    """What separates cells: by what rows have as many cells as the first.

    It is the comma if that does for all rows; otherwise what does for most.
    """
    best, shares = ",", {}
    for separator in SEPARATORS:
        try:
            rows = cells_of(path, text, separator)
        except InputError:
            continue
        lengths = collections.Counter(len(cells) for _, cells in rows[1:])
        if rows and len(rows[0][1]) > 1:
            share = lengths[len(rows[0][1])] / max(len(rows) - 1, 1)
            shares[separator] = share, len(rows[0][1])
    if shares and shares.get(",", (0, 0))[0] < 1:
        best = max(shares, key=lambda separator: shares[separator])
    return best


def cells_of(path, text, separator):
    """The rows that are not empty, `(line, cells)`."""
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=separator,
        skipinitialspace=True,
        strict=True,
    )
    try:
        return [
            (reader.line_num, cells)
            for cells in reader
            if any(cell.strip() for cell in cells)
        ]
    except csv.Error as error:
        raise InputError(
            f"{path}, line {reader.line_num}, is not CSV: {error}. Save it "
            "as comma-separated values in UTF-8."
        ) from error


def same_length(path, line, cells, header):
    """A row's cells, without empty ones that follow the last column."""
    while len(cells) > len(header) and not cells[-1].strip():
        cells = cells[:-1]
    if len(cells) != len(header):
        raise InputError(
            f"{path}, line {line}, has {len(cells)} cells, but there are "
            f"{len(header)} columns. Put quotes around cells with commas."
        )
    return cells


def is_number(text):
    """Whether Python reads a number in a text."""
    try:
        float(text)
    except ValueError:
        return False
    return True
