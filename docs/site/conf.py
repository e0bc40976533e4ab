"""Settings of Sphinx for the documentation site. ``make docs`` runs it."""

from __future__ import annotations

import inspect
import re
import warnings
from typing import Any

import scrae

PROSE = "Returned"

project = "scRAE"
author = "The scRAE authors"
version = release = scrae.__version__
copyright = author

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
]
root_doc = "index"
templates_path = ["templates"]
exclude_patterns = []
pygments_style = "default"
nitpicky = True
# Classes of other packages: their pages lie elsewhere, and the site is built without a network.
nitpick_ignore_regex = [
    (r"py:class", r"(?!scrae\.[A-Z]).*"),
    (r"py:(meth|attr|func|mod|data|class)", r"scrae\.(autoencoder|clusters|posthoc|regularisers|compute|networks)\..*"),
    (r"py:(meth|attr|func|mod|data|class)", r"scrae\.(pp|tl|metrics|pl|data|model)\.\w+(\..*)?"),
]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4
nb_execution_mode = "cache"
nb_execution_timeout = 600
nb_execution_raise_on_error = True
nb_merge_streams = True
nb_execution_show_tb = True

autosummary_generate = True
autodoc_typehints = "none"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
python_maximum_signature_line_length = 88
napoleon_google_docstring = False
napoleon_custom_sections = [PROSE]
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

html_theme = "furo"
html_title = f"scRAE {release}"
html_static_path = ["static"]
html_favicon = "static/scrae.svg"
html_css_files = ["scrae.css"]
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#08519c", "color-brand-content": "#08519c"},
    "dark_css_variables": {"color-brand-primary": "#7fb3e6", "color-brand-content": "#7fb3e6"},
}
html_show_sphinx = False

warnings.filterwarnings("ignore", category=DeprecationWarning)


def returns_as_text(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Give the section "Returns", which is prose, another name: napoleon would take each of its lines for a type."""
    for at, line in enumerate(lines[:-1]):
        if line == "Returns" and re.fullmatch("-+", lines[at + 1]):
            lines[at] = PROSE


def returns_by_name(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Give that section its name back, once napoleon is through."""
    lines[:] = [line.replace(f".. rubric:: {PROSE}", ".. rubric:: Returns") for line in lines]


def short_defaults(app: Any, what: str, name: str, obj: Any, options: Any, signature: str, returned: str) -> Any:
    """No types in signatures: those of other packages are long, and the text says what each parameter is."""
    return (signature, None) if what in ("function", "method", "class") and inspect.isroutine(obj) else None


def setup(app: Any) -> None:
    app.connect("autodoc-process-docstring", returns_as_text, priority=100)
    app.connect("autodoc-process-docstring", returns_by_name, priority=900)
    app.connect("autodoc-process-signature", short_defaults)
