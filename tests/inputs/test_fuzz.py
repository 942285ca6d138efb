"""Whatever a file of /proc or a capture holds, it is understood or refused in one line, and never half."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pagemig as pm
from pagemig.inputs import AddressSpace, Area, capture, load, load_report
from pagemig.numa_maps import parse
from tests.inputs.conftest import DATA

Changes = list[tuple[int, bytes, int]]
changes = st.lists(
    st.tuples(
        st.integers(0, 1 << 16),
        st.one_of(
            st.binary(max_size=4), st.sampled_from([b"\n", b" ", b"-", b"f", b"0", b"=", b"N0=9", b"kB"])
        ),
        st.integers(0, 4),
    ),
    min_size=1,
    max_size=4,
)


def changed(content: bytes, made: Changes) -> bytes:
    """The content with some bytes replaced, inserted or taken out."""
    for at, new, dropped in made:
        where = at % (len(content) + 1)
        content = content[:where] + new + content[where + dropped :]
    return content


@given(name=st.sampled_from(["maps", "smaps", "numa_maps", "comm", "pagemap"]), made=changes)
def test_a_process_whose_files_are_mutated_is_captured_or_refused(
    tmp_path_factory: pytest.TempPathFactory, name: str, made: Changes
) -> None:
    """What is captured is a checked value: it goes through JSON, and onto a machine or is refused there."""
    root = tmp_path_factory.mktemp("proc")
    shutil.copytree(DATA / "proc" / "4242", root / "4242")
    words = np.zeros(0x80, dtype=np.uint64)
    words[0x10:0x30] = np.uint64(1 << 63)
    if name == "pagemap":
        words.tofile(root / "4242" / "pagemap")
    path = root / "4242" / name
    path.write_bytes(changed(path.read_bytes(), made))
    try:
        space, said = capture(4242, proc=root), ""
    except pm.UsageError as refused:
        space, said = None, str(refused)
    if space is None:
        assert said and "\n" not in said
        return
    assert AddressSpace.from_json(space.to_json()) == space
    assert put(space)


def put(space: AddressSpace) -> bool:
    """Load a space on a small machine: all that was promised is there, or nothing has changed."""
    machine = pm.Machine(nodes=[pm.MiB, pm.MiB], swap=64 * pm.PAGE_SIZE)
    try:
        report = load_report(space, machine)
        task = load(machine, space)
    except pm.UsageError as refused:
        assert "\n" not in str(refused)
        return machine.tasks == () and machine.files == ()
    counters = task.counters
    assert (counters.anon, counters.file) == (report.anonymous, report.of_files)
    return machine.audit() == []


NAMES = ("", "[heap]", "/lib/x", "/lib/y", "/dev/shm/q", "/dev/zero (deleted)", "/dev/d")


@st.composite
def areas(draw: st.DrawFn) -> Area:
    """One area of 32 pages of any kind, with any pages."""
    kinds = [draw(st.sampled_from("-racs")) for _ in range(32)]
    told: dict[str, list[tuple[int, int]]] = {"r": [], "a": [], "s": []}
    for page, kind in enumerate(kinds):
        for sort in {"r": "r", "a": "ra", "s": "s"}.get(kind, ""):
            told[sort].append((page, 1))
    shared = draw(st.booleans())
    return Area(
        0,
        32 * pm.PAGE_SIZE,
        draw(st.sampled_from(["rw-", "r--", "---", "-w-", "r-x", "rwx"])),
        shared,
        draw(st.sampled_from([0, 8])) * pm.PAGE_SIZE,
        draw(
            st.sampled_from(["", "[heap]", "/lib/x", "/lib/y", "/dev/shm/q", "/dev/zero (deleted)", "/dev/d"])
        ),
        tuple(told["r"]),
        () if shared else tuple(told["a"]),
        tuple(told["s"]),
        (),
        *draw(st.sampled_from([("", 0), ("fe:00", 5), ("fe:00", 6), ("00:1f", 5)])),
    )


@given(made=st.lists(areas(), max_size=5), gap=st.sampled_from([0, 32]))
def test_any_address_space_is_loaded_as_the_report_says(made: list[Area], gap: int) -> None:
    """Every kind of area, side by side or apart, twice on one machine: counts agree, invariants hold."""
    placed = []
    for number, area in enumerate(made):
        start = (16 + number * (32 + gap)) * pm.PAGE_SIZE
        rest = (area.protection, area.shared, area.offset, area.name)
        pages = (area.resident, area.anonymous, area.swapped, (), area.device, area.inode)
        placed.append(Area(start, start + area.length, *rest, *pages))
    space = AddressSpace(7, "any", tuple(placed))
    machine = pm.Machine(nodes=[8 * pm.MiB, 8 * pm.MiB], swap=4 * pm.MiB)
    for _ in range(2):
        report = load_report(space, machine)
        free = sum(machine.zone_counters(node)["nr_free_pages"] for node in machine.nodes)
        task = load(machine, space)
        counters = task.counters
        assert (counters.anon, counters.file) == (report.anonymous, report.of_files)
        left = sum(machine.zone_counters(node)["nr_free_pages"] for node in machine.nodes)
        assert free - left <= report.frames
        # Side by side, two areas that were opened alike become one, as mprotect makes them.
        regions = [(region.start, region.length) for region in task.regions]
        assert not gap or regions == [(area.start, area.length) for area in report.areas]
    assert machine.audit() == []


@given(made=changes)
def test_mutated_numa_maps_are_parsed_or_refused_with_the_line(made: Changes) -> None:
    """Our reader of the text, on real lines."""
    text = changed((DATA / "proc" / "4242" / "numa_maps").read_bytes(), made).decode("latin-1")
    try:
        parsed, said = parse(text), ""
    except pm.UsageError as refused:
        parsed, said = (), str(refused)
    assert said.startswith("numa_maps line ") if said else all(area.pages >= 0 for area in parsed)


@given(
    content=st.binary(max_size=200), name=st.sampled_from(["t.json", "t.json.gz", "t.json.xz", "t.json.zst"])
)
def test_any_bytes_are_no_capture(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, name: str
) -> None:
    """The file is named, in one line."""
    path: Path = tmp_path_factory.mktemp("bytes") / name
    path.write_bytes(content)
    with pytest.raises(pm.UsageError) as refused:
        AddressSpace.load(path)
    assert str(refused.value).startswith(f"{path}: ") and "\n" not in str(refused.value)
