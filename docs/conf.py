"""How the site is built: `sphinx-build -W --keep-going -n docs docs/_build/html`."""

import itertools
import os
import re
import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS), str(DOCS.parent)]  # the checkout, whatever is installed

import api_pages  # noqa: E402

import seqjax  # noqa: E402

project = "seqjax"
author = "the seqjax authors"
copyright = author
version = release = seqjax.__version__

extensions = [
    "formulas",
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["_build"]
nitpicky = True
# Names of Python and of other libraries, which are not looked up: the build needs no network.
nitpick_ignore_regex = [("py:.*", r"(?!seqjax\b).*")]

myst_enable_extensions = ["amsmath", "deflist", "dollarmath"]
myst_heading_anchors = 4

# Notebooks are run when they have changed since the last build.
nb_execution_mode = "cache"
nb_execution_timeout = 600  # seconds a cell
nb_execution_raise_on_error = True
nb_merge_streams = True
nb_output_stderr = "remove"  # lines of epochs
# Their kernels take the checkout, as this build does, and the quickest compilation.
os.environ["PYTHONPATH"] = str(DOCS.parent)
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

default_role = "literal"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints = "none"  # docstrings state shapes, which types do not
napoleon_numpy_docstring = False
napoleon_attr_annotations = False
napoleon_use_ivar = True
python_maximum_signature_line_length = 80

html_math_renderer = "mathml"
html_theme = "furo"
html_title = f"seqjax {release}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False


def as_written(app, what, name, obj, options, lines: list[str]) -> None:
    """Shows a docstring as it is written: equations keep their lines, and signs mean themselves.

    An indented block between paragraphs is literal.
    """
    kinds, kind, above = [], "text", ""
    for line in lines:
        indent = len(line) - len(line.lstrip())
        ends = not line.strip() if kind == "doctest" else line.strip() and indent < 4
        if ends:
            kind = "text"
        if kind == "text" and line.lstrip().startswith(">>>"):
            kind = "doctest"
        elif kind == "text" and indent == 4 and above and above[0] != " ":
            kind = "literal"
        kinds.append(kind)
        above = line or above
    shown = []
    for kind, group in itertools.groupby(zip(kinds, lines, strict=True), key=lambda each: each[0]):
        text = "\n".join(line for _, line in group)
        if kind == "text":
            text = api_pages.plain(text)
        elif kind == "literal" and not "".join(shown[-2:]).endswith("::"):
            shown += ["::", ""]
        shown += text.split("\n")
    lines[:] = shown


def skip_fields(app, what, name, obj, skip, options) -> bool | None:
    """Leaves out the fields of a `NamedTuple`, which its docstring describes."""
    return True if type(obj).__name__ == "_tuplegetter" else None


def copy_notebooks(app) -> None:
    """Copies the notebooks, in Markdown, to where their links lead to the pages of the site."""
    (DOCS / "notebooks").mkdir(exist_ok=True)
    for path in (DOCS.parent / "notebooks").glob("*.md"):
        text = path.read_text("utf-8").replace("](../docs/", "](../")
        text = re.sub(r"\]\((\w+)\.ipynb", r"](\1.md", text)
        api_pages.replace(DOCS / "notebooks" / path.name, text)


def setup(app) -> None:
    """Writes the pages of API and notebooks, and reads docstrings as they are written here."""
    app.connect("builder-inited", lambda app: api_pages.write_pages(DOCS / "api"))
    app.connect("builder-inited", copy_notebooks)
    app.connect("autodoc-process-docstring", as_written, priority=100)
    app.connect("autodoc-skip-member", skip_fields)
