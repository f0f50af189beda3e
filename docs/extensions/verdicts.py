"""The entries of the page on verdicts, and how often verdicts are right.

The entries are made of the docstrings of verdicts, the figures of the scores of
the zoo of trainings.
"""

import doctest
import pathlib
import re
from collections.abc import Iterator
from typing import Any

from sphinx.application import Sphinx

from docs.extensions.filled import fill
from gdtrain.common.entries import Entry
from gdtrain.diagnosis.diagnose import NAMES
from gdtrain.diagnosis.entries import entries

PAGE, EXPLANATION = "reference/verdicts", "explanation/diagnosis"
PLACE = "% Entries, one for each verdict"
TABLE = "% How often it is right"
ROOT = pathlib.Path(__file__).parents[2]
_FIGURES = ROOT / "tests" / "zoo" / "figures.md"
_VERDICTS = ROOT / "gdtrain" / "diagnosis" / "verdicts"
#: Titles of the parts of the figures, and how they are called here.
WAYS = {
    "From telemetry alone": "`diagnose(telemetry)`",
    "With the model and its data": "`diagnose(telemetry, model, x, y)`",
}
_SUMS = {
    "recall of trouble": "faults in which trouble is found",
    "named rightly": "and named rightly",
    "precision of trouble": "alarms that are about a fault",
    "false alarms": "healthy runs with an alarm",
}
_FOLLOWED = re.compile(r"- advice followed in (\d+) runs: (.*)")


def _part(title: str) -> str:
    """The part of the figures below a title."""
    text = _FIGURES.read_text("utf-8")
    return text.partition(f"## {title}\n")[2].partition("\n## ")[0]


def figures(title: str) -> dict[str, dict[str, str]]:
    """A row of figures for each verdict, by the name of the verdict."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in _part(title).splitlines()
        if line.startswith("|") and not line.startswith("|--")
    ]
    header = rows[0]
    return {row[0]: dict(zip(header, row, strict=True)) for row in rows[1:]}


def summary() -> str:
    """The table of all faults and healthy runs together, in Markdown."""
    titles = [*_SUMS.values(), "advice followed"]
    lines = [f"| | {' | '.join(titles)} |", "|---" * (len(titles) + 1) + "|"]
    for title, shown in WAYS.items():
        part = _part(title)
        cells = []
        for name in _SUMS:
            [found] = re.findall(rf"^- {name}: (.*)$", part, re.M)
            cells.append(found)
        [(runs, came)] = _FOLLOWED.findall(part)
        cells.append(came if int(runs) else "-")
        lines.append(f"| {shown} | {' | '.join(cells)} |")
    return "\n".join(lines)


def label(name: str) -> str:
    """The anchor of a verdict on its page."""
    return "verdict-" + re.sub(r"\W+", "-", name)


def page(text: str) -> str:
    """The source of the page, with a table and an entry for each verdict.

    Args:
        text: Its source, in which `PLACE` is a line.
    """
    found = entries()
    rows = {title: figures(title) for title in WAYS}
    parts = ["| | what |", "|---|---|"]
    for name in NAMES:
        title = found[name].title.rstrip(".")
        parts.append(f"| [{name}](#{label(name)}) | {title} |")
    for name in NAMES:
        parts += ["", *_entry(name, found[name], list(_rightly(name, rows)))]
    return text.replace(PLACE, "\n".join(parts))


def _entry(name: str, entry: Entry, rightly: list[str]) -> Iterator[str]:
    """The lines of one entry."""
    parts = entry.parts
    yield f"({label(name)})=\n## {name}\n"
    yield f"{entry.title}\n\n{entry.markdown}\n"
    yield f"**Trigger.** {parts['Trigger']}\n"
    yield f"**Evidence.** {parts['Evidence']}\n"
    yield f"**What it may be confused with.** {parts['Confused with']}\n"
    yield f"**What to do.** {parts['Advice']}\n"
    said = " ".join(rightly) or "It was the first verdict on no run of the zoo."
    yield f"**How often it is right.** {said}\n"
    yield f"```{{code-cell}} ipython3\n{program(entry)}```\n"


def _rightly(
    name: str, rows: dict[str, dict[str, dict[str, str]]]
) -> Iterator[str]:
    """Sentences on how often a verdict was right."""
    cause = name.partition(":")[0]
    for title, figures_of in rows.items():
        words = []
        row = figures_of.get(name)
        if row and row["calls"] != "0":
            share = float(row["precision"])
            words.append(f"right in {share:.0%} of {row['calls']} calls")
        row = figures_of.get(cause)
        if row and row["runs"] != "-":
            what = f'"{cause}"' if cause != name else "it"
            words.append(
                f"{what} is found in {float(row['recall']):.0%} of the "
                f"{row['runs']} runs that have it"
            )
        if words:
            yield f"{title}: {'; '.join(words)}."


def program(entry: Entry) -> str:
    """The example of an entry as code."""
    parser = doctest.DocTestParser()
    examples = parser.get_examples(entry.parts["Example"])
    return "".join(example.source for example in examples)


def setup(app: Sphinx) -> dict[str, Any]:
    """Fills the pages as they are read."""
    fill(app, PAGE, page, [_FIGURES, *_VERDICTS.glob("*.py")])
    fill(
        app,
        EXPLANATION,
        lambda text: text.replace(TABLE, summary()),
        [_FIGURES],
    )
    return {"parallel_read_safe": True}
