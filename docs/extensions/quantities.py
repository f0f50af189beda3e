"""The entries of the page on quantities, from their docstrings."""

import csv
import pathlib
from collections.abc import Iterator
from typing import Any

from sphinx.application import Sphinx

from docs.extensions.filled import fill
from gdtrain.common.entries import Entry
from gdtrain.telemetry.entries import entries
from gdtrain.telemetry.quantity import Quantity

PAGE = "reference/quantities"
PLACE = "% Entries, one for each quantity"
ROOT = pathlib.Path(__file__).parents[2]
_COST = ROOT / "docs" / "reference" / "telemetry_cost.csv"
_TELEMETRY = ROOT / "gdtrain" / "telemetry"


def costs() -> dict[str, list[dict[str, str]]]:
    """What the benchmark measured, by quantity: a row for each network."""
    found: dict[str, list[dict[str, str]]] = {}
    if not _COST.exists():
        return found
    with open(_COST, encoding="utf-8") as file:
        rows = (line for line in file if not line.startswith("#"))
        for row in csv.DictReader(rows):
            found.setdefault(row["quantity"], []).append(row)
    return found


def page(text: str) -> str:
    """The source of the page, with links to an entry for each quantity.

    Args:
        text: Its source, in which `PLACE` is a line.
    """
    measured = costs()
    parts = []
    for level in ("minimal", "standard", "full"):
        links = [
            f"[{name}](#quantity-{name.replace('_', '-')})"
            for name, (quantity, _) in entries().items()
            if quantity.preset == level
        ]
        parts.append(f'- in `"{level}"`: {", ".join(links)}')
    for name, (quantity, entry) in entries().items():
        parts += ["", *_entry(quantity, entry, measured.get(name, []))]
    return text.replace(PLACE, "\n".join(parts))


def preset(quantity: Quantity) -> str:
    """The smallest preset that has a quantity, and how often."""
    often = quantity.preset_every_steps
    return quantity.preset + f", each {often} steps" * (often > 1)


def _entry(
    quantity: Quantity, entry: Entry, measured: list[dict[str, str]]
) -> Iterator[str]:
    """The lines of one entry."""
    name = quantity.name
    yield f"(quantity-{name.replace('_', '-')})="
    yield f"## {name}\n"
    yield f"{entry.title}\n\n{entry.markdown}\n"
    yield "```{code-cell} ipython3"
    yield f":tags: [remove-input]\npicture({name!r})\n```\n"
    columns = entry.parts["Columns"]
    tag = "" if "histogram" in name else "step/"
    yield f"- Columns: {columns}; tag `{tag}{columns.split('`')[1]}`"
    yield f"- Preset: {preset(quantity)}"
    yield f"- Unit: {one_line(entry.parts['Unit'])}"
    times = "; ".join(
        f"{float(row['microseconds_a_step']):+.0f} microseconds, "
        f"{row['times_as_long']} times a step without it "
        f"({row['lower_quartile']} to {row['upper_quartile']}), of "
        f"{row['network']}"
        for row in measured
    )
    cost = f"- Cost: {one_line(entry.parts['Cost'])}"
    yield f"{cost} Measured: {times}." if times else cost
    if "References" in entry.parts:
        yield f"- Source: {one_line(entry.parts['References'])}"
    yield f"- Class, with an example: {{py:class}}`{class_of(quantity)}`\n"


def class_of(quantity: Quantity) -> str:
    """The public name of its class."""
    return f"gdtrain.telemetry.{type(quantity).__name__}"


def one_line(text: str) -> str:
    """A paragraph without line breaks."""
    return " ".join(text.split())


def setup(app: Sphinx) -> dict[str, Any]:
    """Adds the entries as the page is read."""
    fill(app, PAGE, page, [_COST, *_TELEMETRY.glob("*.py")])
    return {"parallel_read_safe": True}
