"""Docstrings as Sphinx reads them: tables of Markdown, indented formulas."""

import re
from collections.abc import Sequence
from typing import Any

from sphinx.application import Sphinx

_ROW = re.compile(r"^\|(.*)\|$")


def tables(lines: Sequence[str]) -> list[str]:
    """Turns tables as Markdown has them, which read well in an editor.

    Args:
        lines: Those of a docstring.

    Returns:
        The lines, with a `list-table` of reStructuredText for each table.
    """
    found: list[str] = []
    header = 0
    for number, line in enumerate(lines):
        row = _ROW.match(line)
        if row is None:
            found.append(line)
        elif set(line) <= set("|-: "):
            found[header:header] = [".. list-table::", "   :header-rows: 1", ""]
        else:
            if not _ROW.match(lines[number - 1]):
                header = len(found)
            first, *others = (cell.strip() for cell in row[1].split("|"))
            found += [f"   * - {first}", *(f"     - {one}" for one in others)]
    return found


def formulas(lines: Sequence[str]) -> list[str]:
    """Marks indented paragraphs as literal: they are formulas.

    Args:
        lines: Those of a docstring.

    Returns:
        The lines, with `::` before each paragraph that is indented first.
    """
    found: list[str] = []
    before = ""
    for number, line in enumerate(lines):
        is_first = line.startswith("    ") and not lines[number - 1].strip()
        if is_first and not before.startswith(" "):
            found += ["::", ""]
        found.append(line)
        before = line if line.strip() else before
    return found


def setup(app: Sphinx) -> dict[str, Any]:
    """Before napoleon reads the sections."""
    app.connect("autodoc-process-docstring", _process, priority=100)
    return {"parallel_read_safe": True}


def _process(
    app: Sphinx, what: str, name: str, subject: Any, options: Any, lines: Any
) -> None:
    """Changes the lines of a docstring in place."""
    lines[:] = tables(formulas(lines))
