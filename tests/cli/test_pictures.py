"""Pictures, tables of statuses and lines of numa_maps say what the numbers behind them say."""

from __future__ import annotations

import errno
import re
from collections import Counter
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pagemig as pm
from pagemig.numa_maps import only, parse, parse_line
from pagemig.plots import CELLS_MAX, COLUMNS, Bar, bars, pages_per_cell, placement_map
from pagemig.report import Kind, kinds, tally


def drawn(svg: str) -> dict[str, set[tuple[int, int]]]:
    """The cells, as (row, column), that each class of a map covers."""
    cells: dict[str, set[tuple[int, int]]] = {}
    for path in ElementTree.fromstring(svg).iter("path"):
        found = set()
        for left, top, width in re.findall(r"M(\d+) (\d+)h(\d+)v1H\1z", path.attrib["d"]):
            found |= {(int(top), int(left) + step) for step in range(int(width))}
        cells[path.attrib["class"]] = found
    return cells


@given(st.lists(st.integers(-1, 3), max_size=5 * COLUMNS))
def test_every_page_of_a_map_is_one_cell_of_its_class(nodes: list[int]) -> None:
    """Method: read the picture back. Class -1 has no style, so it stays empty."""
    svg = placement_map(
        np.array(nodes, dtype=np.int32), {node: f"n{node}" for node in range(4)}, title="T", description="D"
    )
    expected: dict[str, set[tuple[int, int]]] = {}
    for page, node in enumerate(nodes):
        if node >= 0:
            expected.setdefault(f"n{node}", set()).add(divmod(page, COLUMNS))
    assert drawn(svg) == expected


def test_past_its_cells_a_map_shows_what_most_neighbours_are() -> None:
    """Three pages a cell: two of three decide, and of three different ones the lowest."""
    pages = 3 * CELLS_MAX
    nodes = np.tile(np.array([1, 1, 0, 2, 0, 1], dtype=np.int32), pages // 6)
    assert pages_per_cell(pages) == 3
    cells = drawn(placement_map(nodes, {0: "n0", 1: "n1", 2: "n2"}, title="T", description="D"))
    assert set(cells) == {"n0", "n1"}
    assert all(column % 2 == 0 for _, column in cells["n1"])
    assert len(cells["n0"]) == len(cells["n1"]) == CELLS_MAX // 2


def test_pictures_speak_to_those_who_do_not_see_them() -> None:
    """A title and a description, whatever is in them."""
    odd = 'a <b> & "c"'
    for svg in (
        placement_map(np.zeros(3, dtype=np.int32), {0: "n0"}, title=odd, description=odd),
        bars([Bar(odd, 1.0, odd, "n0")], title=odd, description=odd),
    ):
        root = ElementTree.fromstring(svg)
        assert [root.findtext("title"), root.findtext("desc")] == [odd, odd]
        assert root.attrib["role"] == "img"


def test_bars_are_to_scale_and_never_vanish() -> None:
    """The longest fills the width; zero is nothing; anything else can be seen."""
    rows = [Bar(str(value), value, "", "n0") for value in (1000.0, 250.0, 0.001, 0.0)]
    root = ElementTree.fromstring(bars(rows, title="T", description="D"))
    widths = [bar.attrib["width"] for bar in root.iter("rect") if bar.attrib["class"] == "n0"]
    assert widths == ["100.00%", "25.00%", "0.40%", "0.00%"]


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_a_bar_of_no_length_is_refused(value: float) -> None:
    """As is a drawing without bars."""
    with pytest.raises(pm.UsageError):
        bars([Bar("x", value, "x", "n0")], title="T", description="D")
    with pytest.raises(pm.UsageError):
        bars([], title="T", description="D")


STATUSES = {
    -errno.EACCES: Kind.SHARED,
    -errno.EAGAIN: Kind.BUSY,
    -errno.EBUSY: Kind.OFF_LRU,
    -errno.ENOENT: Kind.NOT_PRESENT,
    -errno.EFAULT: Kind.NO_MAPPING,
    -errno.EIO: Kind.FAILED,
    -errno.EINVAL: Kind.FAILED,
    -errno.ENOSPC: Kind.FAILED,
}
ENTRIES = st.lists(st.tuples(st.sampled_from([0, 1, 2, *STATUSES]), st.integers(-1, 2)), max_size=80)


@given(ENTRIES)
def test_every_entry_of_a_call_is_told_once(entries: list[tuple[int, int]]) -> None:
    """Method: count by hand; a node that the page was on before is 'already there'."""
    statuses = np.array([status for status, _ in entries], dtype=np.int32)
    before = np.array([node for _, node in entries], dtype=np.int32)
    expected: Counter[tuple[Kind, int | None]] = Counter()
    for status, node in entries:
        if status < 0:
            expected[STATUSES[status], status] += 1
        else:
            expected[Kind.ALREADY_THERE if status == node else Kind.MOVED, None] += 1
    rows = tally(statuses, before)
    assert {(row.kind, row.status): row.pages for row in rows} == expected
    assert len(rows) == len(expected)
    assert all(row.reason.endswith(".") for row in rows)
    assert [list(Kind)[number] for number in kinds(statuses, before)] == [
        STATUSES.get(status) or (Kind.ALREADY_THERE if status == node else Kind.MOVED)
        for status, node in entries
    ]


def test_a_status_is_written_as_in_the_manuals() -> None:
    """By the name of its errno; a number where it has none."""
    rows = tally(np.array([1, -13, -4000], dtype=np.int32), np.zeros(3, dtype=np.int32))
    assert [row.code for row in rows] == ["node", "-EACCES", "-4000"]


def test_statuses_and_nodes_must_be_of_one_length() -> None:
    """Told apart by position, so a difference is a mistake."""
    with pytest.raises(pm.UsageError, match="one length"):
        tally(np.zeros(3, dtype=np.int32), np.zeros(2, dtype=np.int32))


def test_a_line_of_numa_maps_is_understood() -> None:
    """A line as numa(7) describes it, with a file and its name."""
    area = parse_line("7f12a000 interleave:0-1 file=/lib/libc.so anon=3 mapped=9 mapmax=4 N0=5 N1=4")
    assert (area.start, area.policy, area.name) == (0x7F12A000, "interleave:0-1", "/lib/libc.so")
    assert (area.pages, area.nodes, area.counts["mapmax"]) == (9, {0: 5, 1: 4}, 4)


def test_what_a_task_says_of_itself_can_be_read_back() -> None:
    """Goal: the two ends of the format agree. Method: three pages on two nodes."""
    machine = pm.Machine(nodes=[pm.MiB] * 2)
    task = machine.spawn("app")
    heap = task.mmap(4 * pm.PAGE_SIZE)
    task.touch(heap[:3])
    task.move_pages(heap[1:2], 1)
    areas = {area.start: area for area in parse(task.numa_maps())}
    assert areas[heap.start].nodes == {0: 2, 1: 1}
    assert areas[heap.start].counts["anon"] == 3
    kept = only(task.numa_maps(), frozenset([heap.start]))
    assert [area.start for area in parse(kept)] == [heap.start]


@pytest.mark.parametrize("line", ["", "zz default", "1000", "1000 default anon=many", "1000 default N0=-1"])
def test_a_line_that_is_none_of_numa_maps_is_named(line: str) -> None:
    """With its number, counted from 1."""
    with pytest.raises(pm.UsageError, match=r"expected"):
        parse_line(line)
    if line:
        with pytest.raises(pm.UsageError, match=r"numa_maps line 2: "):
            parse(f"1000 default\n{line}\n")
