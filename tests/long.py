"""Tests that only `pytest -m long` runs."""

import pytest


def mostly_long(names, *short):
    """Parameters of a test, of which only those in `short` run by default."""
    return [
        pytest.param(name, marks=() if name in short else pytest.mark.long)
        for name in names
    ]
