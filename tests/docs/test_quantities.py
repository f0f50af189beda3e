"""The page on quantities has all of them, and what is to be said of each."""

import re

import keras
import numpy as np
import pytest

import gdtrain
from docs.extensions import quantities
from gdtrain.common.entries import parse
from gdtrain.telemetry.entries import LABELS, entries

ENTRIES = entries()
NEEDED = {"Columns", "Unit", "Cost", "Example"}
# Not of a training by one worker, and not kept as arrays
ELSEWHERE = {"workers", "weight_histogram", "gradient_histogram"}


def lacking(entry):
    """What is missing in an entry."""
    found = sorted(NEEDED - set(entry.parts))
    if not entry.formulas:
        found.append("formula")
    if not entry.prose:
        found.append("what it tells")
    return found


@pytest.mark.parametrize("name", ENTRIES)
def test_docstring_is_complete(name):
    assert not lacking(ENTRIES[name][1])


def test_what_lacks_is_found():
    entry = parse("A number.\n\nCost: none.\n", LABELS)
    expected = ["Columns", "Example", "Unit", "formula", "what it tells"]
    assert lacking(entry) == expected


def test_costs_were_measured_of_quantities_that_there_are():
    assert set(quantities.costs()) <= set(ENTRIES)


def test_page_has_an_entry_with_a_picture_of_each():
    page = quantities.page(f"# Title\n\n{quantities.PLACE}\n")
    for name in ENTRIES:
        assert page.count(f"\n## {name}\n") == 1
        assert page.count(f"\npicture({name!r})\n") == 1
    assert quantities.PLACE not in page


def test_place_is_on_the_page():
    path = quantities.ROOT / "docs" / f"{quantities.PAGE}.md"
    assert quantities.PLACE in path.read_text("utf-8").splitlines()


def test_columns_are_those_of_a_training():
    layers = [
        keras.Input([2]),
        keras.layers.Dense(3, "relu", name="hidden"),
        keras.layers.Dense(1, name="output"),
    ]
    model = gdtrain.Sequential(layers)
    model.compile(gdtrain.GradientDescent(0.1), "mse", microbatches=2)
    telemetry = gdtrain.callbacks.Telemetry("full")
    x = np.ones([8, 2], "float32")
    model.fit(x, x[:, :1], 4, 20, verbose=0, callbacks=[telemetry])
    measured = {
        re.sub(r"/(hidden|output)$", "/<layer>", name)
        for name in telemetry.names
    }
    documented = {
        column
        for name, (_, entry) in ENTRIES.items()
        if name not in ELSEWHERE
        for column in re.findall(r"`(.*?)`", entry.parts["Columns"])
    }
    assert documented == measured
