"""How the documentation is built: Sphinx, pages in Markdown, the reference from the docstrings.

Run by ``make docs``. Pictures that a page shows are made while building, by what the page is about.
Left out: anything fetched from the network while building.
"""

import tomllib
from pathlib import Path

from sphinx.application import Sphinx

import pagemig
from pagemig.cost_picture import cost_picture

ROOT = Path(__file__).resolve().parent.parent
_project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

project = _project["name"]
release = _project["version"]
author = "the pagemig authors"
copyright = author

extensions = ["myst_parser", "numpydoc", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"{project} {release}"

myst_heading_anchors = 4
myst_enable_extensions = ["deflist"]
# The specification is prose about code: it numbers its steps, and links by label, not by page.
suppress_warnings = ["myst.header", "myst.xref_missing"]

# `touch` in a docstring is a link where it is the name of something that is drawn.
default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autosummary_generate = False
numpydoc_show_class_members = False
numpydoc_xref_param_type = True


def setup(app: Sphinx) -> None:
    """Let the pictures be made when the pages are."""
    app.connect("build-finished", draw)


def draw(app: Sphinx, failed: Exception | None) -> None:
    """Draw the shortest way to the bug of ``tutorials/finding-a-bug.md``, and what a page costs."""
    if failed is not None or app.builder.format != "html":
        return
    name = "child-first"
    finding = pagemig.gallery.explore(name).findings[0]
    folder = Path(app.outdir) / "pictures"
    folder.mkdir(exist_ok=True)
    page = pagemig.Timeline.of_finding(finding).to_html()
    (folder / f"{name}.html").write_text(page, encoding="utf-8")
    sizes = [size for power in range(5) for size in (10**power, 3 * 10**power)]
    curves = {name: pagemig.cost_curve(model, sizes) for name, model in pagemig.presets.items()}
    (folder / "cost-of-a-page.svg").write_text(cost_picture(curves), encoding="utf-8")
