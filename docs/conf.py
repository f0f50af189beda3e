"""How Sphinx builds the documentation; `CONTRIBUTING.md` has the command."""

import re

import gdtrain

project = "gdtrain"
author = "the authors of gdtrain"
release = gdtrain.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["_build"]
default_role = "code"  # Docstrings have one backtick around names.

myst_heading_anchors = 3

# Each tutorial is a program: it runs at each build, and an error ends it.
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 170
nb_merge_streams = True

autodoc_typehints = "none"  # The signature has them.
autodoc_member_order = "bysource"
autosummary_generate = True
autosummary_ignore_module_all = False
templates_path = ["_templates"]

html_theme = "pydata_sphinx_theme"
html_title = "gdtrain"

ROW = re.compile(r"^\|(.*)\|$")


def tables_of_markdown(app, what, name, subject, options, lines):
    """Docstrings have tables as Markdown has, which reads well in an editor."""
    found = []
    for line in lines:
        row = ROW.match(line)
        if row is None:
            found.append(line)
        elif set(line) <= set("|-: "):
            found[-1:] = [".. list-table::", "   :header-rows: 1", "", found[-1]]
        else:
            cells = [cell.strip() for cell in row[1].split("|")]
            found.append(
                "\n".join(
                    ("   * - " if not place else "     - ") + cell
                    for place, cell in enumerate(cells)
                )
            )
    lines[:] = "\n".join(found).split("\n")


def setup(app):
    app.connect("autodoc-process-docstring", tables_of_markdown, priority=100)
