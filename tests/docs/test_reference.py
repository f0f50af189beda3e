"""Each public name has a page in the reference, and an example on it."""

import inspect
import re

import pytest

import gdtrain
from docs.extensions import members
from docs.extensions.public_names import public_name, public_names
from tests.docs import sources

NAMES = {
    name: value
    for name, value in public_names().items()
    if not inspect.ismodule(value)
}
MODULES = [name for name in public_names() if name not in NAMES]
INDEX = (sources.DOCS / "reference" / "index.md").read_text(encoding="utf-8")


def test_names_of_gdtrain_are_on_the_first_page_of_the_reference():
    """The modules among them list theirs by their `__all__`."""
    listed = re.findall(r"^   ([\w.]+)$", INDEX, re.M)
    assert sorted(listed) == sorted(gdtrain.__all__)


@pytest.mark.parametrize("name", MODULES)
def test_modules_list_their_names_and_no_others(name):
    module = public_names()[name]
    public = set(module.__all__)
    assert len(public) == len(module.__all__)
    defined = {
        one
        for one, value in vars(module).items()
        if not one.startswith("_")
        and getattr(value, "__module__", "").startswith("gdtrain")
    }
    assert defined <= public


@pytest.mark.parametrize("name", NAMES)
def test_each_name_has_an_example(name):
    documented = inspect.getdoc(NAMES[name]) or ""
    assert re.search(r"^\s*>>> ", documented, re.M), documented


@pytest.mark.parametrize("name", NAMES)
def test_each_name_starts_with_one_line(name):
    first, *others = (inspect.getdoc(NAMES[name]) or "").split("\n")
    assert first and not (others and others[0].strip())


def test_members_are_those_that_a_user_calls():
    found = members.members(gdtrain.Model)
    assert {"descend", "compile", "fit"} <= set(found)
    # Keras has them, or calls them.
    assert not {"add_weight", "summary", "make_train_function"} & set(found)
    found = members.members(gdtrain.callbacks.Telemetry)
    assert found[:5] == ["table", "steps", "names", "__getitem__", "save"]
    assert "on_block" not in found  # On the page of `Callback`
    assert "on_block" in members.members(gdtrain.callbacks.Callback)


def test_annotations_lead_to_public_names():
    quantity = gdtrain.telemetry.Quantity
    private = f"{quantity.__module__}.{quantity.__qualname__}"
    assert public_name(private) == "gdtrain.telemetry.Quantity"
    assert public_name("gdtrain.telemetry.quantity.log_skipped_once") is None
