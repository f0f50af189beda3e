"""The page on verdicts has all of them, and what is to be said of each."""

import pytest

from docs.extensions import verdicts
from gdtrain.common.entries import parse
from gdtrain.diagnosis.diagnose import NAMES
from gdtrain.diagnosis.entries import LABELS, documented, entries

ENTRIES = entries()


def lacking(entry):
    """Which parts are missing or empty."""
    return [label for label in LABELS if not entry.parts.get(label)]


def test_each_verdict_has_an_entry():
    assert set(ENTRIES) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_docstring_is_complete(name):
    entry = ENTRIES[name]
    assert not lacking(entry)
    assert "{" not in entry.parts["Trigger"]  # All thresholds are filled in.


def test_what_lacks_is_found():
    entry = parse("A verdict.\n\nTrigger:\n    Always.\n", LABELS)
    assert lacking(entry) == ["Evidence", "Confused with", "Advice", "Example"]


@pytest.mark.parametrize("name", NAMES)
def test_example_has_the_verdict(name):
    """The example is a doctest; what it prints must be this verdict."""
    assert f"\n{name} (confidence " in ENTRIES[name].parts["Example"]


def test_thresholds_are_those_of_the_code(tmp_path):
    path = tmp_path / "some.py"
    path.write_text('"""{SHARE:.0%} of {trend.ENOUGH}."""\nSHARE = 1 / 4\n')
    assert documented(path) == "25% of 8."


def test_threshold_that_is_not_in_the_code_is_an_error(tmp_path):
    path = tmp_path / "some.py"
    path.write_text('"""More than {SHARE}."""\n')
    with pytest.raises(KeyError, match="SHARE"):
        documented(path)


def test_page_has_an_entry_of_each_and_its_program():
    page = verdicts.page(f"# Title\n\n{verdicts.PLACE}\n")
    for name in NAMES:
        assert page.count(f"\n## {name}\n") == 1
        assert verdicts.program(ENTRIES[name]) in page
    assert verdicts.PLACE not in page


def test_page_says_how_often_a_verdict_is_right():
    page = verdicts.page(verdicts.PLACE)
    entry = page.partition("\n## dead layer\n")[2].partition("\n## ")[0]
    row = verdicts.figures("From telemetry alone")["dead layer"]
    share = f"{float(row['precision']):.0%}"
    assert f"right in {share} of {row['calls']} calls" in entry


def test_summary_has_the_figures():
    *_, alone, with_model = verdicts.summary().splitlines()
    assert "| 0.72 of 198 (0.65 to 0.78) |" in alone
    assert with_model.endswith("| 63 better, 1 same, 5 worse |")


@pytest.mark.parametrize(
    "page, place",
    [
        (verdicts.PAGE, verdicts.PLACE),
        (verdicts.EXPLANATION, verdicts.TABLE),
    ],
)
def test_place_is_on_the_page(page, place):
    path = verdicts.ROOT / "docs" / f"{page}.md"
    assert place in path.read_text("utf-8").splitlines()
