"""Tests that take minutes or repeat a claim: only `pytest -m long` runs them.

`@pytest.mark.long` is for a whole test. Above a test of several cases,
`@pytest.mark.mostly_long("adam", "sgd")` lets the cases of these ids run by
default, and marks its others as `long`.
"""

import collections

import pytest


def mark_cases(items):
    """Marks the cases of tests that are mostly long.

    Args:
        items: All tests that were collected.
    """
    cases = collections.defaultdict(list)
    for item in items:
        if item.get_closest_marker("mostly_long"):
            cases[item.nodeid.partition("[")[0]].append(item)
    for name, found in cases.items():
        short = set(found[0].get_closest_marker("mostly_long").args)
        missing = short - {item.callspec.id for item in found}
        # Fewer were asked for by their names.
        if missing and len(found) > len(short):
            raise pytest.UsageError(f"{name} has no cases {sorted(missing)}.")
        for item in found:
            if item.callspec.id not in short:
                item.add_marker(pytest.mark.long)
