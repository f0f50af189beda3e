"""Messages that name a page with more about them, and these pages.

A page is a Markdown file in the folder `pages`, named after its topic. The
command `python -m gdtrain explain` prints it; the documentation shows it.
"""

import pathlib

from gdtrain.common import notebook

_PAGES = pathlib.Path(__file__).parent / "pages"
_COMMAND = "python -m gdtrain explain"


def more(topic: str) -> str:
    """The last line of a message, which says how to read more.

    Args:
        topic: Of a page. It is written out where a message is made, so that a
            search for it finds all messages of a page.

    Returns:
        A line break and the command; in a notebook, as a cell runs it.

    Example:

    >>> more("worker-lost")
    '\\nMore: python -m gdtrain explain worker-lost'
    """
    shell = "!" if notebook.is_running() else ""
    return f"\nMore: {shell}{_COMMAND} {topic}"


def without_more(message: str) -> tuple[str, str]:
    """A message, and the line that `more` added to it; `""` if there is none.

    Example:

    >>> without_more("It is full." + more("writing-stopped"))
    ('It is full.', 'More: python -m gdtrain explain writing-stopped')
    """
    text, _, command = message.partition("\nMore: ")
    return text, f"More: {command}" if command else ""


def topics() -> dict[str, str]:
    """The title of each page, by topic, in the order of the alphabet.

    Example:

    >>> topics()["worker-lost"]
    'A worker is lost'
    """
    titles = {}
    for path in sorted(_PAGES.glob("*.md")):
        with open(path, encoding="utf-8") as file:
            titles[path.stem] = file.readline().removeprefix("# ").rstrip()
    return titles


def page(topic: str) -> str:
    """The text of a page, in Markdown.

    Args:
        topic: One of `topics`.

    Example:

    >>> print(page("worker-lost")[:18])
    # A worker is lost
    """
    return (_PAGES / f"{topic}.md").read_text(encoding="utf-8")
