"""The reference of messages, made of the pages that `explain` prints."""

import pathlib

from sphinx.application import Sphinx

from gdtrain.common import explained

_INTRODUCTION = """\
# Messages

An error or a warning that has more to say than fits ends with a line such as
`More: python -m gdtrain explain worker-lost`. That command prints one of these
pages, without a network; in a notebook, write `!` before it. Without a name it
lists all pages, and it knows verdicts (`explain overfitting`) and quantities
(`explain gradient_norm`), too.
"""


def text() -> str:
    """All pages on one, each below an anchor of the name of its topic."""
    parts = [_INTRODUCTION]
    for topic in explained.topics():
        parts.append(f"({topic})=\n#{explained.page(topic)}")
    return "\n".join(parts)


def write(app: Sphinx) -> None:
    """Writes the page, unless it is there as it would be written."""
    path = pathlib.Path(app.srcdir, "reference", "errors.md")
    found = path.read_text(encoding="utf-8") if path.exists() else ""
    if found != text():
        path.write_text(text(), encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx; pages are read after this."""
    app.connect("builder-inited", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
