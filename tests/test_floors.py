"""A file imports from floors below its own, and nothing from above."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]
FLOORS = [
    {"checks", "compilation", "forks", "keras_bridge", "notebook", "paths"},
    {"cadence", "mistakes", "signal_handlers", "tracebacks"},
    {"checkpoint", "descent", "feeds", "schedules", "writers"},
    {"telemetry"},
    {"engine"},
    {"trainer"},
    {"model"},
    {"callbacks", "insight", "plots"},
    {"", "__main__"},  # gdtrain/__init__.py
]
JOINED = {"callbacks", "insight", "plots"}  # Files of these know each other
FILES = sorted((ROOT / "gdtrain").rglob("*.py"))


def module_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def floor_of(module):
    """The floor of a module of gdtrain, by its first part."""
    part = module.partition(".")[2].partition(".")[0]
    return next(level for level, names in enumerate(FLOORS) if part in names)


def imports_of(path):
    """Yields `(module, node, is inside a function)` for each import."""
    tree = ast.parse(path.read_text())
    inside = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef))
        for node in ast.walk(function)
    }
    modules = {module_of(file) for file in FILES}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, id(node) in inside
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "relative import"
            for alias in node.names:
                longer = f"{node.module}.{alias.name}"
                name = longer if longer in modules else node.module
                yield name, id(node) in inside


def test_all_files_were_found():
    assert len(FILES) > 30


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_file_imports_from_below(path):
    here = module_of(path)
    for module, _ in imports_of(path):
        if module.partition(".")[0] != "gdtrain" or module == here:
            continue
        rooms = {(name.split(".") + [""])[1] for name in (here, module)}
        same_room = len(rooms) == 1 or rooms <= JOINED
        assert same_room or floor_of(module) < floor_of(here), (
            f"{here} imports {module}, which is not below it"
        )


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_private_keras_names_are_in_the_bridge_alone(path):
    if path.name == "keras_bridge.py":
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

    def visit(module, trail):
        assert module not in trail, " -> ".join([*trail, module])
        for target in edges.get(module, ()):
            visit(target, [*trail, module])

    for module in edges:
        visit(module, [])
