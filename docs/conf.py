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


def tables(lines):
    """Docstrings have tables as Markdown has, which reads well in an editor."""
    found, header = [], 0
    for number, line in enumerate(lines):
        row = ROW.match(line)
        if row is None:
            found.append(line)
        elif set(line) <= set("|-: "):
            found[header:header] = [".. list-table::", "   :header-rows: 1", ""]
        else:
            if not ROW.match(lines[number - 1]):
                header = len(found)
            first, *others = (cell.strip() for cell in row[1].split("|"))
            found += [f"   * - {first}", *(f"     - {one}" for one in others)]
    return found


def formulas(lines):
    """An indented paragraph of a docstring is shown as it is."""
    found, before = [], ""
    for number, line in enumerate(lines):
        is_first = line.startswith("    ") and not lines[number - 1].strip()
        if is_first and not before.startswith(" "):
            found += ["::", ""]
        found.append(line)
        before = line if line.strip() else before
    return found


def docstring(app, what, name, subject, options, lines):
    lines[:] = tables(formulas(lines))


def setup(app):
    app.connect("autodoc-process-docstring", docstring, priority=100)
