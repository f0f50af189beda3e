"""The tables of a report's page, as HTML."""

import numpy as np

from gdtrain.common.notebook import escape
from gdtrain.images.report_numbers import ReportNumbers

MAX_COLUMNS = 15  # Of the confusion matrix; of more classes, pairs are listed
MAX_PAIRS = 12
MAX_ROWS = 30  # Classes


def confusion(numbers: ReportNumbers) -> str:
    """The confusion matrix, or the pairs of many classes."""
    counts, names = numbers.confusion, numbers.class_names
    if len(names) > MAX_COLUMNS:
        return _pairs(counts * ~np.eye(len(names), dtype=bool), names)
    return _matrix(counts, names)


def _pairs(wrong: np.ndarray, names: list[str]) -> str:
    """The classes that are confused most often."""
    if not wrong.any():
        return "<p>No photo was taken for another class.</p>"
    order = np.argsort(-wrong, axis=None, kind="stable")[:MAX_PAIRS]
    pairs = [divmod(int(at), len(names)) for at in order]
    rows = [
        [_name(names[given]), _name(names[said]), f"{wrong[given, said]:,}"]
        for given, said in pairs
        if wrong[given, said]
    ]
    return (
        f'<p class="faint">The most frequent of {wrong.sum():,} mistakes.</p>'
        + _table(["is", "taken for", "photos"], rows)
    )


def _matrix(counts: np.ndarray, names: list[str]) -> str:
    """The confusion matrix, each row colored by shares of its class."""
    of_class = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    upright = len(names) > 4 or max(map(len, names)) > 20
    head = "".join(f'<th scope="col">{_name(name)}</th>' for name in names)
    body = ""
    for row, name in enumerate(names):
        cells = "".join(
            f'<td class="{_kind(counts, row, column)}" '
            f'style="{_shade(of_class[row, column])}">'
            f"{counts[row, column]:,}</td>"
            for column in range(len(names))
        )
        body += f'<tr><th scope="row">{_name(name)}</th>{cells}</tr>'
    return (
        '<p class="faint">Rows: what a photo is. Columns: what it was taken '
        "for.</p>"
        f'<div class="wide"><table class="matrix{" upright" * upright}"><thead>'
        f"<tr><td></td>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _kind(counts: np.ndarray, row: int, column: int) -> str:
    """The class of a cell, for its style."""
    if row == column:
        return "own"
    return "other" if counts[row, column] else "none"


def _shade(share: float) -> str:
    """The color of a cell."""
    percent = round(70 * share)
    return (
        f"background: color-mix(in srgb, var(--blue) {percent}%, transparent)"
    )


def classes(numbers: ReportNumbers) -> str:
    """The table of classes."""
    counts = numbers.confusion.sum(1)
    order, note = np.arange(len(counts)), ""
    if len(order) > MAX_ROWS:
        order = np.argsort(numbers.recall, kind="stable")[:MAX_ROWS]
        note = (
            f'<p class="faint">The {MAX_ROWS} classes of least recall, of '
            f"{len(counts):,}.</p>"
        )
    rows = [
        [
            _name(numbers.class_names[at]),
            f"{counts[at]:,}",
            _bar(numbers.precision[at], "blue"),
            _bar(numbers.recall[at], "orange"),
        ]
        for at in order
    ]
    return (
        '<p class="faint">Precision: of those taken for it, the share that '
        "are it. Recall: of those that are it, the share that was found.</p>"
        + note
        + _table(["class", "photos", "precision", "recall"], rows)
    )


def _bar(share: float, color: str) -> str:
    """A number between 0 and 1, and its bar."""
    if np.isnan(share):
        return "\N{EN DASH}"
    return (
        f'{share:.2f}<span class="bar"><span style="width: {share:.1%}; '
        f'background: var(--{color})"></span></span>'
    )


def _name(name: str) -> str:
    """A name in a table, cut off if it is very long."""
    return f'<span class="name" title="{escape(name)}">{escape(name)}</span>'


def _table(header: list[str], rows: list[list[str]]) -> str:
    """A table of names and, from the second column on, of numbers."""
    head = "".join(
        f'<th scope="col"{_number(at)}>{name}</th>'
        for at, name in enumerate(header)
    )
    body = "".join(
        "<tr>"
        + "".join(
            f"<td{_number(at)}>{cell}</td>" for at, cell in enumerate(row)
        )
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="wide"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _number(column: int) -> str:
    return ' class="number"' if column else ""
