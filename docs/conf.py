"""How Sphinx builds these pages: `docs/build`, or the test in tests/docs/test_sphinx.py.

The pages are Markdown that reads well on a code host, too; only the reference uses directives.
"""

import sys
from pathlib import Path

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS.parent))

import flask_wshandler  # noqa: E402  # the one beside these pages

project = "flask-wshandler"
author = "the flask-wshandler authors"
project_copyright = "2026 The flask-wshandler authors"
version = release = flask_wshandler.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
source_suffix = {".md": "markdown"}
myst_heading_anchors = 3

# Docstrings have single backticks for code, as the text of the pages has.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100
add_module_names = False
toc_object_entries_show_parents = "hide"
nitpicky = True
# There is no inventory of other projects here, since building needs no network; and some types
# in signatures are not public.
nitpick_ignore_regex = [("py:(class|obj|data|func)", r".*")]

html_theme = "furo"
html_title = f"flask-wshandler {release}"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_js_files = [("tables.js", {"defer": "defer"})]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {
    "light_css_variables": {
        "color-brand-primary": "#b02c17",
        "color-brand-content": "#a82a16",
        "color-brand-visited": "#7b3a6b",
    },
    "dark_css_variables": {
        "color-brand-primary": "#ff8a70",
        "color-brand-content": "#ff8a70",
        "color-brand-visited": "#d7a0cc",
    },
}
pygments_style = "friendly"
pygments_dark_style = "monokai"


def setup(app: Sphinx) -> None:
    """Let the blocks be named after their languages also where Pygments knows none."""
    app.add_lexer("haproxy", TextLexer)
