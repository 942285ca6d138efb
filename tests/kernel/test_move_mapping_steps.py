"""How the new page takes the old one's slot: MM-2 to MM-11, and who may look in between (Y10, Y11)."""

from __future__ import annotations

import errno

import pytest

import pagemig as pm

from .stepping import (
    block,
    cached,
    counters,
    counts,
    finish,
    moved_between,
    reach,
)

F = pm.PageFlags
OLD, NEW = 0, 64
FILE = pm.LruList.INACTIVE_FILE
PLAIN = pm.FileSystem("plain", pm.MigrateMethod.PAGE)
"""Moved by ``migrate_page``, without buffers, dirty pages accounted."""


@pytest.fixture
def other(machine: pm.Machine) -> pm.Task:
    """Somebody who looks files up and maps nothing."""
    return machine.spawn("other", stack=False)


def a_move(machine: pm.Machine, app: pm.Task, area: pm.Region) -> pm.Call:
    """A move of the first page of an area to node 1."""
    return machine.start(pm.calls.move_pages(area[0], 1), by=app)


# counting ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("filesystem", "before", "after"),
    [(PLAIN, (2, 1), (1, 2)), (pm.filesystems.EXT, (3, 1), (2, 2)), (pm.filesystems.TMPFS, (2, 1), (1, 2))],
    ids=["without private", "with buffers", "shmem"],
)
def test_the_counts_that_are_expected_and_what_is_left_of_them(
    machine: pm.Machine,
    app: pm.Task,
    filesystem: pm.FileSystem,
    before: tuple[int, int],
    after: tuple[int, int],
) -> None:
    """MM-4, MM-7, MM-9: isolation, slot and private; the slot's reference changes pages (table of 6)."""
    _, area = cached(machine, app, filesystem)
    move = reach(machine, a_move(machine, app, area), "MM-2")
    assert (machine.frame(OLD).count, machine.frame(NEW).count) == before
    reach(machine, move, "MM-7").step()
    machine.check()
    assert (machine.frame(OLD).count, machine.frame(NEW).count) == after
    finish(machine, move)
    assert move.result.tolist() == [1]


def test_somebody_who_keeps_his_reference_makes_all_ten_passes_fail(
    machine: pm.Machine, app: pm.Task, other: pm.Task
) -> None:
    """MM-5: ten times -EAGAIN, ten frames wasted, and the page is mapped again."""
    file, area = cached(machine, app, PLAIN)
    file.lookup(0, by=other)
    result = machine.migrate_pages([OLD], pm.ToNode(1))
    assert (result.statuses.tolist(), result.passes, result.frames_discarded) == ([-errno.EAGAIN], 10, 10)
    assert app.entry_at(area.start).pfn == OLD
    other.unpin(OLD)


def test_private_2_expects_a_reference_that_nobody_has(machine: pm.Machine, app: pm.Task) -> None:
    """MM-4, MM-5: 3 expected, 2 found: -EAGAIN until the flag is gone."""
    _, area = cached(machine, app, PLAIN)
    machine.set_page_flag(OLD, F.PRIVATE_2)
    assert app.move_pages(area, 1).tolist() == [-errno.EAGAIN]
    machine.set_page_flag(OLD, F.PRIVATE_2, on=False)
    assert app.move_pages(area, 1).tolist() == [1]


# the lock and the slot ---------------------------------------------------------------------


@pytest.mark.parametrize("label", ["MM-6", "MM-7"])
def test_the_tree_is_locked_from_the_count_to_the_counters(
    machine: pm.Machine, app: pm.Task, other: pm.Task, label: str
) -> None:
    """MM-2, MM-11: whoever adds a page to the file waits for its tree, and goes on afterwards."""
    file, area = cached(machine, app, PLAIN, pages=2)
    move = a_move(machine, app, area)
    writer = machine.start(pm.calls.write_file(file, pm.PAGE_SIZE, size=pm.PAGE_SIZE), by=other)
    reach(machine, move, label)
    wait = block(machine, writer)
    assert (wait.lock, wait.holder) == ("tree_lock", move.number)
    reach(machine, move, "MC-1")
    finish(machine, writer)
    assert (file.cached, file.pfn_of(0)) == (2, NEW)
    finish(machine, move)


def test_the_slot_of_a_swap_cache_page_is_found_by_its_entry() -> None:
    """MM-3, MM-8, MM-9: by `private`, not by `index`; flag and `private` go over, the old page keeps them.

    E3. MC-8 then clears both on the old page.
    """
    machine = pm.Machine(nodes=[64 * pm.PAGE_SIZE] * 2, cpus=1, swap=16 * pm.PAGE_SIZE)
    app = machine.spawn("app")
    page = app.mmap(pm.PAGE_SIZE)
    app.touch(page)
    machine.drain()
    app.swap_out(page)
    app.touch(page, write=False)
    machine.drain()
    old = app.page_at(page.start)
    assert (old.private, old.index) == (1, page.start // pm.PAGE_SIZE)
    move = reach(machine, machine.start(pm.calls.move_pages(page, 1), by=app), "MC-1")
    for pfn in (old.pfn, NEW):
        assert F.SWAPCACHE in machine.frame(pfn).flags
        assert machine.frame(pfn).private == 1
    assert (counts(machine, old.pfn), counts(machine, NEW)) == ((1, 0), (2, 0))
    assert machine.swap == pm.SwapInfo(slots=16, free=15, cached=1)
    reach(machine, move, "MN-4")
    shell = machine.frame(old.pfn)
    assert (F.SWAPCACHE in shell.flags, shell.private, shell.owner) == (False, 0, None)
    finish(machine, move)
    assert app.touch(page, write=False).minor == 1
    assert app.page_at(page.start).pfn == NEW


def test_a_tag_of_the_slot_stays_with_the_slot(machine: pm.Machine, app: pm.Task, other: pm.Task) -> None:
    """MM-9, I-67: DIRTY is set before, between MM-9 and MC-5, and after."""
    file, area = cached(machine, app, PLAIN, write=True)
    move = a_move(machine, app, area)
    for label in ("MM-2", "MM-7", "MC-1", "MN-4"):
        reach(machine, move, label)
        assert file.pages["dirty"].tolist() == [True]
        assert F.DIRTY in machine.frame(NEW if label == "MN-4" else OLD).flags
    finish(machine, move)


def test_a_clean_page_brings_no_tag(machine: pm.Machine, app: pm.Task) -> None:
    """MM-9, I-67: none before, none after."""
    file, area = cached(machine, app, PLAIN)
    assert app.move_pages(area, 1).tolist() == [1]
    assert (file.pages["dirty"].tolist(), file.pages["writeback"].tolist()) == ([False], [False])


def test_a_page_between_slot_and_copy_looks_cached_but_is_not_found(
    machine: pm.Machine, app: pm.Task, other: pm.Task
) -> None:
    """MM-9: until MC-9 the old page names its file, and no look-up finds it (I-60)."""
    file, area = cached(machine, app, PLAIN)
    move = reach(machine, a_move(machine, app, area), "MC-1")
    assert machine.frame(OLD).owner == machine.frame(NEW).owner == pm.Owner(pm.OwnerKind.FILE, file.number)
    assert file.lookup(0, by=other) == NEW
    other.unpin(NEW)
    move.step()
    machine.check()
    assert machine.frame(OLD).owner is None
    finish(machine, move)


@pytest.mark.parametrize(
    ("filesystem", "went"),
    [(PLAIN, {"nr_file_pages"}), (pm.filesystems.TMPFS, {"nr_file_pages", "nr_shmem"})],
    ids=["file", "shmem"],
)
def test_the_counters_of_cached_pages_move_with_the_slot(
    machine: pm.Machine, app: pm.Task, filesystem: pm.FileSystem, went: set[str]
) -> None:
    """MM-10: NR_FILE_PAGES, and NR_SHMEM of what is swap-backed; the number of pages does not change."""
    file, area = cached(machine, app, filesystem)
    move = reach(machine, a_move(machine, app, area), "MM-7")
    before = counters(machine)
    reach(machine, move, "MC-1")
    assert moved_between(before, counters(machine)) == dict.fromkeys(went, 1)
    assert file.cached == 1
    finish(machine, move)


def test_counters_of_a_move_within_a_zone_are_what_they_were(machine: pm.Machine, app: pm.Task) -> None:
    """MM-10: done, and net zero."""
    file, _ = cached(machine, app, pm.filesystems.TMPFS)
    before = counters(machine)
    assert machine.migrate_pages([OLD], pm.ToNode(0)).statuses.tolist() == [0]
    machine.drain()
    assert file.pfn_of(0) != OLD
    assert counters(machine) == before
