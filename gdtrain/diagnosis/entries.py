"""What is documented of each verdict, with the thresholds of its code."""

import ast
import functools
import pathlib
import re
from typing import Any

from gdtrain.common.entries import Entry, parse

#: The parts of the docstring of a verdict.
LABELS = ("Trigger", "Evidence", "Confused with", "Advice", "Example")

_HERE = pathlib.Path(__file__).parent
_THRESHOLD = re.compile(r"\{(?:(\w+)\.)?([A-Z_]+)(?::([^}]*))?\}")


def entries() -> dict[str, Entry]:
    """The `Entry` of each verdict, by name.

    It imports no verdict, but reads files.

    Example:

    >>> entries()["overfitting"].parts["Evidence"]
    '`best_epoch`, `least_val_loss`, `val_loss` and `loss`.'
    """
    return {name: parse(text, LABELS) for name, text in docstrings().items()}


def docstrings() -> dict[str, str]:
    """The docstring of each verdict, with thresholds filled in, by name.

    Example:

    >>> docstrings()["converging"].splitlines()[0]
    'The loss falls.'
    """
    paths = sorted((_HERE / "verdicts").glob("[!_]*.py"))
    return {_constants(path)["NAME"]: documented(path) for path in paths}


def documented(path: pathlib.Path) -> str:
    """The docstring of a module, with thresholds filled in.

    `{SHARE:.0%}` stands for a constant of the module, `{trend.FALLS:g}` for
    one of another module of `gdtrain.diagnosis`, as the code has it.

    Args:
        path: The file of the module.

    Raises:
        KeyError: if there is no such constant.

    Example:

    >>> path = pathlib.Path(__file__).parent / "verdicts" / "too_small.py"
    >>> "by 1% of the gain in its fastest step" in documented(path)
    True
    """

    def value(threshold: re.Match[str]) -> str:
        module, name, form = threshold.groups()
        file = _HERE / f"{module}.py" if module else path
        return format(_constants(file)[name], form or "")

    text = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
    return _THRESHOLD.sub(value, text)


@functools.cache
def _constants(path: pathlib.Path) -> dict[str, Any]:
    """Names to which a module gives a constant."""
    found = {}
    for node in ast.parse(path.read_text("utf-8")).body:
        target = node.targets[0] if isinstance(node, ast.Assign) else None
        if isinstance(node, ast.Assign) and isinstance(target, ast.Name):
            code = compile(ast.Expression(node.value), str(path), "eval")
            if not code.co_names:  # It depends on nothing.
                found[target.id] = eval(code)
    return found
