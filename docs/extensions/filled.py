"""Pages that are filled in as Sphinx reads them."""

import pathlib
from collections.abc import Callable, Iterable

from sphinx.application import Sphinx


def fill(
    app: Sphinx,
    name: str,
    page: Callable[[str], str],
    sources: Iterable[pathlib.Path],
) -> None:
    """Puts something in the place of the source of a page.

    Args:
        app: Sphinx.
        name: Of the page, without its suffix.
        page: Takes the source as it is written, and returns another one.
        sources: Files that the page is made of: it is read again where one
            of them has changed.
    """
    files = [str(path) for path in sources]

    def read(app: Sphinx, read_name: str, source: list[str]) -> None:
        if read_name == name:
            for file in files:
                app.env.note_dependency(file)
            source[0] = page(source[0])

    app.connect("source-read", read)
