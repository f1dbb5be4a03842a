"""Sphinx settings of the manual: `make docs` builds it without warnings."""

from neurolm import __version__

project = "neurolm"
author = "the neurolm developers"
release = __version__
extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode", "sphinx.ext.mathjax", "myst_parser"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = f"neurolm {release}"
exclude_patterns = ["_build"]
napoleon_google_docstring = False
autodoc_typehints = "description"
autodoc_member_order = "bysource"
nitpicky = False


def _space_out_fields(app, what, name, obj, options, lines):
    """Short docstrings list fields as `name : meaning`, line under line: give each a paragraph of its own."""
    import re

    if any(set(line) == {"-"} for line in lines):
        return  # numpydoc sections are napoleon's
    for i in range(len(lines) - 1, 0, -1):
        if re.match(r"\w[\w, ]* : \S", lines[i]):
            lines.insert(i, "")


def setup(app):
    app.connect("autodoc-process-docstring", _space_out_fields, priority=100)
