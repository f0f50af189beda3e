"""What a page tells a reader to run has been run."""

import re

import pytest

from tests.docs import sources

PAGES = sources.pages()
# `tests/test_readme.py` runs its blocks.
README = sources.read(sources.ROOT / "README.md")
# Commands that install or start something, or run the reader's `train.py`:
# they cannot be run at each build.
NOT_EXECUTED = re.compile(
    r"#|(\S*/)?(pip|python3? -m pip) install |python3 -m venv |git clone "
    r"|cd \S+$|(\S*/)?tensorboard --logdir |(\S*/)?jupyter |.*\btrain\.py\b"
)
WIDEST = 80  # Characters that a phone shows, scrolled once


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_is_in_cells_that_the_build_executes(page):
    plain = [
        block.code
        for block in page.blocks
        if block.info.split()[:1] in (["python"], ["py"], ["pycon"])
    ]
    assert plain == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_shell_is_executed_or_installs(page):
    lines = [
        line
        for block in page.blocks
        if block.info in ("bash", "sh", "shell", "console")
        for line in re.sub(r"\\\n", " ", block.code).splitlines()
        if line.strip()
    ]
    assert [one for one in lines if not NOT_EXECUTED.match(one)] == []


@pytest.mark.parametrize("page", [*PAGES, README], ids=lambda page: page.name)
def test_code_is_narrow(page):
    wide = [
        line
        for block in page.blocks
        for line in block.code.splitlines()
        if not block.info.startswith("{eval-rst}") and len(line) > WIDEST
    ]
    assert [one for one in wide if "venv" not in one] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_with_cells_is_a_notebook(page):
    """Without its header, MyST-NB shows cells but does not execute them."""
    has_cells = any(one.info.startswith("{code-cell}") for one in page.blocks)
    text = page.path.read_text(encoding="utf-8")
    assert has_cells == text.startswith("---\njupytext:\n")
