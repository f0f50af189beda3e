"""Results in a notebook: small tables, and pictures."""

import base64
import contextlib
import html
import importlib
import io
import sys
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import Any

MOST_ROWS = 30
_DPI = 80
_NO_SIGN = "\N{REPLACEMENT CHARACTER}"


def is_running() -> bool:
    """Whether this process runs the cells of a notebook.

    Example:

    >>> is_running()
    False
    """
    # Programs that execute notebooks import ipykernel, too, and start none.
    kernel = sys.modules.get("ipykernel.kernelapp")
    return kernel is not None and kernel.IPKernelApp.initialized()


def show(result: Any, *parts: Callable[[], str]) -> str:
    """The HTML of a result, from parts of which each may fail alone.

    A notebook shows it instead of `repr`. For a part that fails, its error is
    shown; if all fail, the result is shown as text.

    Args:
        result: What is shown.
        *parts: Functions that return HTML, or `""` for nothing.

    Returns:
        A `<div>`, well-formed.

    Example:

    >>> show(3, lambda: table(["x"], [["<b>"]]))[:40]
    '<div><table><thead><tr><th style="text-a'
    """
    shown, failed = [], []
    for part in parts:
        try:
            shown.append(part())
        except Exception as error:  # Whatever a writer or Matplotlib raises
            failed.append(paragraph(f"Left out: {_words(error)}"))
    if not any(shown):
        shown = [f"<pre>{escape(_words(result))}</pre>"]
    return f"<div>{''.join([*shown, *failed])}</div>"


def nothing_shown() -> contextlib.AbstractContextManager:
    """Within it, nothing is shown in a notebook; what is printed is.

    `rich`, with which Keras prints summaries, shows an empty output where it
    is asked for a text.

    Example:

    >>> with nothing_shown():
    ...     print("printed")
    printed
    """
    if "IPython" not in sys.modules:
        return contextlib.nullcontext()
    capture = importlib.import_module("IPython.utils.capture")
    return capture.capture_output(stdout=False, stderr=False)


def table(header: Sequence[Any], rows: Iterable[Sequence[Any]]) -> str:
    """A table of texts and numbers; rows beyond 30 are counted.

    Args:
        header: The names of the columns.
        rows: Cells, which become text.
    """
    rows = list(rows)
    head = _cells("th", header)
    body = "".join(f"<tr>{_cells('td', row)}</tr>" for row in rows[:MOST_ROWS])
    more = len(rows) - MOST_ROWS
    left_out = paragraph(f"and {more:,} more rows") if more > 0 else ""
    return (
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        f"{left_out}"
    )


def paragraph(text: str) -> str:
    """A paragraph of plain text."""
    return f"<p>{escape(text)}</p>"


def picture(draw: str, result: Any) -> str:
    """A picture of a result, as part of the HTML; `""` without Matplotlib.

    Args:
        draw: The name of a function of `gdtrain.plots`.
        result: What it draws.
    """
    try:
        # Imported only for a picture: Matplotlib is an extra.
        plots = importlib.import_module("gdtrain.plots")
    except ImportError:
        return ""
    page = io.BytesIO()
    getattr(plots, draw)(result).savefig(page, format="png", dpi=_DPI)
    data = base64.b64encode(page.getvalue()).decode("ascii")
    return f'<img alt="{escape(draw)}" src="data:image/png;base64,{data}"/>'


def escape(text: Any) -> str:
    """Text escaped for HTML, without control characters.

    Example:

    >>> escape('<a> & "b"')
    '&lt;a&gt; &amp; &quot;b&quot;'
    """
    return html.escape(
        "".join(sign if _is_shown(sign) else _NO_SIGN for sign in str(text))
    )


def _is_shown(sign: str) -> bool:
    """Whether a browser may have a character; `str.isprintable` has too few.

    macOS puts a narrow no-break space into names of screenshots, and joined
    emoji and several scripts need the zero-width joiners.
    """
    return (
        sign.isprintable()
        or sign in "\n\u200c\u200d"
        or unicodedata.category(sign) == "Zs"
    )


def _cells(tag: str, row: Sequence[Any]) -> str:
    """The cells of a row."""
    start = f'<{tag} style="text-align: left">'
    return "".join(f"{start}{escape(cell)}</{tag}>" for cell in row)


def _words(thing: Any) -> str:
    """A thing as text; its type, if it has no text."""
    try:
        return f"{thing}" or type(thing).__name__
    except Exception:  # A broken result is shown nevertheless.
        return f"a {type(thing).__name__}"
