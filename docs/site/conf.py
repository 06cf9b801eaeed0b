"""Sphinx: `make docs` builds this site with warnings as errors, offline."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import pages  # noqa: E402

from isthmus import __version__  # noqa: E402

project = "Isthmus"
author = "The Isthmus developers"
copyright = author
version = release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "numpydoc"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
numpydoc_show_class_members = False
autosummary_generate = False
numpydoc_class_members_toctree = False
autodoc_typehints = "none"
html_theme = "furo"
html_title = f"Isthmus {__version__}"
html_copy_source = False
html_show_sourcelink = False
html_permalinks = True
# nothing from elsewhere: the pages open on a machine without a network
html_js_files: list[str] = []
html_css_files: list[str] = []


def setup(app):
    """What follows from the code is written anew at every build."""
    pages.write(HERE / "generated", HERE.parents[1])
