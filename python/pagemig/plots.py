"""Pictures of pages: small SVG drawings that live inside a web page.

Every function returns the text of one ``<svg>`` element, with a title and a description for readers
who do not see it. Colours are classes (``n0`` .. for nodes, ``k-moved`` .. for outcomes) that the page
styles, so that one drawing serves light and dark; the palette is :data:`NODE_COLOURS`, which the
colour-blind can tell apart (Okabe and Ito).

Start with :func:`placement_map`; :func:`placement_history` and :func:`shares_over_time` show the same as
time goes by, :func:`status_histogram` what a call answered. Below: numpy. Above: :mod:`pagemig.webpage`.

Left out: raster pictures.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import numpy.typing as npt

from .errors import UsageError

NODE_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#999999")
"""Colour of node 0, 1, ...; after the last the first comes again."""

COLUMNS = 128
"""Cells in a row of a map."""

CELLS_MAX = 128 * 128
"""Cells of a map; where there are more pages, one cell stands for several neighbours."""


HISTORY_ROWS = 256
"""Rows of a history; where there are more pages, one row stands for several neighbours."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of :func:`bars`: what it is, how long, what to write beside it, and its class."""

    label: str
    value: float
    text: str
    style: str


def pages_per_cell(pages: int) -> int:
    """How many neighbouring pages one cell of a map of ``pages`` pages stands for."""
    return max(1, -(-pages // CELLS_MAX))


def placement_map(
    classes: npt.NDArray[np.integer], styles: Mapping[int, str], *, title: str, description: str
) -> str:
    """Draw one cell a page, row by row in address order, coloured by class.

    Parameters
    ----------
    classes
        A small number for each page, such as its node, shape (pages,). Past :data:`CELLS_MAX` pages
        a cell has the class that is most frequent among its pages, the lowest if two are.
    styles
        The style class to draw each number in; a number that is absent here is not drawn.
    title, description
        Read out instead of the picture.

    Raises
    ------
    UsageError
        If ``classes`` is not a flat array.
    """
    if classes.ndim != 1:
        raise UsageError(f"a map needs one number a page, not an array of shape {classes.shape}")
    cells = _most_frequent(classes, pages_per_cell(len(classes)))
    rows = max(1, -(-len(cells) // COLUMNS))
    paths = []
    for number, style in styles.items():
        if path := _runs(cells == number):
            paths.append(f'<path class="{escape(style)}" d="{path}"/>')
    return (
        f'<svg class="map" viewBox="0 0 {COLUMNS} {rows}" role="img" preserveAspectRatio="xMidYMin meet" '
        f'shape-rendering="crispEdges">{_words(title, description)}'
        f'<rect class="empty" width="{COLUMNS}" height="{rows}"/>{"".join(paths)}</svg>'
    )


def _most_frequent(classes: npt.NDArray[np.integer], pages: int) -> npt.NDArray[np.int64]:
    """Give each run of ``pages`` neighbours the class that most of them have."""
    if pages == 1 or not len(classes):
        return classes.astype(np.int64)
    values, codes = np.unique(classes, return_inverse=True)
    cell_of_page = np.arange(len(classes)) // pages
    votes = np.zeros((int(cell_of_page[-1]) + 1, len(values)), dtype=np.int64)
    np.add.at(votes, (cell_of_page, codes), 1)
    most: npt.NDArray[np.int64] = values[np.argmax(votes, axis=1)].astype(np.int64)
    return most


def _runs(cells: npt.NDArray[np.bool_]) -> str:
    """Write the cells that are set, `COLUMNS` a row, as a path."""
    flat = np.zeros(-(-len(cells) // COLUMNS) * COLUMNS, dtype=np.bool_)
    flat[: len(cells)] = cells
    return _row_runs(flat.reshape(-1, COLUMNS))


def _row_runs(rows: npt.NDArray[np.bool_]) -> str:
    """Write the cells that are set as a path of one rectangle for each run within a row."""
    padded = np.zeros((rows.shape[0], rows.shape[1] + 2), dtype=np.int8)
    padded[:, 1:-1] = rows
    edges = np.diff(padded, axis=1)
    places, firsts = np.nonzero(edges == 1)
    stops = np.nonzero(edges == -1)[1]
    return "".join(
        f"M{first} {row}h{stop - first}v1H{first}z"
        for row, first, stop in zip(places.tolist(), firsts.tolist(), stops.tolist(), strict=True)
    )


def placement_history(
    classes: npt.NDArray[np.integer], styles: Mapping[int, str], *, title: str, description: str
) -> str:
    """Draw one row a page, top down in address order, and one column a moment, coloured by class.

    Parameters
    ----------
    classes
        A small number for each page at each moment, such as its node, shape (moments, pages). Past
        :data:`HISTORY_ROWS` pages a row has the class that is most frequent among its pages.
    styles, title, description
        As for :func:`placement_map`.

    Raises
    ------
    UsageError
        If ``classes`` is not such an array, or has no moment.
    """
    _require_moments(classes, "page")
    pages = max(1, -(-classes.shape[1] // HISTORY_ROWS))
    cells = np.stack([_most_frequent(moment, pages) for moment in classes], axis=1)
    rows, moments = cells.shape
    paths = []
    for number, style in styles.items():
        if path := _row_runs(cells == number):
            paths.append(f'<path class="{escape(style)}" d="{path}"/>')
    return (
        f'<svg class="map" viewBox="0 0 {moments} {max(1, rows)}" role="img" preserveAspectRatio="none" '
        f'shape-rendering="crispEdges">{_words(title, description)}'
        f'<rect class="empty" width="{moments}" height="{max(1, rows)}"/>{"".join(paths)}</svg>'
    )


def shares_over_time(
    counts: npt.NDArray[np.integer], styles: Sequence[str], *, title: str, description: str
) -> str:
    """Draw how many things are in each class at each moment, one layer upon the other.

    Parameters
    ----------
    counts
        How many, shape (moments, classes), none negative; the first class is the lowest layer.
    styles
        The style class of each.
    title, description
        Read out instead of the picture.

    Raises
    ------
    UsageError
        If ``counts`` is not such an array, or there is not one style a class.
    """
    _require_moments(counts, "class")
    if len(styles) != counts.shape[1] or (counts < 0).any():
        raise UsageError(
            f"counts of shape {counts.shape} with {len(styles)} styles; there must be one style for each "
            "class, and no count below zero"
        )
    tops = np.cumsum(counts.astype(np.int64), axis=1)
    bottoms = tops - counts
    highest = max(1, int(tops[:, -1].max(initial=0)))
    layers = []
    for at, style in enumerate(styles):
        columns = "".join(
            f"M{moment} {highest - top}h1v{top - bottom}h-1z"
            for moment, (top, bottom) in enumerate(
                zip(tops[:, at].tolist(), bottoms[:, at].tolist(), strict=True)
            )
            if top > bottom
        )
        layers.append(f'<path class="{escape(style)}" d="{columns}"/>')
    return (
        f'<svg class="shares" viewBox="0 0 {len(counts)} {highest}" role="img" preserveAspectRatio="none" '
        f'shape-rendering="crispEdges">{_words(title, description)}'
        f'<rect class="empty" width="{len(counts)}" height="{highest}"/>{"".join(layers)}</svg>'
    )


def status_histogram(statuses: npt.NDArray[np.integer], *, title: str, description: str) -> str:
    """Draw how many pages ended with each status: the nodes ascending, then the errnos as they are common.

    Parameters
    ----------
    statuses
        What ``move_pages`` wrote, shape (pages,): a node, or a negative errno. Nodes have the classes
        ``n0`` and so on, errnos ``k-failed``.
    title, description
        Read out instead of the picture.

    Raises
    ------
    UsageError
        If there is no status.
    """
    if statuses.ndim != 1 or not len(statuses):
        raise UsageError(f"a histogram needs at least one status, not an array of shape {statuses.shape}")
    values, numbers = np.unique(statuses, return_counts=True)
    found = sorted(
        zip(values.tolist(), numbers.tolist(), strict=True),
        key=lambda pair: (pair[0] < 0, pair[0] if pair[0] >= 0 else -pair[1], pair[0]),
    )
    rows = [Bar(_status(value), count, f"{count:,}", _status_style(value)) for value, count in found]
    return bars(rows, title=title, description=description)


def _status(value: int) -> str:
    if value >= 0:
        return f"on node {value}"
    return f"-{errno.errorcode[-value]}" if -value in errno.errorcode else str(value)


def _status_style(value: int) -> str:
    return f"n{value % len(NODE_COLOURS)}" if value >= 0 else "k-failed"


def _require_moments(values: npt.NDArray[np.integer], what: str) -> None:
    if values.ndim != 2 or not len(values):
        raise UsageError(f"one number a moment and {what} is needed, not an array of shape {values.shape}")


def bars(rows: Sequence[Bar], *, title: str, description: str) -> str:
    """Draw horizontal bars to one scale, each under its label.

    Lengths are shares of the width and letters keep their size, so the drawing fits a narrow screen.
    A value above zero is always visible.

    Raises
    ------
    UsageError
        If there is no row, or a value is negative or not finite.
    """
    if not rows or any(not np.isfinite(row.value) or row.value < 0 for row in rows):
        raise UsageError("bars need at least one row, and values that are finite and not negative")
    longest = max(row.value for row in rows) or 1.0
    parts = []
    for number, row in enumerate(rows):
        top = number * 46
        width = max(100 * row.value / longest, 0.4 if row.value else 0)
        parts.append(
            f'<text class="label" x="0" y="{top + 15}">{escape(row.label)}</text>'
            f'<text class="value" x="100%" y="{top + 15}" text-anchor="end">{escape(row.text)}</text>'
            f'<rect class="track" x="0" y="{top + 22}" width="100%" height="14" rx="3"/>'
            f'<rect class="{escape(row.style)}" x="0" y="{top + 22}" width="{width:.2f}%" height="14" '
            'rx="3"/>'
        )
    height = len(rows) * 46
    head = f'<svg class="bars" width="100%" height="{height}" role="img">'
    return f"{head}{_words(title, description)}{''.join(parts)}</svg>"


def _words(title: str, description: str) -> str:
    return f"<title>{escape(title)}</title><desc>{escape(description)}</desc>"
