"""Pages load nothing from the network: they are read from a folder, too."""

import pathlib
import re
from typing import Any

from sphinx.application import Sphinx
from sphinx.util import logging

_LOADED = re.compile(
    r"""<(?:script|img|iframe|source)\b[^>]*\bsrc=["']?((?:https?:)?//[^"'\s>]+)
    |<link\b(?=[^>]*rel=["']?(?:stylesheet|preload|icon|modulepreload))
     [^>]*\bhref=["']?((?:https?:)?//[^"'\s>]+)
    |(?:@import\s|url\()\s*["']?((?:https?:)?//[^"'\s)>]+)""",
    re.VERBOSE,
)


def loaded(html: str) -> list[str]:
    """The addresses that a browser asks for to show a page.

    Args:
        html: The page. Links that a reader may follow do not count.
    """
    return [next(filter(None, found)) for found in _LOADED.findall(html)]


def setup(app: Sphinx) -> dict[str, Any]:
    """Looks at all pages as the build ends."""
    app.connect("build-finished", _check)
    return {"parallel_read_safe": True}


def _check(app: Sphinx, error: Exception | None) -> None:
    """Warns of what comes from the network; `-W` makes it an error."""
    if error or app.builder.format != "html":
        return
    log = logging.getLogger(__name__)
    for page in sorted(pathlib.Path(app.outdir).rglob("*.html")):
        for address in loaded(page.read_text(encoding="utf-8")):
            log.warning("%s loads %s from the network.", page, address)
