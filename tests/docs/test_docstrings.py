"""Docstrings as Sphinx reads them."""

from docs.extensions import docstrings, signatures


def test_tables():
    lines = ["| a | b |", "|---|--:|", "| 1 | 2 |", "end"]
    assert docstrings.tables(lines) == [
        ".. list-table::",
        "   :header-rows: 1",
        "",
        "   * - a",
        "     - b",
        "   * - 1",
        "     - 2",
        "end",
    ]


def test_formulas():
    lines = ["A step:", "", "    w <- w - g", "", "    b <- b - g", "", "end"]
    found = docstrings.formulas(lines)
    assert found == [*lines[:2], "::", "", *lines[2:]]


def test_text_is_left_as_it_is():
    lines = ["One line.", "", "Args:", "    x: A number.", "        Of 2."]
    assert docstrings.formulas(docstrings.tables(lines)) == lines


def test_annotations_are_short():
    from numpy.typing import ArrayLike

    from gdtrain.telemetry import Quantity

    def measured(x: ArrayLike, *, by: Quantity | None = None) -> list[str]:
        """A function."""

    shown = "(x: ArrayLike, *, by: Quantity | None = None) -> list[str]"
    assert signatures.plain(measured) == shown
