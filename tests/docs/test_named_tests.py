"""What a page says that a test shows, a test shows."""

import os
import re

import pytest

from tests.docs import sources

# [text](../../tests/FILE "NAME")
_LINK = re.compile(r'\]\((\S*tests/\S+\.py)\s+"(\w+)"\)')
_FILE = re.compile(r"(?:tests|examples)/\S+\.(?:py|md)")
_MODULE = re.compile(r"python -m (tests(?:\.\w+)+)")
PAGES = sources.pages()


def missing(page):
    """Names of tests, files and modules that there are not."""
    found = []
    for target, name in _LINK.findall(page.prose):
        path = page.path.parent / target
        is_there = path.exists() and f"\ndef {name}(" in path.read_text("utf-8")
        found += [] if is_there else [f"{target} {name}"]
    for code in page.inline_code:
        for path in _FILE.findall(code):
            found += [] if (sources.ROOT / path).exists() else [path]
        for module in _MODULE.findall(code):
            path = sources.ROOT / module.replace(".", "/")
            names = f"{path}.py", f"{path}/__main__.py"
            found += [] if any(map(os.path.exists, names)) else [module]
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_pages_name_is_there(page):
    assert missing(page) == []


def test_each_difference_from_keras_has_its_test():
    (page,) = [one for one in PAGES if one.path.stem == "differences"]
    items = re.findall(r"^- \*\*.*?(?=^- \*\*|^#)", page.prose, re.M | re.S)
    assert len(items) >= 11
    assert [one for one in items if not _LINK.search(one)] == []
    traps = sources.ROOT / "tests/contracts/test_keras_traps.py"
    facts = set(re.findall(r"^def (test_fact_\w+)", traps.read_text(), re.M))
    assert facts <= {name for _, name in _LINK.findall(page.prose)}


def test_what_is_missing_is_found(tmp_path):
    path = sources.DOCS / "how_to" / "page.md"
    text = (
        '[a](../../tests/test_rooms.py "test_no") '
        "`tests/no/test_no.py` `python -m tests.benchmarks.no`"
    )
    page = sources.Source(path, (), text)
    assert missing(page) == [
        "../../tests/test_rooms.py test_no",
        "tests/no/test_no.py",
        "tests.benchmarks.no",
    ]
