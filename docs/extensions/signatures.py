"""Signatures as they are shown: annotations by their short names."""

import re
from typing import Any

import numpy.typing
from sphinx.application import Sphinx
from sphinx.util.inspect import signature, stringify_signature
from sphinx.util.typing import stringify_annotation

# Sphinx shows what stands behind this name, in six lines.
_ARRAY_LIKE = stringify_annotation(numpy.typing.ArrayLike, "smart")


def shortened(text: str) -> str:
    """Writes `ArrayLike` where Sphinx wrote the union that it is.

    Args:
        text: Parameters or a return, with annotations.
    """
    return text.replace(_ARRAY_LIKE, "ArrayLike")


def plain(value: Any) -> str:
    """The signature of a function or class as text, without modules.

    Args:
        value: What can be called.
    """
    text = stringify_signature(signature(value), unqualified_typehints=True)
    return re.sub(r"~(?:\w+\.)+", "", shortened(text))


def setup(app: Sphinx) -> dict[str, Any]:
    """Asks for each signature."""
    app.connect("autodoc-process-signature", _process)
    return {"parallel_read_safe": True}


def _process(
    app: Sphinx,
    what: str,
    name: str,
    subject: Any,
    options: Any,
    signature: str | None,
    returns: str | None,
) -> tuple[str | None, str | None]:
    """A signature with short annotations."""
    return (
        signature and shortened(signature),
        returns and shortened(returns),
    )
