"""Invariants 6, zone counters: I-50 to I-59, with the ledgers of Q15 and Q19 exact."""

from __future__ import annotations

from collections import Counter

import pytest

import pagemig as pm
from tests.invariants.recount import SWAPPER, F, Recount
from tests.invariants.situations import (
    EXACT,
    KINDS,
    PAGE,
    REPAIRED,
    fill,
    new_machine,
    steps,
)

every_kind = pytest.mark.parametrize("kind", KINDS)
profiles = pytest.mark.parametrize("profile", [EXACT, REPAIRED], ids=["exact", "repaired"])
both = pytest.mark.parametrize("behaviour", [EXACT, REPAIRED], ids=["exact", "repaired"])

Shifts = Counter[tuple[str, int]]
"""By how much a counter of a node is off, and may be."""
NONE: Shifts = Counter()


def cached_by_files(now: Recount) -> set[int]:
    """The pages in a file slot."""
    return {slot.pfn for slot in now.slots if slot.mapping != SWAPPER}


def dirty(now: Recount) -> set[int]:
    """I-54, with its exception: from MM-9 to MC-5 the old page has left its slot and is still counted."""
    cached = cached_by_files(now)
    if now.holds.between("MM-9", "MC-5") and now.holds.old is not None:
        cached.add(now.holds.old)
    return {
        pfn
        for pfn in cached & now.has(F.DIRTY)
        if (space := now.file_of(pfn)) is not None and space.filesystem.accounts_dirty
    }


def counted(now: Recount) -> dict[str, set[int]]:
    """The frames that each counter counts."""
    mapped = {frame.pfn for frame in now.frames if frame.mapcount > 0}
    anon = {pfn for pfn in now.used if now.is_anon(pfn)}
    backed = now.has(F.SWAPBACKED)
    return {
        "nr_anon_pages": mapped & anon,
        "nr_mapped": mapped - anon,
        "nr_file_pages": set(now.slot),
        "nr_shmem": cached_by_files(now) & backed,
        "nr_dirty": dirty(now),
        "nr_writeback": now.has(F.WRITEBACK),
        "nr_mlock": now.has(F.MLOCKED),
        "nr_isolated_anon": set(now.iso) & backed,
        "nr_isolated_file": set(now.iso) - backed,
    }


def assert_counters(now: Recount, names: set[str], shifts: Shifts = NONE) -> None:
    """The statement of a row, for each node; ``shifts`` are the ledgers."""
    pages = counted(now)
    for name in names:
        for node, counters in now.zones.items():
            found = now.count(node, pages[name]) + shifts[name, node]
            assert counters[name] == found, f"{name} of node {node} after {now.holds.made[-1:]}"
        assert now.total[name] == sum(counters[name] for counters in now.zones.values())


@every_kind
def test_pages_that_are_mapped_are_counted_by_sort(kind: str) -> None:
    """I-50, I-51: at every step; a migration takes them out of one zone and into the other."""
    for now in steps(kind):
        assert_counters(now, {"nr_anon_pages", "nr_mapped"})


@every_kind
def test_pages_in_slots_are_counted(kind: str) -> None:
    """I-52: files and the swap cache; MM-10 moves the count with MM-9."""
    for now in steps(kind):
        assert_counters(now, {"nr_file_pages"})


def shmem_drift(kind: str, profile: pm.Profile) -> list[Shifts]:
    """I-53, Q15: one page from zone to zone for each MM-10 that was executed on a swap-cache page."""
    drift: Shifts = Counter()
    found = []
    last = None
    for now in steps(kind, profile):
        old = now.holds.old
        is_new = now.holds.between("MM-10", "MC-1") and not last
        if is_new and old is not None and F.SWAPCACHE in now.frames[old].flags and profile is EXACT:
            drift["nr_shmem", now.frames[old].node] -= 1
            drift["nr_shmem", now.frames[now.holds.new or 0].node] += 1
        last = now.holds.between("MM-10", "MC-1")
        found.append(drift.copy())
    return found


@both
@every_kind
def test_shmem_is_counted_but_for_the_drift_of_the_swap_cache(kind: str, behaviour: pm.Profile) -> None:
    """I-53: exact with the ledger, which the machine keeps, too; the global sum is exact without."""
    seen = steps(kind, behaviour)
    for now, drift in zip(seen, shmem_drift(kind, behaviour), strict=True):
        assert_counters(now, {"nr_shmem"}, drift)
        assert now.total["nr_shmem"] == len(counted(now)["nr_shmem"])
        kept = {key: by for key, by in now.drift.items() if key[0] == "nr_shmem"}
        assert kept == {key: by for key, by in drift.items() if by}
    pages = {"swap cache": 2, "read ahead": 1, "shmem in the swap cache": 1}.get(kind, 0)
    moved = pages if behaviour is EXACT else 0
    assert shmem_drift(kind, behaviour)[-1]["nr_shmem", 1] == moved


@every_kind
def test_dirty_pages_of_files_that_count_them_are_counted(kind: str) -> None:
    """I-54: with its exception, between MM-9 and MC-5."""
    seen = steps(kind)
    for now in seen:
        assert_counters(now, {"nr_dirty"})
    exceptions = [now for now in seen if dirty(now) - cached_by_files(now)]
    assert bool(exceptions) == (kind in ("ext dirty", "charged", "offlined"))


@every_kind
def test_pages_under_writeback_and_locked_pages_are_counted(kind: str) -> None:
    """I-55, I-56: at every step."""
    for now in steps(kind):
        assert_counters(now, {"nr_writeback", "nr_mlock"})
    names = {"block device": "nr_writeback", "locked": "nr_mlock"}
    if kind in names:
        assert any(now.total[names[kind]] for now in steps(kind))


@every_kind
def test_isolated_pages_are_counted_by_family(kind: str) -> None:
    """I-57, I-58: at every step, on the node of the old page; at rest there are none."""
    for now in steps(kind):
        assert_counters(now, {"nr_isolated_anon", "nr_isolated_file"})
    for now in (steps(kind)[0], *steps(kind)[-2:]):
        assert now.total["nr_isolated_anon"] == now.total["nr_isolated_file"] == 0


@every_kind
def test_no_counter_is_negative_but_those_that_drift(kind: str) -> None:
    """I-59: only NR_SHMEM of a zone may be, and only where the swap cache was moved."""
    for now in steps(kind):
        for counters in now.zones.values():
            negative = {name for name, count in counters.items() if count < 0}
            assert negative <= ({"nr_shmem"} if "swap" in kind or kind == "read ahead" else set())
    for now in steps(kind, REPAIRED):
        assert min(count for counters in now.zones.values() for count in counters.values()) >= 0


@every_kind
def test_in_repaired_no_ledger_moves(kind: str) -> None:
    """I-53, I-57, I-90, I-100, I-104, invariants 15: all are empty at every step."""
    for now in steps(kind, REPAIRED):
        assert now.drift == Counter()


# the drift of soft offline ----------------------------------------------------------------


@profiles
@pytest.mark.parametrize("sort", ["anonymous", "file", "pinned"])
def test_soft_offline_lowers_a_counter_that_it_never_raised(
    machine: pm.Machine, profile: pm.Profile, sort: str
) -> None:
    """I-57, I-58, I-59, Q19: one attempt, -1 of the family for good: by UM-16, or by MP-5 if it fails."""
    app = machine.spawn("app", stack=False)
    file = machine.create_file("data", PAGE)
    area = app.mmap(PAGE, file=file if sort == "file" else None, shared=sort == "file")
    (pfn,) = fill(machine, app, area)
    shifts: Shifts = Counter()
    name = "nr_isolated_file" if sort == "file" else "nr_isolated_anon"
    call = machine.start(pm.calls.soft_offline(pfn), by=app)
    if sort == "pinned":
        app.pin(area.start)
    while not call.done:
        assert call.step()
    if profile is EXACT:
        shifts[name, 0] = -1
    now = Recount(machine)
    assert_counters(now, {"nr_isolated_anon", "nr_isolated_file"}, shifts)
    assert now.drift == shifts
    assert (call.error is not None) == (sort == "pinned")
    machine.drain()
    assert_counters(Recount(machine), set(counted(now)), shifts)


@profiles
def test_every_soft_offline_adds_to_the_drift(machine: pm.Machine, profile: pm.Profile) -> None:
    """I-57, Q19: three pages, -3; a later migration counts up and down on top of that."""
    app = machine.spawn("app", stack=False)
    area = app.mmap(4 * PAGE)
    pfns = fill(machine, app, area)
    for pfn in pfns[:3]:
        machine.soft_offline(pfn)
    shift: Shifts = Counter({("nr_isolated_anon", 0): -3} if profile is EXACT else {})
    assert_counters(Recount(machine), {"nr_isolated_anon"}, shift)
    machine.isolate(pfns[3])
    shown = machine.zone_counters(0)["nr_isolated_anon"]
    machine.putback(pfns[3])
    assert_counters(Recount(machine), {"nr_isolated_anon"}, shift)
    assert shown - shift["nr_isolated_anon", 0] in (0, 1), "the caller of isolate_lru_page counts"


def test_counters_follow_every_step_of_other_calls() -> None:
    """I-50 to I-56: faults, store, write, writeback, truncation, mlock, swap-out, exit."""
    machine = new_machine()
    app = machine.spawn("app", stack=False)
    file = machine.create_file("data", 2 * PAGE)
    area = app.mmap(2 * PAGE, file=file, shared=True)
    heap = app.mmap(2 * PAGE)
    names = {"nr_anon_pages", "nr_mapped", "nr_file_pages", "nr_shmem", "nr_writeback", "nr_mlock"}
    calls: list[pm.call.CallValue] = [
        pm.calls.touch(area, write=False),
        pm.calls.touch(heap),
        pm.calls.mlock(heap[0]),
        pm.calls.write_file(file, 0, b"x"),
        pm.calls.writeback(file, 0),
        pm.calls.truncate(file, PAGE),
        pm.calls.munlock(heap[0]),
        pm.calls.fork("child"),
        pm.calls.munmap(heap),
        pm.calls.exit(),
    ]
    seen: Counter[str] = Counter()
    for what in calls:
        call = machine.start(what, by=app)
        while not call.done:
            if not call.step():
                assert machine.complete_io()
            now = Recount(machine)
            assert_counters(now, names)
            seen.update(name for name in names if now.total[name])
        assert_counters(Recount(machine), names | {"nr_dirty", "nr_isolated_anon", "nr_isolated_file"})
        machine.drain()
    assert {name for name in names if seen[name]} == names - {"nr_shmem"}
