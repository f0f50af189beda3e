"""The public names of gdtrain, and links from annotations to their pages."""

import functools
import inspect
import types
from collections.abc import Iterator
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

import gdtrain


@functools.cache
def public_names() -> dict[str, Any]:
    """What each public name is, by its dotted name: `gdtrain.Model`.

    It is what the `__all__` of gdtrain lists, and that of each module in it.
    """
    return dict(_names_of(gdtrain))


def _names_of(module: types.ModuleType) -> Iterator[tuple[str, Any]]:
    """The names in `__all__` of a module, and of the modules among them."""
    for name in module.__all__:
        value = getattr(module, name)
        yield f"{module.__name__}.{name}", value
        if inspect.ismodule(value):
            yield from _names_of(value)


def public_name(private: str) -> str | None:
    """The public name of what is defined as `private`.

    Args:
        private: Module and name where it is defined:
            `gdtrain.telemetry.quantity.Quantity`.

    Returns:
        `gdtrain.telemetry.Quantity`, or None for what is not public.
    """
    for name, value in public_names().items():
        module = getattr(value, "__module__", None)
        if f"{module}.{getattr(value, '__qualname__', '')}" == private:
            return name
    return None


def setup(app: Sphinx) -> dict[str, Any]:
    """Resolves the links that Sphinx cannot."""
    app.connect("missing-reference", _link)
    return {"parallel_read_safe": True}


def _link(
    app: Sphinx,
    env: BuildEnvironment,
    node: pending_xref,
    contents: nodes.TextElement,
) -> nodes.reference | None:
    """A link to the page of a class that an annotation names."""
    if node.get("refdomain") != "py" or node.get("reftype") == "mod":
        return None
    name = public_name(node["reftarget"])
    if name is None:
        return None
    return env.domains["py"].resolve_xref(
        env, node["refdoc"], app.builder, "obj", name, node, contents
    )
