"""A small documentation that the project's extensions build."""

import base64
import json

import nbclient
import nbformat
import pytest
from sphinx.application import Sphinx

from docs.extensions import notebooks, offline, one_file, pages
from tests.docs import sources

HEADER = """\
---
jupytext:
  text_representation:
    extension: .md
    format_name: myst
kernelspec:
  display_name: Python 3
  language: python
  name: python3
---

"""
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9"
    "awAAAABJRU5ErkJggg=="
)
INDEX = "# Small\n\nIn a word. More.\n\n```{toctree}\none\nreference\n```\n"
ONE = (
    HEADER
    + """\
# One

See [the next](reference.md) and [](one.md#two), {term}`x`.
![A pixel](pixel.png)

```{code-cell} ipython3
:tags: [remove-stderr]
print(1 + 1)
```

:::{note}
Mind.
:::

## Two

```{code-cell} ipython3
:tags: [remove-input]
"an" + "swer"
```
"""
)
REFERENCE = "# Reference\n\n## Title\n\n|a|\n|-|\n\nAll names.\n"
PROGRAMS = [
    page for page in sources.pages() if "{code-cell}" in str(page.blocks)
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with pages."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "index.md").write_text(INDEX)
    (folder / "one.md").write_text(ONE.replace(", {term}`x`", ""))
    (folder / "reference.md").write_text(REFERENCE)
    (folder / "pixel.png").write_bytes(PIXEL)
    return folder


@pytest.fixture(scope="module")
def built(folder, tmp_path_factory):
    """The folder of what was built, and the warnings."""
    out = tmp_path_factory.mktemp("built")
    warnings = out / "warnings.txt"
    names = "notebooks", "offline", "one_file"
    settings = {
        "extensions": ["myst_nb", *(f"docs.extensions.{one}" for one in names)],
        "myst_enable_extensions": ["colon_fence"],
        "myst_heading_anchors": 3,
        "nb_execution_mode": "off",
    }
    with warnings.open("w") as file:
        Sphinx(
            folder,
            None,
            out,
            out / "doctrees",
            "html",
            settings,
            status=None,
            warning=file,
        ).build()
    return out, warnings.read_text()


def test_nothing_is_wrong(built):
    assert built[1] == ""


def test_a_program_links_to_its_notebook(built):
    html = (built[0] / "one.html").read_text()
    assert f'href="one.ipynb">{notebooks.LINK}</a>' in html
    assert notebooks.LINK not in (built[0] / "reference.html").read_text()
    found = nbformat.read(built[0] / "one.ipynb", as_version=4)
    nbformat.validate(found)


def test_notebook_is_whole_and_has_no_outputs(folder, tmp_path):
    (tmp_path / "one.md").write_text(ONE)
    for name in ("reference.md", "pixel.png"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    found = notebooks.notebook(tmp_path / "one.md")
    text, code, title, last = found.cells
    assert text.source == (
        "# One\n\nSee the next and [one](one.ipynb#two), `x`.\n"
        "![A pixel](attachment:pixel.png)"
    )
    assert list(text.attachments) == ["pixel.png"]
    assert (code.source, code.outputs) == ("print(1 + 1)", [])
    assert title.source.strip() == "## Two"
    assert found.metadata["kernelspec"]["name"] == "python3"
    assert notebooks.notebook(tmp_path / "one.md") == found


def test_index_for_programs(built):
    assert (built[0] / "llms.txt").read_text().startswith("# gdtrain\n\n> In")
    lines = (built[0] / "llms.txt").read_text().splitlines()
    assert lines[-1] == "- [Reference](reference.md): All names."
    assert (built[0] / "reference.md").read_text() == REFERENCE


def test_all_in_one_file(built):
    text = (built[0] / "llms-full.txt").read_text()
    places = [text.index(one) for one in ("# Small", "# One", "# Reference")]
    assert places == sorted(places)
    assert "toctree" not in text and "kernelspec" not in text


def test_page_has_what_its_code_printed(tmp_path):
    found = notebooks.read_myst_markdown_notebook(ONE)
    text = "\x1b[1m2\x1b[0m\n"  # In bold
    stream = nbformat.v4.new_output("stream", name="stdout", text=text)
    noise = nbformat.v4.new_output("stream", name="stderr", text="hum\n")
    value = {"text/plain": "'answer'"}
    figure = nbformat.v4.new_output(
        "display_data", {"text/plain": "<Figure>", "image/png": "AAAA"}
    )
    thing = nbformat.v4.new_output(
        "display_data", {"text/plain": "<a.Thing at 0x7f73e8dc4d10>"}
    )
    found.cells[1].outputs = [noise, stream, figure, thing]
    found.cells[3].outputs = [nbformat.v4.new_output("display_data", value)]
    nbformat.write(found, tmp_path / "one.ipynb")
    text = one_file.page(ONE, tmp_path / "one.ipynb")
    assert "```python\nprint(1 + 1)\n```\n\n```text\n2\n```" in text
    assert '"swer"' not in text and "```text\n'answer'\n```" in text
    assert "hum" not in text


def test_docstring_has_signature_methods_and_example():
    class Counter:
        """Counts.

        Example:

        >>> Counter()(2)
        2
        """

        __module__ = "gdtrain.counter"

        def __init__(self, start: int = 0) -> None:
            self.start = start

        def __call__(self, by: int) -> int:
            """Counts on."""
            return self.start + by

    Counter.__call__.__module__ = "gdtrain.counter"
    text = one_file.docstring("gdtrain.Counter", Counter)
    assert text.startswith("## gdtrain.Counter\n\n```python\nCounter(start")
    assert "```pycon\n>>> Counter()(2)\n2\n```" in text
    assert "### gdtrain.Counter.__call__" in text


@pytest.mark.parametrize(
    ("html", "addresses"),
    [
        ('<script src="https://a.b/c.js"></script>', ["https://a.b/c.js"]),
        ('<link rel="stylesheet" href="//a.b/c.css">', ["//a.b/c.css"]),
        ('<link href="https://a.b/c" rel="icon">', ["https://a.b/c"]),
        ("@import url('https://a.b/c.css');", ["https://a.b/c.css"]),
        ('<img alt="x" src="http://a.b/c.png"/>', ["http://a.b/c.png"]),
        ('<a href="https://a.b">a</a> <img src="c.png">', []),
        ('<link rel="canonical" href="https://a.b">', []),
    ],
)
def test_what_a_browser_loads(html, addresses):
    assert offline.loaded(html) == addresses


@pytest.mark.mostly_long("docs/tutorial/1_line.md")
@pytest.mark.parametrize("page", PROGRAMS, ids=lambda page: page.name)
def test_notebook_runs_in_a_fresh_kernel(page, tmp_path):
    found = notebooks.notebook(page.path)
    client = nbclient.NotebookClient(
        found, timeout=300, resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()  # Raises the error of a cell
    assert all(one.execution_count for one in found.cells if one.get("outputs"))
    assert json.dumps(found)


def test_programs_are_told_from_other_pages():
    assert pages.is_program(ONE) and not pages.is_program(REFERENCE)
