"""One reader for the host's own files and for ours: what parses the one parses the other.

The readers here are written from numa(7) and proc(5) alone, and share nothing with the package.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import pagemig as pm

POLICY = re.compile(r"(default|local|(prefer|bind|interleave)(=(static|relative))?:\d+(-\d+)?(,\d+(-\d+)?)*)")
COUNTS = ("anon", "dirty", "mapped", "mapmax", "swapcache", "active", "writeback")
"""What proc says of an area, in the order in which it stands."""


def numa_maps(text: str) -> list[tuple[int, str, list[str], dict[str, int], dict[int, int]]]:
    """Address, policy, what the area is, counts and pages by node of each line."""
    found = []
    for line in text.splitlines():
        address, policy, *words = line.split(" ")
        assert re.fullmatch("[0-9a-f]{8,16}", address), line
        marks = [word for word in words if "=" not in word or word.startswith("file=")]
        assert all(mark in ("heap", "stack", "huge") or mark.startswith("file=") for mark in marks), line
        pairs = [word.split("=") for word in words if word not in marks]
        assert all(len(pair) == 2 and pair[1].isdigit() for pair in pairs), line
        counts = {key: int(value) for key, value in pairs if not re.fullmatch(r"N\d+", key)}
        nodes = {int(key[1:]): int(value) for key, value in pairs if re.fullmatch(r"N\d+", key)}
        keys = [key for key in counts if key in COUNTS]
        assert keys == sorted(keys, key=COUNTS.index), line
        assert list(nodes) == sorted(nodes) and all(nodes.values()), line
        total = sum(nodes.values())
        assert counts.get("anon", 0) <= total and counts.get("active", 0) < max(total, 1), line
        assert counts.get("mapmax", 2) > 1, line
        found.append((int(address, 16), policy, marks, counts, nodes))
    assert [row[0] for row in found] == sorted(row[0] for row in found)
    return found


def vmstat(text: str) -> dict[str, int]:
    """Counters by name."""
    pairs = [re.fullmatch(r"([a-z0-9_]+) (-?\d+)", line) for line in text.splitlines()]
    assert pairs and all(pairs)
    return {pair[1]: int(pair[2]) for pair in pairs if pair is not None}


def zoneinfo(text: str) -> dict[tuple[int, str], dict[str, int]]:
    """Of each zone what stands in lines of a name and a number."""
    zones: dict[tuple[int, str], dict[str, int]] = {}
    for line in text.splitlines():
        if head := re.fullmatch(r"Node (\d+), zone +([A-Za-z0-9]+)", line):
            here = zones.setdefault((int(head[1]), head[2]), {})
            assert len(line) == len("Node 0, zone ") + max(8, len(head[2])) + len(head[1]) - 1
        elif pair := re.fullmatch(r" +(pages free|[a-z_]+):? +(-?\d+)", line):
            here.setdefault(pair[1], int(pair[2]))
    return zones


def host(name: str) -> str:
    """The host's own file."""
    return Path("/proc", name).read_text(encoding="utf-8", errors="replace")


def test_numa_maps_of_the_host_and_of_the_model_read_alike() -> None:
    """Files with odd names, shared and private memory, policies with flags, swap, a stack."""
    machine = pm.Machine(nodes=[4 * pm.MiB] * 2, cpus=2, swap=pm.MiB, contents=True)
    app = machine.spawn()
    odd = machine.create_file("my data=1", 8 * pm.PAGE_SIZE)
    shared = app.mmap(8 * pm.PAGE_SIZE, file=odd, shared=True)
    heap = app.mmap(16 * pm.PAGE_SIZE)
    flagged = app.mmap(4 * pm.PAGE_SIZE)
    app.touch(shared)
    app.touch(heap)
    app.mbind(flagged, pm.Policy(pm.PolicyMode.INTERLEAVE, [0, 1], static=True))
    app.touch(flagged)
    app.move_pages(heap[:5], 1)
    kid = app.fork()
    machine.drain()
    app.swap_out(flagged.start)
    ours = numa_maps(app.numa_maps())
    by_start = {row[0]: row for row in ours}
    assert all(POLICY.fullmatch(row[1]) for row in ours)
    assert by_start[flagged.start][1] == "interleave=static:0-1"
    assert by_start[shared.start][2] == ["file=my\\040data\\0751"]
    assert by_start[heap.start][3]["anon"] == 16
    assert by_start[heap.start][3]["mapmax"] == 2
    assert ours[-1][2] == ["stack"]
    assert sum(sum(row[4].values()) for row in ours) == sum(
        int((app.nodes_of(region) >= 0).sum()) for region in app.regions
    )
    assert numa_maps(kid.numa_maps())
    try:
        theirs = numa_maps(host("self/numa_maps"))
    except FileNotFoundError:
        pytest.fail("the host has no numa_maps; the reader was not held against a real one")
    assert {mark.split("=")[0] for row in theirs for mark in row[2]} >= {"file", "stack"}


def test_vmstat_of_the_host_and_of_the_model_read_alike() -> None:
    """Names that both have mean the same; ours begin as theirs with the free pages."""
    machine = pm.Machine(nodes=[4 * pm.MiB] * 2)
    ours, theirs = vmstat(machine.vmstat_text()), vmstat(host("vmstat"))
    assert ours == machine.vmstat()
    assert {
        "nr_free_pages",
        "nr_mapped",
        "nr_dirty",
        "nr_writeback",
        "nr_isolated_anon",
    } <= ours.keys() & theirs.keys()
    assert next(iter(ours)) == next(iter(theirs)) == "nr_free_pages"


def test_zoneinfo_of_the_host_and_of_the_model_read_alike() -> None:
    """The lines that both have: free pages, watermarks, sizes, where a zone starts."""
    machine = pm.Machine(nodes=[4 * pm.MiB] * 2)
    ours, theirs = zoneinfo(machine.zoneinfo_text()), zoneinfo(host("zoneinfo"))
    common = {"pages free", "min", "low", "high", "spanned", "present"}
    assert list(ours) == [(0, "Normal"), (1, "Normal")]
    for zones in (ours, theirs):
        assert all(common <= zone.keys() for zone in zones.values())
    assert ours[1, "Normal"]["start_pfn"] == ours[0, "Normal"]["spanned"]
    assert sum(zone["nr_free_pages"] for zone in ours.values()) == machine.vmstat()["nr_free_pages"]
