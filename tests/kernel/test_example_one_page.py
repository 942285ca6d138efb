"""Worked example E1: one anonymous page, mapped once, dirty and accessed, on the active list.

Every row of the table is a test that stops the move there. The page is frame 0 of node 0,
its new place frame 64, the first of node 1.
"""

from __future__ import annotations

import pytest

import pagemig as pm

from .stepping import counts, finish, free, lru, pagevec, reach, waiting

F = pm.PageFlags
OLD, NEW = 0, 64
ACTIVE, INACTIVE = pm.LruList.ACTIVE_ANON, pm.LruList.INACTIVE_ANON


@pytest.fixture
def page(machine: pm.Machine, app: pm.Task) -> pm.Region:
    """The page of the example; node 0 is the source, all pagevecs are empty."""
    region = app.mmap(pm.PAGE_SIZE)
    app.write(region.start, b"hello")
    machine.drain()
    assert app.page_at(region.start).pfn == OLD
    return region


@pytest.fixture
def move(machine: pm.Machine, app: pm.Task, page: pm.Region) -> pm.Call:
    """The move, not begun."""
    return machine.start(pm.calls.move_pages(page, 1), by=app)


ROWS = [
    ("before", "DP-1", (1, 1), (0, 0)),
    ("after DM-2f, g", "MP-1", (2, 1), (0, 0)),
    ("after UM-1", "UM-3", (2, 1), (1, 0)),
    ("after UM-9", "UM-10", (1, 0), (1, 0)),
    ("after MM", "MC-1", (1, 0), (1, 0)),
    ("after MC", "RP-1", (1, 0), (1, 0)),
    ("after MN-4", "MN-5", (1, 0), (2, 1)),
    ("after UM-15", "UM-16", (1, 0), (2, 1)),
    ("after UM-16", "UM-17", (1, 0), (2, 1)),
    ("after UM-17", "MP-3", (1, 0), (2, 1)),
]


@pytest.mark.parametrize(("row", "label", "old", "new"), ROWS, ids=[row[0] for row in ROWS])
def test_e1_counts_and_map_counts_of_both_pages_at_every_row(
    machine: pm.Machine, move: pm.Call, row: str, label: str, old: tuple[int, int], new: tuple[int, int]
) -> None:
    """E1, all rows: (count, map count) of the old and of the new page."""
    reach(machine, move, label)
    assert (counts(machine, OLD), counts(machine, NEW)) == (old, new), row
    assert free(machine, 1) == (64 if new == (0, 0) else 63)
    assert free(machine, 0) == 63


def test_e1_before_the_page_is_on_the_active_list_with_a_used_entry(
    machine: pm.Machine, app: pm.Task, page: pm.Region, move: pm.Call
) -> None:
    """E1, row "before": ACTIVE_ANON of zone 0; PTE writable, dirty, accessed; PG_dirty is clear."""
    entry = app.entry_at(page.start)
    assert (entry.writable, entry.dirty, entry.accessed) == (True, True, True)
    assert machine.frame(OLD).flags == F.UPTODATE | F.LRU | F.ACTIVE | F.SWAPBACKED
    assert lru(machine, 0, ACTIVE) == [OLD]
    assert waiting(machine) == {}
    zone = machine.zone_counters(0)
    assert (zone["nr_active_anon"], zone["nr_anon_pages"], zone["nr_isolated_anon"]) == (1, 1, 0)


def test_e1_after_isolation_the_page_is_off_its_list_and_counted_as_isolated(
    machine: pm.Machine, move: pm.Call
) -> None:
    """E1, row "after DM-2f, g": ISOLATED_ANON(0) 1, ACTIVE_ANON(0) -1, PG_active still set."""
    reach(machine, move, "MP-1")
    zone = machine.zone_counters(0)
    assert (zone["nr_isolated_anon"], zone["nr_active_anon"]) == (1, 0)
    assert machine.frame(OLD).flags == F.UPTODATE | F.ACTIVE | F.SWAPBACKED
    assert lru(machine, 0, ACTIVE) == []


def test_e1_after_allocation_the_new_page_is_blank(machine: pm.Machine, move: pm.Call) -> None:
    """E1, row "after UM-1": FREE(1) -1; the new frame has no flag and no mapping."""
    reach(machine, move, "UM-3")
    new = machine.frame(NEW)
    assert (new.flags, new.owner, new.private) == (F(0), None, 0)
    assert free(machine, 1) == 63


def test_e1_after_unmapping_a_write_migration_entry_stands_for_the_page(
    machine: pm.Machine, app: pm.Task, page: pm.Region, move: pm.Call
) -> None:
    """E1, row "after UM-9": write entry, PG_dirty taken from the PTE, ANON_PAGES(0) -1, RSS as before."""
    reach(machine, move, "UM-10")
    entry = app.entry_at(page.start)
    assert (entry.kind, entry.writable, entry.pfn) == (pm.EntryKind.MIGRATION, True, OLD)
    assert entry.raw == OLD * 512 + 62
    old = machine.frame(OLD)
    assert old.flags == F.LOCKED | F.UPTODATE | F.DIRTY | F.ACTIVE | F.SWAPBACKED
    assert machine.zone_counters(0)["nr_anon_pages"] == 0
    assert app.counters.anon == 1


def test_e1_after_the_count_test_nothing_but_the_new_pages_identity_has_changed(
    machine: pm.Machine, page: pm.Region, move: pm.Call
) -> None:
    """E1, row "after MM": null mapping, check only. MN-1, MN-2: the new page is locked and named."""
    reach(machine, move, "UM-10")
    before = machine.frame(OLD)
    reach(machine, move, "MC-1")
    assert machine.frame(OLD) == before
    new = machine.frame(NEW)
    assert new.flags == F.LOCKED | F.SWAPBACKED
    assert (new.owner, new.index) == (before.owner, page.start // pm.PAGE_SIZE)


def test_e1_after_the_copy_flags_have_moved_and_the_old_page_belongs_to_nobody(
    machine: pm.Machine, move: pm.Call
) -> None:
    """E1, row "after MC": PG_dirty, PG_active, PG_uptodate on the new page; old.mapping null."""
    reach(machine, move, "RP-1")
    assert machine.frame(NEW).flags == F.LOCKED | F.UPTODATE | F.DIRTY | F.ACTIVE | F.SWAPBACKED
    old = machine.frame(OLD)
    assert (old.flags, old.owner) == (F.LOCKED | F.UPTODATE | F.SWAPBACKED, None)


def test_e1_after_restoring_the_entry_is_writable_clean_and_unused(
    machine: pm.Machine, app: pm.Task, page: pm.Region, move: pm.Call
) -> None:
    """E1, row "after MN-4": PTE writable, not dirty, not accessed; ANON_PAGES(1) +1."""
    reach(machine, move, "MN-5")
    entry = app.entry_at(page.start)
    assert (entry.kind, entry.pfn) == (pm.EntryKind.PRESENT, NEW)
    assert (entry.writable, entry.dirty, entry.accessed) == (True, False, False)
    assert machine.zone_counters(1)["nr_anon_pages"] == 1
    assert machine.zone_counters(0)["nr_anon_pages"] == 0
    assert F.LOCKED in machine.frame(NEW).flags


def test_e1_both_pages_are_unlocked_one_after_the_other(machine: pm.Machine, move: pm.Call) -> None:
    """E1, row "after UM-15": the new page was unlocked by MN-5, the old one by UM-15."""
    reach(machine, move, "UM-15")
    assert F.LOCKED not in machine.frame(NEW).flags
    assert F.LOCKED in machine.frame(OLD).flags
    reach(machine, move, "UM-16")
    assert F.LOCKED not in machine.frame(OLD).flags


def test_e1_the_old_page_goes_to_the_inactive_pagevec(machine: pm.Machine, move: pm.Call) -> None:
    """E1, row "after UM-16": ISOLATED_ANON(0) 0; old in pagevec INACTIVE_ANON."""
    reach(machine, move, "UM-17")
    assert machine.zone_counters(0)["nr_isolated_anon"] == 0
    assert waiting(machine) == {INACTIVE: [OLD]}


def test_e1_the_new_page_goes_to_the_active_pagevec(machine: pm.Machine, move: pm.Call) -> None:
    """E1, row "after UM-17": new in pagevec ACTIVE_ANON, which holds the second reference."""
    reach(machine, move, "MP-3")
    assert waiting(machine) == {INACTIVE: [OLD], ACTIVE: [NEW]}
    assert machine.frame(NEW).flags == F.UPTODATE | F.DIRTY | F.SWAPBACKED


def test_e1_the_status_is_the_new_node(machine: pm.Machine, app: pm.Task, move: pm.Call) -> None:
    """E1, row "status": 1; nothing has been freed yet (Q06)."""
    finish(machine, move)
    assert move.result.tolist() == [1]
    assert (free(machine, 0), free(machine, 1)) == (63, 63)
    assert app.counters == pm.MemoryCounters(file=0, anon=1, swap=0)


def test_e1_a_drain_frees_the_old_page_and_lists_the_new_one(
    machine: pm.Machine, app: pm.Task, page: pm.Region, move: pm.Call
) -> None:
    """E1, row "after a drain": old count 0, FREE(0) +1; new 1/1 on ACTIVE_ANON(1), with the bytes."""
    finish(machine, move)
    machine.drain()
    machine.check()
    assert (counts(machine, OLD), counts(machine, NEW)) == ((0, 0), (1, 1))
    assert (free(machine, 0), free(machine, 1)) == (64, 63)
    assert machine.frame(NEW).flags == F.UPTODATE | F.DIRTY | F.ACTIVE | F.LRU | F.SWAPBACKED
    assert lru(machine, 1, ACTIVE) == [NEW]
    assert pagevec(machine, INACTIVE) == []
    assert app.read(page.start, 5) == b"hello"
