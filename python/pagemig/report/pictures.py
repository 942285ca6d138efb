"""The pictures of a report's page: statuses, placement before and after, placement on the way.

Below: `pagemig.plots`, which draws. Above: `.page`. Each function answers with HTML, or with nothing
where there is nothing to see.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..plots import (
    COLUMNS,
    NODE_COLOURS,
    placement_history,
    placement_map,
    shares_over_time,
    status_histogram,
)
from .text import histogram

if TYPE_CHECKING:
    from .run import Placement, RegionReport, Report

REGIONS_MAX = 24
"""Regions that are drawn; a page with more would not be looked at."""

ROWS = 8
"""Rows of cells that a small region is drawn with."""


def colours() -> str:
    """Say the colour of every node, and of what failed."""
    rules = {f"n{number}": colour for number, colour in enumerate(NODE_COLOURS)} | {"k-failed": "#d55e00"}
    return "\n".join(
        f".pmr .{style} {{ fill: {colour}; background: {colour}; }}" for style, colour in rules.items()
    )


def statuses(report: Report) -> str:
    """Draw how many pages ended with each status."""
    listed = [status for call in report.calls for status in call.statuses or ()]
    if not listed:
        return ""
    said = ", ".join(f"{pages} x {status}" for status, pages in report.statuses.items())
    drawn = status_histogram(
        np.array(listed, dtype=np.int32), title="Pages by status", description=f"Of all calls: {said}."
    )
    return f"<figure>{drawn}<figcaption>{len(listed):,} statuses of all calls together.</figcaption></figure>"


def placement(report: Report) -> str:
    """Draw every region before and after."""
    shown = [region for region in report.regions if region.before.nodes][:REGIONS_MAX]
    parts = []
    for region in shown:
        name = f"{region.task}.{region.name}"
        pair = "".join(
            _map(name, when, where) for when, where in (("before", region.before), ("after", region.after))
        )
        parts.append(f'<h3>{escape(name)}: {_moves(region)}</h3><div class="pair">{pair}</div>')
    left = len(report.regions) - len(shown)
    more = f'<p class="soft">{left} more regions are not drawn.</p>' if shown and left else ""
    return "\n".join(parts) + more


def _moves(region: RegionReport) -> str:
    pages = len(region.after.nodes)
    return f"{region.moved:,} of {pages:,} page{'' if pages == 1 else 's'} in another frame"


def _map(name: str, when: str, where: Placement) -> str:
    drawn = placement_map(
        _broad(np.array(where.nodes, dtype=np.int32)),
        _styles(where.nodes),
        title=f"{name} {when} the calls",
        description=histogram(where.histogram),
    )
    return f"<figure><h3>{when}</h3>{drawn}{_legend(where.nodes)}</figure>"


def _broad(nodes: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Give each page of a small region several cells: alone it would be a dot."""
    cells = COLUMNS // len(nodes) if len(nodes) else 0
    if cells < 2:
        return nodes
    row = np.full(COLUMNS, -1, dtype=np.int32)
    row[: cells * len(nodes)] = np.repeat(nodes, cells)
    return np.tile(row, ROWS)


def _styles(nodes: Iterable[int]) -> dict[int, str]:
    return {node: _style(node) for node in sorted(set(nodes)) if node >= 0}


def _style(node: int) -> str:
    return f"n{node % len(NODE_COLOURS)}" if node >= 0 else "empty"


def _name(node: int) -> str:
    return "not present" if node < 0 else f"node {node}"


def _legend(nodes: Iterable[int]) -> str:
    counts = Counter(nodes)
    items = "".join(
        f'<li><i class="{_style(node)}"></i>{_name(node)}: {count:,} page{"" if count == 1 else "s"}</li>'
        for node, count in sorted(counts.items())
    )
    return f'<ul class="legend">{items}</ul>'


def on_the_way(report: Report) -> str:
    """Draw where the pages of all regions were as the calls went on."""
    history = report.history()
    if history is None or len(history.steps) < 2 or not history.nodes[0]:
        return ""
    nodes = np.array([np.asarray(moment, dtype=np.int8) for moment in history.nodes])
    there = sorted({node for moment in nodes for node in np.unique(moment).tolist()})
    counts = np.stack([(nodes == node).sum(axis=1) for node in there], axis=1)
    said = "; ".join(
        f"{_name(node)} {counts[0, at]} to {counts[-1, at]} pages" for at, node in enumerate(there)
    )
    rows = placement_history(
        nodes,
        _styles(there),
        title="Where every page was, from the first step to the last",
        description=f"One row a page, one column a look: {said}.",
    )
    layers = shares_over_time(
        counts,
        [_style(node) for node in there],
        title="How many pages each node had, from the first step to the last",
        description=f"{said}.",
    )
    last = history.steps[-1]
    ticks = "".join(f"<span>{step:,}</span>" for step in dict.fromkeys((0, last // 2, last)))
    key = "".join(f'<li><i class="{_style(node)}"></i>{_name(node)}</li>' for node in there)
    foot = f'<div class="ticks">{ticks}</div><ul class="legend">{key}</ul>'
    return (
        f'<div class="pair"><figure><h3>Every page</h3><div class="history">{rows}</div>{foot}'
        f"<figcaption>One row a page, one column a look, {len(history.steps)} looks at {last:,} steps, "
        "seen again one at a time."
        f"</figcaption></figure><figure><h3>Every node</h3>{layers}{foot}"
        f"<figcaption>How many pages each node has.</figcaption></figure></div>"
    )
