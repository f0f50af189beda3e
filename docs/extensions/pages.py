"""The sources of pages: which are programs, in which order they are read."""

import pathlib
from collections.abc import Iterator

from sphinx.environment import BuildEnvironment

_CELL = "```{code-cell}"


def is_program(text: str) -> bool:
    """Whether the source of a page has code that the build executes."""
    return any(line.startswith(_CELL) for line in text.splitlines())


def in_order(env: BuildEnvironment, page: str = "index") -> Iterator[str]:
    """Names of pages in the order of the tables of contents.

    Args:
        env: Sphinx's environment, after all pages are read.
        page: The page to start at, which comes first.
    """
    yield page
    for included in env.toctree_includes.get(page, []):
        yield from in_order(env, included)


def source(env: BuildEnvironment, page: str) -> str:
    """The text of a page, with what extensions fill in."""
    text = [pathlib.Path(env.doc2path(page)).read_text(encoding="utf-8")]
    env.events.emit("source-read", page, text)
    return text[0]
