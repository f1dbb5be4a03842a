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
