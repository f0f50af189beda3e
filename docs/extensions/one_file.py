"""The documentation for programs that read: `llms.txt` and `llms-full.txt`.

The first is an index as https://llmstxt.org describes it, the second all pages
and docstrings in one file. Each page that it links to is Markdown, too.
"""

import inspect
import pathlib
import re
from collections.abc import Iterator
from typing import Any

import nbformat
from myst_nb.core.read import read_myst_markdown_notebook
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

import gdtrain
from docs.extensions import members, notebooks, pages, signatures
from docs.extensions.public_names import public_names

_DIRECTIVE = re.compile(
    r"^(`{3,}|:{3,})\{(?:toctree|eval-rst)\}.*?^\1[ \t]*\n?", re.M | re.S
)
_CODE = re.compile(r"^```.*?^```", re.M | re.S)
_COLOR = re.compile(r"\x1b\[[0-9;]*m")  # Of a terminal
_ADDRESS = re.compile(r"^<.* at 0x[0-9a-f]+>\n", re.M)  # Of an object
_NO_PROSE = ("#", "|", "(", "!")
_EXAMPLE = re.compile(r"^>>> .*?(?=\n\n|\Z)", re.M | re.S)


def page(text: str, executed: pathlib.Path) -> str:
    """A page in plain Markdown.

    Args:
        text: How the page is written.
        executed: The notebook that the build made of it, if the page is a
            program.

    Returns:
        What a reader sees: text, code, and the text that the code printed.
    """
    if executed.exists():
        found = nbformat.read(executed, as_version=4)
    else:
        found = read_myst_markdown_notebook(text)
    return "\n\n".join(filter(None, map(_cell, found.cells))) + "\n"


def _cell(cell: Any) -> str:
    """A cell of a notebook in Markdown."""
    if cell.cell_type == "markdown":
        return _DIRECTIVE.sub("", cell.source).strip()
    tags = set(cell.metadata.get("tags", ()))
    parts = []
    if not tags & {"remove-cell", "remove-input"}:
        parts.append(f"```python\n{cell.source}\n```")
    if not tags & {"remove-cell", "remove-output"}:
        output = "".join(map(_output, cell.outputs)).rstrip()
        parts += [f"```text\n{output}\n```"] if output else []
    return "\n\n".join(parts)


def _output(output: Any) -> str:
    """What a cell printed or returned, as text; empty for pictures."""
    if output.output_type == "stream":
        text = output.text if output.name == "stdout" else ""
    else:
        data = output.get("data", {})
        is_picture = any(kind.startswith("image/") for kind in data)
        text = "" if is_picture else f"{data.get('text/plain', '')}\n"
    return _ADDRESS.sub("", _COLOR.sub("", text))


def docstring(name: str, value: Any) -> str:
    """The reference of a public name in Markdown.

    Args:
        name: The name with its module.
        value: A class or a function. A class comes with its methods, those of
            Keras left out.
    """
    parts = [f"## {name}", *_documented(name.rpartition(".")[2], value)]
    if inspect.isclass(value):
        for member in members.members(value):
            parts.append(f"### {name}.{member}")
            parts += _documented(member, getattr(value, member))
    return "\n\n".join(parts) + "\n"


def _documented(name: str, value: Any) -> Iterator[str]:
    """Signature and docstring."""
    if callable(value) and not _is_error(value):
        yield f"```python\n{name}{signatures.plain(value)}\n```"
    text = inspect.getdoc(value) or ""
    yield _EXAMPLE.sub(r"```pycon\n\g<0>\n```", text)


def _is_error(value: Any) -> bool:
    """Whether it is a class of errors: Python knows no signature of them."""
    return inspect.isclass(value) and issubclass(value, BaseException)


def first_sentence(text: str) -> str:
    """The first sentence of Markdown, on one line.

    Args:
        text: Titles, tables, code and labels before the sentence are skipped.
    """
    paragraphs = re.split(r"\n\s*\n", _CODE.sub("", text).strip())
    prose = [one for one in paragraphs if not one.startswith(_NO_PROSE)]
    return " ".join(re.split(r"(?<=[.!?])\s", (prose or [""])[0])[0].split())


def setup(app: Sphinx) -> dict[str, Any]:
    """Writes as the build ends."""
    app.connect("build-finished", _write)
    return {"parallel_read_safe": True}


def _write(app: Sphinx, error: Exception | None) -> None:
    """Writes the two files, and Markdown beside each page."""
    if error or app.builder.format != "html":
        return
    out = pathlib.Path(app.outdir)
    texts = dict(_texts(app))
    for name, text in texts.items():
        (out / f"{name}.md").write_text(text, encoding="utf-8")
    index = "\n".join(_index(app.env, texts)) + "\n"
    (out / "llms.txt").write_text(index, encoding="utf-8")
    (out / "llms-full.txt").write_text("\n".join(texts.values()), "utf-8")


def _texts(app: Sphinx) -> Iterator[tuple[str, str]]:
    """Names of pages and their Markdown, in order."""
    for name in dict.fromkeys(pages.in_order(app.env)):
        if name.startswith("reference/generated/"):
            public = name.rpartition("/")[2]
            value = public_names()[public]
            if not inspect.ismodule(value):
                yield name, docstring(public, value)
        else:
            source = pages.source(app.env, name)
            yield name, page(source, notebooks.executed(app, name))


def _index(env: BuildEnvironment, texts: dict[str, str]) -> Iterator[str]:
    """The lines of `llms.txt`."""
    yield f"# gdtrain\n\n> {first_sentence(texts['index'])}\n"
    yield f"Version {gdtrain.__version__}. All pages are in `llms-full.txt`."
    for name, text in texts.items():
        title = env.titles[name].astext()
        public = name.rpartition("/")[2]
        if public in public_names():
            title, text = public, inspect.getdoc(public_names()[public]) or ""
        if name.endswith("/index"):
            yield f"\n## {title}\n"
        if name != "index":
            yield f"- [{title}]({name}.md): {first_sentence(text)}"
