"""Sphinx: how the site is made of the pages that `stage.py` laid together.

See docs/decisions/0021-docs-site.md.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY), str(Path(__file__).parent)]

from links import lead_into_the_site  # noqa: E402
from pygments.lexers.special import TextLexer  # noqa: E402

from monailabel_app import __version__  # noqa: E402

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "MONAI Label app: U-Net, V-Net, breast density"
author = "the authors of the repository"
version = release = __version__
language = "en"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_click"]
root_doc = "index"
include_patterns = ["*.md", "docs/**.md", "reference/**"]
exclude_patterns = ["docs/site/**"]
nitpicky = False  # types of other libraries are named in docstrings, and have no page here
show_warning_types = True

myst_enable_extensions = ["attrs_inline"]
myst_heading_anchors = 4  # `page.md#a-heading`, as on the pages of a repository
myst_links_external_new_tab = False

default_role = "code"  # docstrings write `name` for code
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "mixed"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

html_theme = "furo"
html_title = f"{project} {__version__}"
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}


def setup(app: Sphinx) -> None:
    """Follow links of the pages into the code; show as text what nothing here draws or colours."""
    for language in ("mermaid", "csv"):  # diagrams would need a script
        app.add_lexer(language, TextLexer)
    app.connect("source-read", lead_into_the_site)
