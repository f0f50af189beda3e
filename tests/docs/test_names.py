"""Names of gdtrain that pages and docstrings mention exist."""

import importlib
import inspect
import re

import pytest

from docs.extensions.public_names import public_names
from tests.docs import sources

NAME = re.compile(r"\bgdtrain(?:\.[A-Za-z_]\w*)+")
FILES = [*sources.pages(), *sources.others()]


def exists(name):
    """Whether a dotted name is that of a module, or of what is in one."""
    modules, found = name.split("."), None
    for count in range(len(modules), 0, -1):
        try:
            found = importlib.import_module(".".join(modules[:count]))
        except ModuleNotFoundError:
            continue
        for attribute in modules[count:]:
            if not hasattr(found, attribute):
                return False
            found = getattr(found, attribute)
        return True
    return False


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_names_on_a_page_exist(file):
    texts = [*file.inline_code, *(block.code for block in file.blocks)]
    texts += [link.target for link in file.links]
    missing = [
        name
        for name in sorted(set(NAME.findall("\n".join(texts))))
        if name != "gdtrain.NAME"  # Stands for any
        and not exists(name.removesuffix(".rst"))
    ]
    assert missing == []


def test_names_in_docstrings_exist():
    missing = {
        (name, mentioned)
        for name, value in public_names().items()
        for code in re.findall(r"`([^`]+)`", inspect.getdoc(value) or "")
        for mentioned in NAME.findall(code)
        if not exists(mentioned)
    }
    assert missing == set()


def test_a_name_that_is_wrong_is_found():
    assert exists("gdtrain.Model.descend") and exists("gdtrain.loop.pacing")
    assert not exists("gdtrain.callbacks.Telemetrie")
