"""Two columns of numbers from a table that a spreadsheet or a person saved.

Numbers may be written as 1,234.50 or 1.234,50 or $5 or 12 %.
"""

import codecs
import io
import math
import pathlib
import re
import unicodedata

import numpy as np
import pandas as pd
from sklearn.datasets import load_diabetes

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
SPACES = "\u00a0\u202f '\u2019"  # Between thousands, as in Sweden or Zurich
OTHER_COLUMN = "name another column with --x or --y."


def read_columns(data: str, x_name: str | None, y_name: str | None) -> tuple:
    """Reads `diabetes`, or a table with a header.

    Returns:
        `(x, y, (x mean, x spread, y mean, y spread))`: float64 `[n]` each.
    """
    note = ""
    if data not in ("points", "diabetes"):
        x, y, note = read_file(data, {"--x": x_name, "--y": y_name})
    elif x_name or y_name:
        raise ValueError(
            "--x and --y name columns of a CSV file, but --data is "
            f"{data}. Remove them, or give --data a CSV file."
        )
    else:
        # Efron, Hastie, Johnstone, Tibshirani, Least Angle Regression, 2004.
        x, y = load_diabetes(return_X_y=True, scaled=False)
        x, x_name, y_name = x[:, 2], "body-mass index", "progression"
    print(f"{data}, {len(x)} rows: {y_name!r} from {x_name!r}.{note}")
    print("Steps are in standard deviations from the means.")
    return x, y, (x.mean(), x.std(), y.mean(), y.std() or 1.0)


def read_file(path: str, names: dict[str, str | None]) -> tuple:
    """Reads two columns: `(x, y, how unusual numbers were read)`."""
    table, separator = parse(path, decode(path))
    header = [name.strip() for name in table.iloc[0].dropna()]
    if all(is_plain(name) for name in header):
        raise ValueError(
            f"{path} has no names of columns: its first line is "
            f"{', '.join(header[:5])}. Write a line with names above it."
        )
    rows, length = table.iloc[1:], len(header)
    for line, cells in rows.iterrows():
        count = int(cells.notna().sum())
        if count < length or any(cells.iloc[length:].fillna("")):
            what = f"has {count} cells, but there are {length} columns."
            advice = "Put quotes around cells with commas."
            raise ValueError(f"{path}, line {line}, {what} {advice}")
    cells = [
        rows[position(path, header, separator, option, name)]
        for option, name in names.items()
    ]
    if len(rows) < 2:
        raise ValueError(
            f"{path} has {len(rows)} row{'s' * (len(rows) != 1)} of data; a "
            "line needs two or more."
        )
    mark = decimal_mark(path, pd.concat(cells), separator)
    x, y = map(to_numbers, [path] * 2, cells, names.values(), [mark] * 2)
    check_spread(path, x, y, names["--x"])
    for cell in pd.concat(cells):
        if not is_plain(cell):
            note = f" Numbers are read as people write them: {cell!r} is"
            return x, y, f"{note} {to_number(cell, mark):.10g}."
    return x, y, ""


def decode(path: str) -> str:
    """The text in a file: UTF-8, or UTF-16 with the mark of it in front."""
    try:
        content = pathlib.Path(path).read_bytes()
    except OSError as error:
        raise ValueError(
            f"cannot read {path}: {error.strerror}. Give --data the path of "
            "a CSV file, or the word points or diabetes."
        ) from error
    if content.startswith(b"PK\x03\x04"):
        raise ValueError(
            f"{path} is a spreadsheet or an archive, not text. Open it and "
            "save it as CSV in UTF-8."
        )
    is_wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        # `utf-8-sig` drops the mark that spreadsheets put in front.
        text = content.decode("utf-16" if is_wide else "utf-8-sig")
        if "\0" in text:
            raise ValueError("it has bytes of 0")
    except ValueError as error:
        what = f"{path} is not text in UTF-8 ({error})."
        raise ValueError(f"{what} Save it as CSV in UTF-8.") from error
    return text


def parse(path: str, text: str) -> tuple[pd.DataFrame, str]:
    """The rows that are not empty, by their lines, and what separates cells:
    what gives most rows as many cells as the first, above all commas."""
    named = re.match(r"sep=([,;\t|])\r?\n", text, re.IGNORECASE)
    if named:
        text = "\n" + text[named.end() :]
    tables, error = {}, None
    for separator in named[1] if named else SEPARATORS:
        try:
            tables[separator] = cells_of(text, separator)
        except pd.errors.ParserError as wrong:
            error = error or wrong
    if not tables:
        raise ValueError(
            f"{path} is not CSV: {error}. Save it as comma-separated values "
            "in UTF-8."
        )
    regular = {}
    for separator, table in tables.items():
        counts = [*table.notna().sum(axis=1), 0]
        share = counts.count(counts[0]) / len(table) if counts[0] > 1 else 0
        regular[separator] = share, separator == "," and share == 1, counts[0]
    separator = max(regular, key=lambda one: regular[one])
    if tables[separator].empty:
        raise ValueError(
            f"{path} is empty. Its first line must name the columns."
        )
    return tables[separator], separator


def cells_of(text: str, separator: str) -> pd.DataFrame:
    """The rows that have a cell that is not empty; missing cells are NaN."""
    lines = text.splitlines() or [""]
    table = pd.read_csv(
        io.StringIO(text),
        sep=separator,
        header=None,
        names=range(1 + max(line.count(separator) for line in lines)),
        index_col=False,
        dtype=str,
        keep_default_na=False,
        skipinitialspace=True,
        skip_blank_lines=False,
        engine="python",  # Knows a cell that is missing from an empty one.
    )
    table.index += 1
    table = table.apply(lambda column: column.str.strip())
    return table[(table.fillna("") != "").any(axis=1)]


def position(path, header: list, separator, option, name) -> int:
    """The position of a named column."""
    if header.count(name) == 1:
        return header.index(name)
    what = f"has {'more than one' if name in header else 'no'} column '{name}'"
    if name is None:
        what = f"needs {option}, the name of a column"
    between = f" (cells are separated by {SEPARATORS[separator]})"
    names = ", ".join(header[:10]) + (", ..." if len(header) > 10 else "")
    raise ValueError(
        f"{path} {what}. Its columns{between * (separator != ',')}: {names}. "
        f"Name one with {option}."
    )


def decimal_mark(path: str, cells: pd.Series, separator: str) -> str:
    """Whether a point or a comma stands before decimals, by all cells."""
    texts = cells.map(bare)
    fits = pd.DataFrame({m: [fit(m, text) for text in texts] for m in ".,"})
    numbers = texts[fits.any(axis=1).to_numpy()]
    marked = numbers[numbers.str.contains("[.,]")]
    possible = [m for m in ".," if fits[m].equals(fits.any(axis=1))]
    if len(possible) == 1 or marked.empty:
        return possible[0]
    marks = set("".join(marked)) & {".", ","}
    if possible and marks == {","} and separator in ",;":
        # Where commas separate cells, one in quotes stands between thousands.
        return "." if separator == "," else ","
    if possible and marks == {"."} and separator != ";":
        return "."
    raise ValueError(
        f"{path}: {marked.iloc[0]!r} may mean two numbers: a comma or point "
        "may stand before decimals or between thousands. Save the file "
        "without marks between thousands."
    )


def bare(cell: str) -> str:
    """A cell without currency, percent, and gaps between thousands."""
    text = "".join(
        character
        for character in cell.replace("\u2212", "-")
        if unicodedata.category(character) != "Sc" and character != "%"
    )
    text = re.sub(r"^(-?)\s+", r"\1", text.strip())
    return re.sub(rf"(?<=\d)[{SPACES}](?=\d{{3}}(?!\d))", "", text)


def fit(mark: str, text: str) -> bool:
    """Whether a text is a number with this mark before its decimals."""
    other = "," if mark == "." else "."
    grouped = rf"[1-9]\d{{0,2}}(?:[{other}]\d{{3}})+"
    pattern = rf"[-+]?(?=[.,]?\d)(?:{grouped}|\d*)(?:[{mark}]\d*)?"
    return bool(re.fullmatch(rf"{pattern}(?:[eE][-+]?\d+)?", text))


def to_number(cell: str, mark: str) -> float:
    """The number in a cell; NaN if it is none, or not finite."""
    text, other = bare(cell), "," if mark == "." else "."
    if not fit(mark, text):
        return math.nan
    number = float(text.replace(other, "").replace(mark, "."))
    return number if math.isfinite(number) else math.nan


def is_plain(cell: str) -> bool:
    """Whether Python reads a number in a cell."""
    try:
        return float(cell) is not None
    except ValueError:
        return False


def to_numbers(path: str, cells: pd.Series, name: str, mark: str) -> np.ndarray:
    """The numbers in a column; an error if something is not one."""
    numbers = np.array([to_number(cell, mark) for cell in cells], float)
    wrong = cells[np.isnan(numbers)]
    if wrong.empty:
        return numbers
    what = (
        f"{path}, line {wrong.index[0]}: column '{name}' has "
        f"{wrong.iloc[0][:40]!r}, not a finite number"
    )
    if len(wrong) == 1:
        raise ValueError(f"{what}. Remove the row, or {OTHER_COLUMN}")
    if len(wrong) < len(cells):
        raise ValueError(
            f"{what}; nor have {len(wrong) - 1:,} of the {len(cells) - 1:,} "
            f"other rows one. Remove these rows, or {OTHER_COLUMN}"
        )
    advice = f"Look at the file, or {OTHER_COLUMN}"
    if wrong.str.contains(r"\d\D\d+\D\d").all():
        advice = "If these are dates or times, write them as numbers, such as "
        advice += f"days since the first, or {OTHER_COLUMN}"
    raise ValueError(f"{what}; nor has any other row. {advice}")


def check_spread(path: str, x: np.ndarray, y: np.ndarray, name: str) -> None:
    """Raises an error for numbers that no line can be fitted to."""
    if x.min() == x.max():
        raise ValueError(
            f"{path}: column '{name}' is {x[0]:g} in every row, which "
            "leaves the slope open. Name another column with --x."
        )
    with np.errstate(all="ignore"):
        spreads = x.std(), y.std() if y.min() < y.max() else 1.0
    # So that squares of them are numbers, too.
    if not all(1e-99 < spread < 1e99 for spread in spreads):
        raise ValueError(
            f"{path}: the numbers are too large or too close together to "
            "compute their spread. Change their unit."
        )
