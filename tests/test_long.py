"""Cases of a test that are not named by `mostly_long` are long."""

import pytest

from tests import long


class Item:
    """A case of a test, as far as it is asked."""

    def __init__(self, case, marks):
        self.nodeid = f"tests/test_it.py::test_it[{case}]"
        self.callspec = type("", (), {"id": case})
        self.marks = {mark.name: mark for mark in marks}

    def get_closest_marker(self, name):
        return self.marks.get(name)

    def add_marker(self, marker):
        self.marks[marker.name] = marker


def collected(cases, *short):
    marks = [pytest.mark.mostly_long(*short).mark] if short else []
    items = [Item(case, marks) for case in cases]
    long.mark_cases(items)
    return [i.callspec.id for i in items if "long" in i.marks]


def test_other_cases_are_long():
    assert collected(["a", "b", "c"], "b") == ["a", "c"]
    assert collected(["a", "b", "c"]) == []


def test_a_case_that_is_not_there_is_an_error():
    with pytest.raises(pytest.UsageError, match=r"test_it has no cases \['d'"):
        collected(["a", "b", "c"], "b", "d")


def test_a_case_that_is_asked_for_by_name_may_be_alone():
    assert collected(["a"], "b") == ["a"]
