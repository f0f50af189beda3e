"""How Sphinx builds the documentation; `CONTRIBUTING.md` has the command."""

import os
import pathlib
import sys

ROOT = pathlib.Path(__file__).parents[1]
# This folder's gdtrain, here and in the kernels that execute pages
sys.path.insert(0, str(ROOT))
paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
os.environ["PYTHONPATH"] = os.pathsep.join(paths)
os.environ["JUPYTER_PATH"] = str(ROOT / "docs" / "kernels")

import examples._quiet  # noqa: E402, F401
import gdtrain  # noqa: E402
from docs.extensions.members import members_of_classes  # noqa: E402

project = "gdtrain"
author = "the authors of gdtrain"
release = gdtrain.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "docs.extensions.docstrings",
    "docs.extensions.errors",
    "docs.extensions.notebooks",
    "docs.extensions.offline",
    "docs.extensions.one_file",
    "docs.extensions.public_names",
    "docs.extensions.quantities",
    "docs.extensions.signatures",
    "docs.extensions.verdicts",
]
exclude_patterns = ["_build"]
default_role = "code"  # Docstrings have one backtick around names.

myst_enable_extensions = ["attrs_block", "colon_fence"]
myst_heading_anchors = 3

# Each page with code is a program: it runs at each build, in an empty folder.
# An error ends the build, and so does what a page writes to stderr.
nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 170
nb_output_stderr = "warn"

autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
autosummary_context = {"members_of_classes": members_of_classes()}
autosummary_generate = True
autosummary_ignore_module_all = False
python_maximum_signature_line_length = 68
templates_path = ["_templates"]

html_theme = "pydata_sphinx_theme"
html_theme_options = {
    "navbar_align": "left",
    "navbar_end": ["theme-switcher"],
    "navbar_persistent": ["search-button"],
    "secondary_sidebar_items": ["page-toc"],
    "show_nav_level": 2,
    "footer_start": [],
    "footer_end": [],
}
html_title = "gdtrain"
html_sidebars = {"index": []}
html_static_path = ["_static"]
html_css_files = ["gdtrain.css"]
html_show_sourcelink = False
html_copy_source = False
