"""A file imports from rooms below its own, by the list of ARCHITECTURE.md."""

import ast
import functools
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[1]
TOP = ["gdtrain", "__main__"]  # These import from every room.
FILES = sorted((ROOT / "gdtrain").rglob("*.py"))


def module_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def rooms():
    """The rooms in the order of ARCHITECTURE.md, from top to bottom."""
    text = (ROOT / "ARCHITECTURE.md").read_text()
    return re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)


def room_of(module):
    """The room of a module of gdtrain: the first part below the package."""
    return module.split(".")[1] if "." in module else module


@functools.cache
def imports_of(path):
    """A list of `(module, is inside a function)`, one for each import."""
    tree = ast.parse(path.read_text())
    inside = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef))
        for node in ast.walk(function)
    }
    modules = {module_of(file) for file in FILES}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                found.append((alias.name, id(node) in inside))
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "relative import"
            for alias in node.names:
                longer = f"{node.module}.{alias.name}"
                name = longer if longer in modules else node.module
                found.append((name, id(node) in inside))
    return found


def test_all_files_were_found():
    assert len(FILES) > 30


def test_each_room_is_in_the_list_once():
    present = {room_of(module_of(path)) for path in FILES} - set(TOP)
    assert len(rooms()) == len(set(rooms()))
    assert present == set(rooms())


@pytest.mark.parametrize("name", ["ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_each_file_that_a_document_names_is_there(name):
    text = (ROOT / name).read_text()
    named = set(re.findall(r"`([\w.]+/[\w./]*)`", text))
    assert len(named) > 2
    for path in named:
        assert (ROOT / path).exists() or (ROOT / "gdtrain" / path).exists(), (
            f"{name} names {path}"
        )


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_file_imports_from_rooms_below(path):
    order = [*TOP, *rooms()]
    here = module_of(path)
    for module, _ in imports_of(path):
        if module.partition(".")[0] != "gdtrain" or module == here:
            continue
        own, imported = room_of(here), room_of(module)
        assert own == imported or order.index(own) < order.index(imported), (
            f"{here} imports {module}, which is not below it"
        )


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_private_keras_names_are_in_the_bridge_alone(path):
    if room_of(module_of(path)) == "keras_bridge":
        return
    for module, _ in imports_of(path):
        assert not module.startswith(("keras.src", "tensorflow.python"))


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_no_import_is_inside_a_function(path):
    assert [module for module, inside in imports_of(path) if inside] == []


def test_there_is_no_cycle_of_imports():
    edges = {
        module_of(path): {
            module
            for module, _ in imports_of(path)
            if module.startswith("gdtrain.")
        }
        for path in FILES
    }

    done = set()

    def visit(module, trail):
        assert module not in trail, " -> ".join([*trail, module])
        if module in done:
            return
        for target in edges.get(module, ()):
            visit(target, [*trail, module])
        done.add(module)

    for module in edges:
        visit(module, [])
