"""A notebook for each page that is a program, and a link to it on the page.

The notebooks have no outputs: a reader makes them, the page shows them. Their
pictures are in them, so that each works in any folder.
"""

import base64
import functools
import pathlib
import re
from typing import Any

import nbclient
import nbformat
from docutils import nodes
from jupyter_cache.executors import utils
from myst_nb.core.read import read_myst_markdown_notebook
from sphinx.application import Sphinx

from docs.extensions import pages

LINK = "Download this page as a notebook"
_PICTURE = re.compile(r"!\[([^]]*)\]\(([^)\s]+)\)")
_PAGE = re.compile(r"(?<!!)\[([^]]*)\]\((?!https?:)([^)\s]+)\)")
_DIRECTIVE = re.compile(
    r"^(`{3,}|:{3,})\{(\w[\w-]*)\}.*?^\1[ \t]*$", re.M | re.S
)
_ROLE = re.compile(r"\{[\w:-]+\}(?=`)")


def notebook(
    path: pathlib.Path, text: str | None = None
) -> nbformat.NotebookNode:
    """Makes a notebook from the source of a page.

    Args:
        path: The page, in Markdown with code cells.
        text: Its source. Defaults to what the file has.

    Returns:
        A notebook without outputs. Links to pages that are programs lead to
        their notebooks, those to other pages are text.
    """
    found = read_myst_markdown_notebook(text or path.read_text("utf-8"))
    kernel = found.metadata["kernelspec"]
    found.metadata = nbformat.from_dict({"kernelspec": kernel})
    for number, cell in enumerate(found.cells):
        cell.id = f"cell-{number}"  # The same at each build
        cell.metadata = nbformat.from_dict({})
        if cell.cell_type == "markdown":
            text = _ROLE.sub("", _DIRECTIVE.sub("", cell.source))
            text = _PAGE.sub(lambda link: _in_notebook(link, path.parent), text)
            cell.source = _with_pictures(text, cell, path.parent)
    nbformat.validate(found)
    return found


def _in_notebook(link: re.Match[str], folder: pathlib.Path) -> str:
    """A link between pages as one between notebooks, or its text."""
    text, target = link.groups()
    page = folder / target.partition("#")[0]
    name = page.stem.replace("_", " ")
    # Of a page that is missing, Sphinx warns.
    if page.is_file() and pages.is_program(page.read_text("utf-8")):
        return f"[{text or name}]({target.replace('.md', '.ipynb')})"
    return text or name


def _with_pictures(text: str, cell: Any, folder: pathlib.Path) -> str:
    """The text of a cell, with its pictures as attachments of the cell."""

    def attached(picture: re.Match[str]) -> str:
        path = folder / picture[2]
        content = base64.b64encode(path.read_bytes()).decode()
        cell.setdefault("attachments", {})[path.name] = {"image/png": content}
        return f"![{picture[1]}](attachment:{path.name})"

    return _PICTURE.sub(attached, text)


def executed(app: Sphinx, page: str) -> pathlib.Path:
    """Where the build keeps a page that it has executed, with its outputs.

    Args:
        app: Sphinx.
        page: The name of the page.
    """
    return pathlib.Path(app.doctreedir, "executed", f"{page}.ipynb")


def setup(app: Sphinx) -> dict[str, Any]:
    """Links as pages are read; writes as the build ends."""
    app.connect("builder-inited", _prepare, priority=900)
    app.connect("doctree-read", _link)
    app.connect("build-finished", _write)
    return {"parallel_read_safe": True}


def _prepare(app: Sphinx) -> None:
    """Sets what MyST-NB has no settings for."""
    env: Any = app.env
    # By default it is beside the output, where builds would share it.
    folder = str(executed(app, "index").parent)
    env.mystnb_config = env.mystnb_config.copy(output_folder=folder)
    # What a cell prints bit by bit, as progress bars do, is one text.
    utils.executenb = functools.partial(nbclient.execute, coalesce_streams=True)


def _link(app: Sphinx, document: nodes.document) -> None:
    """Puts a link to the notebook below the title of a page."""
    page = app.env.docname
    is_program = pages.is_program(pages.source(app.env, page))
    if page == app.config.root_doc or not is_program:
        return
    target = f"{page.rpartition('/')[2]}.ipynb"
    link = nodes.reference("", LINK, refuri=target, internal=False)
    (title, *_) = document.findall(nodes.title)
    title.parent.insert(1, nodes.paragraph("", "", link, classes=["notebook"]))


def _write(app: Sphinx, error: Exception | None) -> None:
    """Writes the notebooks beside the pages."""
    if error or app.builder.format != "html":
        return
    for page in sorted(app.env.found_docs):
        text = pages.source(app.env, page)
        if pages.is_program(text):
            made = notebook(pathlib.Path(app.env.doc2path(page)), text)
            nbformat.write(made, pathlib.Path(app.outdir, f"{page}.ipynb"))
