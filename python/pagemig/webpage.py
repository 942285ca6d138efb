"""One self-contained web page about a move: no script, no style sheet, no picture from elsewhere.

Start with :func:`demonstration_page`, which fills ``pages/demo.html`` with the pictures of
:mod:`pagemig.plots`. It reads well from 400 to 1280 pixels and wider, light and dark, and without
colours. Below: :mod:`pagemig.demo`, :mod:`pagemig.plots`, jinja2 (extra ``cli``). Above: the command
line.

Left out: pages about scenarios and explorations.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .demo import Demonstration
from .errors import UsageError
from .numa_maps import parse
from .plots import CELLS_MAX, NODE_COLOURS, Bar, bars, pages_per_cell, placement_map
from .report import Kind, kinds

try:
    import jinja2
    from markupsafe import Markup
except ModuleNotFoundError as missing:
    raise UsageError("this page needs jinja2, install it with: pip install 'pagemig[cli]'") from missing

_KIND_STYLES = {
    Kind.MOVED: ("k-moved", "var(--moved)"),
    Kind.ALREADY_THERE: ("k-already", "#56b4e9"),
    Kind.SHARED: ("k-shared", "#d55e00"),
    Kind.BUSY: ("k-busy", "#f0e442"),
    Kind.OFF_LRU: ("k-off-lru", "#cc79a7"),
    Kind.NOT_PRESENT: ("k-absent", "#009e73"),
    Kind.NO_MAPPING: ("k-nowhere", "#0072b2"),
    Kind.FAILED: ("k-failed", "#e69f00"),
}


@dataclass(frozen=True, slots=True)
class _Picture:
    heading: str
    drawing: Markup
    legend: tuple[_Entry, ...]
    caption: str


@dataclass(frozen=True, slots=True)
class _Entry:
    style: str
    text: str


def demonstration_page(shown: Demonstration, *, command: str, colophon: str) -> str:
    """Return the whole page as HTML.

    Parameters
    ----------
    shown
        What to show.
    command
        What a person types to make the page again.
    colophon
        One line about versions and builds.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pagemig", "pages"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    moved = shown.count(Kind.MOVED)
    return environment.get_template("demo.html").render(
        headline=f"{moved:,} pages moved to node {shown.target}, in {_duration(shown)}",
        story=_story(shown),
        note=shown.refused,
        tiles=_tiles(shown),
        scale=_scale(len(shown.before)),
        pictures=_maps(shown),
        call=f"One move_pages call by the program itself: {shown.asked:,} addresses, every one of them to go "
        f"to node {shown.target}, only pages that no other process maps (MPOL_MF_MOVE).",
        outcomes=_rows(shown),
        histogram=Markup(_histogram(shown)),
        speed=Markup(_speed(shown)),
        speed_caption=_speed_caption(shown),
        numa_maps_before=shown.numa_maps_before,
        numa_maps_after=shown.numa_maps_after,
        totals=_totals(shown),
        cost=[
            {"name": name.replace("_", " "), "count": f"{count:,}", "each": f"{count / shown.asked:.2f}"}
            for name, count in shown.cost.items()
        ],
        audit="Every rule of the audit holds: counts, flags, lists, page tables and counters agree."
        if not shown.findings
        else f"{len(shown.findings)} rules are broken:",
        findings=shown.findings,
        colours=_colours(),
        command=command,
        colophon=colophon,
    )


def _duration(shown: Demonstration) -> str:
    return f"{shown.ns_per_page * shown.asked / 1e6:.2f} ms"


def _story(shown: Demonstration) -> str:
    return (
        f"This is the heap of {shown.program}: {len(shown.before):,} pages of 4 KiB, loaded onto a simulated "
        f"machine of four NUMA nodes that behaves like Linux 2.6.34. Parts of it lived on other nodes. One "
        f"task shared some of its pages, another had pinned some. Then the program asked for all of it to be "
        f"moved to node {shown.target}; below is what the kernel would have done with every page, and why."
    )


def _tiles(shown: Demonstration) -> list[dict[str, str]]:
    share = shown.count(Kind.MOVED) / len(shown.before)
    stayed = shown.count(Kind.SHARED) + shown.count(Kind.BUSY)
    tiles = [
        {"figure": f"{share:.1%}", "meaning": f"of the heap moved to node {shown.target}"},
        {"figure": f"{shown.count(Kind.ALREADY_THERE):,}", "meaning": "pages were there already"},
        {"figure": f"{stayed:,}", "meaning": "pages had to stay: shared or pinned"},
        {"figure": f"{shown.ns_per_page:.0f} ns", "meaning": "for each page, whole simulated migration"},
    ]
    if shown.host_ns_per_page is not None:
        tiles.append(
            {
                "figure": f"{shown.host_ns_per_page:.0f} ns",
                "meaning": "for each page, host kernel just looking it up",
            }
        )
    return tiles


def _scale(pages: int) -> str:
    each = pages_per_cell(pages)
    if each == 1:
        return "One cell is one page: row by row, in the order of their addresses."
    return (
        f"One cell is {each} neighbouring pages in address order, in the colour of most of them "
        f"(a picture has up to {CELLS_MAX:,} cells)."
    )


def _maps(shown: Demonstration) -> list[_Picture]:
    drawn = [
        _node_map(
            "Before", shown.before, "As the program was captured, after parts of it had moved earlier."
        ),
        _node_map("After", shown.after, f"What is not on node {shown.target} now had to stay where it was."),
    ]
    of_page = kinds(shown.statuses[: len(shown.before)], shown.before)
    counts = Counter(of_page.tolist())
    styles = {number: _KIND_STYLES[kind][0] for number, kind in enumerate(Kind) if counts[number]}
    names = {number: kind.value for number, kind in enumerate(Kind)}
    said = ", ".join(f"{counts[number]:,} {names[number]}" for number in styles)
    drawn.append(
        _Picture(
            "Why each page is where it is",
            Markup(
                placement_map(
                    of_page, styles, title="What became of every page of the heap", description=f"{said}."
                )
            ),
            tuple(_Entry(style, f"{names[number]}, {counts[number]:,}") for number, style in styles.items()),
            "Grey went through. The coloured ones tell why they did not have to, or could not.",
        )
    )
    return drawn


def _node_map(heading: str, nodes: npt.NDArray[np.int32], caption: str) -> _Picture:
    counts = Counter(nodes.tolist())
    styles = {node: _node_style(node) for node in sorted(counts) if node >= 0}
    said = ", ".join(f"{counts[node]:,} on node {node}" for node in styles)
    drawing = placement_map(
        nodes, styles, title=f"Pages of the heap by node, {heading.lower()} the move", description=f"{said}."
    )
    return _Picture(
        heading,
        Markup(drawing),
        tuple(_Entry(style, f"node {node}, {counts[node]:,}") for node, style in styles.items()),
        caption,
    )


def _node_style(node: int) -> str:
    return f"n{node % len(NODE_COLOURS)}"


def _colours() -> dict[str, str]:
    nodes = {f"n{number}": colour for number, colour in enumerate(NODE_COLOURS)}
    return nodes | dict(_KIND_STYLES.values()) | {"s-ours": "#0072b2", "s-host": "#e69f00"}


def _rows(shown: Demonstration) -> list[dict[str, str]]:
    return [
        {
            "style": _KIND_STYLES[row.kind][0],
            "name": row.kind.value,
            "code": f"node {shown.target}" if row.status is None else row.code,
            "pages": f"{row.pages:,}",
            "reason": row.reason,
        }
        for row in shown.outcomes
    ]


def _histogram(shown: Demonstration) -> str:
    rows = [
        Bar(row.kind.value, row.pages, f"{row.pages:,}", _KIND_STYLES[row.kind][0]) for row in shown.outcomes
    ]
    said = ", ".join(f"{row.text} {row.label}" for row in rows)
    return bars(rows, title="How many addresses ended in each way", description=f"{said}.")


def _speed(shown: Demonstration) -> str:
    rows = [Bar("pagemig moves a page", shown.ns_per_page, f"{shown.ns_per_page:.0f} ns", "s-ours")]
    if shown.host_ns_per_page is not None:
        host = shown.host_ns_per_page
        rows.append(Bar("this host's kernel looks a page up", host, f"{host:.0f} ns", "s-host"))
    said = "; ".join(f"{row.label}: {row.text}" for row in rows)
    return bars(rows, title="Nanoseconds for each page", description=f"{said}.")


def _speed_caption(shown: Demonstration) -> str:
    ours = "Ours is the whole simulated migration, ten passes over the pinned pages included."
    if shown.host_ns_per_page is None:
        return f"{ours} This host's kernel would not say where its own pages are."
    return f"{ours} The host's is one move_pages call, in this run, that only asks where its pages are."


def _totals(shown: Demonstration) -> list[dict[str, str]]:
    before: Counter[int] = Counter()
    after: Counter[int] = Counter()
    for text, total in ((shown.numa_maps_before, before), (shown.numa_maps_after, after)):
        for area in parse(text):
            total.update(area.nodes)
    return [
        {
            "node": str(node),
            "style": _node_style(node),
            "before": f"{before[node]:,}",
            "after": f"{after[node]:,}",
        }
        for node in sorted(set(before) | set(after) | set(range(4)))
    ]
