"""Parts of docstrings."""

import pytest

from gdtrain.common.entries import parse

TEXT = """Title.

    a = 1

    b = 2

Prose of
two lines.

Cost: one pass,
and another.

Trigger:
    The loss rises: always.
"""


def test_parts_are_found_by_label():
    entry = parse(TEXT, ["Cost", "Trigger"])
    assert entry.title == "Title."
    assert entry.prose == ["Prose of\ntwo lines."]
    assert entry.parts["Cost"] == "one pass,\nand another."
    assert entry.parts["Trigger"] == "The loss rises: always."


def test_formulas_of_one_block_stay_together():
    entry = parse(TEXT, ["Cost", "Trigger"])
    assert entry.formulas == ["a = 1\n\nb = 2"]
    assert entry.markdown.startswith("```text\na = 1\n\nb = 2\n```\n\nProse")


def test_label_is_no_part_unless_it_is_asked_for():
    assert parse("Title.\n\nCost: none.\n", ["Unit"]).parts == {}


def test_two_parts_of_one_label_are_an_error():
    with pytest.raises(ValueError, match="two parts 'Cost'"):
        parse("Title.\n\nCost: none.\n\nCost: some.\n", ["Cost"])
