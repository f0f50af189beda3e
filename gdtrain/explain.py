"""`python -m gdtrain explain`: more about a message, verdict or quantity.

It imports nothing that imports TensorFlow, so that the answer comes at once:
docstrings are read from the files of their modules.
"""

import ast
import difflib
import pathlib
import re
from collections.abc import Iterator, Sequence

from gdtrain.common import explained
from gdtrain.common.command_line import Parser
from gdtrain.diagnosis import entries

_HERE = pathlib.Path(__file__).parent
_LINK = re.compile(r"\[([^]]*)\]\((?:\.\./)*([^)]*)\)")
_NEAR = 0.5  # How like a name another one must be to be suggested
_WORDS = 4  # A text of so many words is a message, not a name.

_EXAMPLES = """\
examples:
  python -m gdtrain explain                  all names
  python -m gdtrain explain worker-lost      a message that ends with this
  python -m gdtrain explain overfitting      a verdict of gdtrain.diagnose
  python -m gdtrain explain gradient_norm    a quantity of telemetry
"""


def main(arguments: Sequence[str]) -> None:
    """Prints a page, or the names of all.

    Args:
        arguments: What follows `explain`.

    Raises:
        SystemExit: with code 2 and one line on standard error, if there is no
            such page.
    """
    parser = Parser(
        prog="python -m gdtrain explain",
        description="Says more about a message, a verdict or a quantity.",
        epilog=_EXAMPLES,
    )
    parser.add_argument(
        "name",
        metavar="NAME",
        nargs="*",
        help="what the last line of a message names; the name of a verdict or "
        "a quantity; or a message",
    )
    name = " ".join(parser.parse_args(arguments).name)
    if not name:
        print(_overview())
        return
    try:
        print(text_of(name))
    except ValueError as error:
        parser.exit(2, f"error: {error}\n")


def text_of(name: str) -> str:
    """What there is to say about a message, a verdict or a quantity.

    Args:
        name: A topic of `gdtrain.common.explained`, or the name of a verdict
            or a quantity.

    Returns:
        A text of some lines, without a line break at the end.

    Raises:
        ValueError: if there is no such name, with those that are near.

    Example:

    >>> print(text_of("gradient_norm").splitlines()[2])
    Euclidean norm of the gradient: whole model, and each layer.
    """
    if name in explained.topics():
        page = explained.page(name).rstrip()
        return _LINK.sub(r"\1 (docs/\2)", page)
    documented = entries.docstrings() | quantities()
    if name in documented:
        return f"# {name}\n\n{documented[name]}"
    near = _near(name, [*explained.topics(), *documented])
    advice = "`python -m gdtrain explain` lists all."
    if near:
        advice = f"Near it: {', '.join(near)}. {advice}"
    raise ValueError(f"There must be a page of this name: {name!r}. {advice}")


def quantities() -> dict[str, str]:
    """What is documented of each quantity, by name.

    Example:

    >>> quantities()["loss"].splitlines()[0]
    "The loss of the step's batch, before the update."
    """
    found = {}
    for path in sorted((_HERE / "telemetry").glob("[!_]*.py")):
        module = ast.parse(path.read_text(encoding="utf-8"))
        for node in module.body:
            name = _constants(node).get("name")
            if isinstance(node, ast.ClassDef) and name:
                found[name] = ast.get_docstring(node) or ""
    return found


def _constants(node: ast.AST) -> dict[str, str]:
    """Texts that the body of a module or a class gives a name."""
    return {
        target.id: one.value.value
        for one in getattr(node, "body", ())
        if isinstance(one, ast.Assign)
        and isinstance(one.value, ast.Constant)
        and isinstance(one.value.value, str)
        for target in one.targets
        if isinstance(target, ast.Name)
    }


def _near(name: str, names: Sequence[str]) -> list[str]:
    """Names that may be meant: near the name, or of pages with its words."""
    words = set(_words(name))
    if len(words) < _WORDS:
        known = {one.lower(): one for one in names}
        near = difflib.get_close_matches(name.lower(), known, 3, _NEAR)
        parts = [one for one in names if words & set(_words(one))]
        return list(dict.fromkeys([*(known[one] for one in near), *parts]))[:4]
    shares = {
        topic: len(words.intersection(_words(explained.page(topic))))
        for topic in explained.topics()
    }
    return sorted(shares, key=lambda topic: -shares[topic])[:3]


def _words(text: str) -> Iterator[str]:
    return (word[0].lower() for word in re.finditer(r"[A-Za-z]{3,}", text))


def _overview() -> str:
    """All names, in lines of a title or the first line of a docstring."""
    parts = {
        "What messages name:": explained.topics(),
        "Verdicts of gdtrain.diagnose:": entries.docstrings(),
        "Quantities of telemetry:": quantities(),
    }
    width = 1 + max(len(name) for part in parts.values() for name in part)
    return "\n\n".join(
        "\n".join(
            [title]
            + [
                f"  {name:{width}} {text.partition(chr(10))[0]}"
                for name, text in part.items()
            ]
        )
        for title, part in parts.items()
    )
