"""How the documentation is built: Sphinx, pages in Markdown, the reference from the docstrings.

Run by ``make docs``. Pictures that a page shows are made while building, by what the page is about.
Left out: anything fetched from the network while building.
"""

import re
import sys
import tomllib
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

import pagemig
import pagemig.report
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
autodoc_preserve_defaults = True
autosummary_generate = False
numpydoc_show_class_members = False
numpydoc_xref_param_type = True
# A type in a section is a link to the package's own, unless another room has one of that name.
_elsewhere = {*pagemig.inputs.__all__, *pagemig.report.__all__}
numpydoc_xref_aliases = {name: f"pagemig.{name}" for name in pagemig.__all__ if name not in _elsewhere}
numpydoc_xref_aliases |= {"Report": "pagemig.Report", "bool": "bool"}


def setup(app: Sphinx) -> None:
    """Let signatures be short, members stand as they are read, and pictures be made when the pages are."""
    app.connect("autodoc-process-signature", shorten)
    app.connect("doctree-read", put_in_order, priority=100)  # before the table of contents is made
    app.connect("build-finished", draw)


# What Python makes of the annotations of arrays, which have shorter names.
_ARRAY_LIKE = re.compile(r"~numpy\._typing\S+_Buffer \| .*?_NestedSequence\[complex \| bytes \| str\]")
_ARRAY = re.compile(r"~numpy\.ndarray\[tuple\[~typing\.Any, \.\.\.\], ~numpy\.dtype\[([^]]*)\]\]")


def shorten(
    _app: Sphinx, _what: str, _name: str, _value: object, _how: object, told: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    """Call arrays by their name, and say nothing of what a handle is made of: a verb makes it."""
    if told is not None and told.startswith("(system: "):
        return "", returns
    return _with_arrays(told), _with_arrays(returns)


def _with_arrays(text: str | None) -> str | None:
    if text is None:
        return None
    return _ARRAY.sub(r"~numpy.typing.NDArray[\1]", _ARRAY_LIKE.sub("~numpy.typing.ArrayLike", text))


def put_in_order(_app: Sphinx, page: nodes.document) -> None:
    """Put the members of a class as they stand in the source, those of the classes below it last."""
    for drawn in page.findall(addnodes.desc):
        if drawn["objtype"] != "class":
            continue
        kind = getattr(sys.modules[drawn[0]["module"]], drawn[0]["fullname"], None)
        below = getattr(kind, "__mro__", ())
        names = [name for one in below for name in (*vars(one).get("__annotations__", ()), *vars(one))]
        content = drawn[-1]
        members = [
            (content[at - 1], content[at])  # each with its entries of the index
            for at in range(1, len(content))
            if isinstance(content[at], addnodes.desc)
        ]
        if members and all(_name(member) in names for _, member in members):
            first = content.index(members[0][0])
            members.sort(key=lambda pair: names.index(_name(pair[1])))
            content[first:] = [node for pair in members for node in pair]


def _name(member: addnodes.desc) -> str:
    return str(member[0]["fullname"]).rpartition(".")[2]


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
