"""The worked examples with address spaces: E2 (buffers), E3 (swap cache), E6 (ramfs), E7 (block device)."""

from __future__ import annotations

import pytest

import pagemig as pm

from .stepping import block, counts, delta, finish, lru, pagevec, pfn_at, reach

F = pm.PageFlags
SHARED = pm.MoveScope.SHARED
INACTIVE_FILE, UNEVICTABLE = pm.LruList.INACTIVE_FILE, pm.LruList.UNEVICTABLE
NEW = 64
"""The first frame of node 1."""


def mapped(
    machine: pm.Machine, app: pm.Task, filesystem: pm.FileSystem, *, write: bool
) -> tuple[pm.File, pm.Region]:
    """A file of one page, mapped shared by app, read or written there, and drained."""
    file = machine.create_file("data", pm.PAGE_SIZE, filesystem=filesystem)
    area = app.mmap(pm.PAGE_SIZE, file=file, shared=True)
    app.touch(area, write=write)
    machine.drain()
    return file, area


def test_a_dirty_file_page_with_buffers_moves_with_all_that_hangs_on_it(
    machine: pm.Machine, app: pm.Task
) -> None:
    """E2, BM-4 to BM-6, I-67: 4, 5, 3, 2, 1 references on the old page; 1, 2, 3, 5, 4 on the new one."""
    file, area = mapped(machine, app, pm.filesystems.EXT, write=True)
    child = app.fork("child")
    child.touch(child.same(area))
    old = pfn_at(app, area.start)
    assert counts(machine, old) == (4, 2)
    before = machine.zone_counters(0), machine.zone_counters(1)
    move = machine.start(pm.calls.move_pages(area, 1, scope=SHARED), by=app)
    reach(machine, move, "UM-1")
    assert counts(machine, old) == (5, 2)
    reach(machine, move, "MM-2")
    assert counts(machine, old) == (3, 0)
    assert counts(machine, NEW) == (1, 0)
    reach(machine, move, "BM-3")
    assert (machine.frame(old).count, machine.frame(NEW).count) == (2, 2)
    reach(machine, move, "MN-4")
    assert (machine.frame(old).count, machine.frame(NEW).count) == (1, 3)
    assert bool(file.pages["dirty"][0]), "the tag stays throughout"
    reach(machine, move, "UM-12")
    assert counts(machine, NEW) == (5, 2)
    finish(machine, move)
    assert move.result.tolist() == [1]
    assert counts(machine, NEW) == (5, 2)
    machine.drain()
    assert counts(machine, NEW) == (4, 2)
    assert bool(file.pages["dirty"][0])
    assert len(file.buffers(0)) == 4
    assert all(pm.BufferState.DIRTY in buffer.state for buffer in file.buffers(0))
    after = machine.zone_counters(0), machine.zone_counters(1)
    went = {name: change for name, change in delta(before[0], after[0]).items() if name != "nr_free_pages"}
    came = {name: change for name, change in delta(before[1], after[1]).items() if name != "nr_free_pages"}
    assert came == {name: -change for name, change in went.items()}
    assert {"nr_dirty", "nr_file_pages", "nr_mapped"} <= set(went)
    for task in (app, child):
        entry = task.entry_at(area.start)
        assert (entry.pfn, entry.writable, entry.dirty, entry.accessed) == (NEW, True, False, False)


def test_a_page_of_the_swap_cache_is_left_to_a_swap_entry() -> None:
    """E3, Q12: the entry names the slot, nothing is restored, and the next touch is a minor fault."""
    machine = pm.Machine(nodes=[64 * pm.PAGE_SIZE] * 2, cpus=1, contents=True, swap=16 * pm.PAGE_SIZE)
    app = machine.spawn("app")
    page = app.mmap(pm.PAGE_SIZE)
    app.write(page.start, b"here")
    machine.drain()
    app.swap_out(page.start)
    assert app.entry_at(page.start).kind is pm.EntryKind.SWAP
    app.touch(page, write=False)
    machine.drain()
    old = pfn_at(app, page.start)
    assert F.SWAPCACHE in machine.frame(old).flags, "read for a load: it stays in the swap cache"
    assert counts(machine, old) == (2, 1)
    assert app.move_pages(page, 1).tolist() == [1]
    assert app.entry_at(page.start).kind is pm.EntryKind.SWAP
    assert counts(machine, NEW) == (2, 0)
    assert F.SWAPCACHE in machine.frame(NEW).flags
    counters = app.counters
    assert (counters.anon, counters.swap) == (0, 1)
    result = app.touch(page, write=False)
    assert (result.minor, result.major) == (1, 0)
    assert pfn_at(app, page.start) == NEW
    assert (app.counters.anon, app.counters.swap) == (1, 0)
    assert app.read(page.start, 4) == b"here"
    machine.check()


def test_a_clean_ramfs_page_moves_straight_to_the_unevictable_list(machine: pm.Machine, app: pm.Task) -> None:
    """E6, FB-1 to FB-3: no pagevec for the new page; the old one waits for INACTIVE_FILE."""
    _, area = mapped(machine, app, pm.filesystems.RAMFS, write=False)
    old = pfn_at(app, area.start)
    assert counts(machine, old) == (2, 1)
    assert app.move_pages(area, 1).tolist() == [1]
    assert lru(machine, 1, UNEVICTABLE) == [NEW]
    assert counts(machine, NEW) == (2, 1)
    assert pagevec(machine, INACTIVE_FILE) == [old]
    assert machine.frame(old).owner is None


def test_a_dirty_ramfs_page_stays_for_good(machine: pm.Machine, app: pm.Task) -> None:
    """E6, WO-1, Q30: nothing can write it: -EINVAL in the first pass, and now it is unevictable."""
    _, area = mapped(machine, app, pm.filesystems.RAMFS, write=True)
    old = pfn_at(app, area.start)
    result = machine.migrate_pages([old], pm.ToNode(1))
    assert (result.not_migrated, result.passes, result.statuses.tolist()) == (1, 1, [-22])
    assert lru(machine, 0, UNEVICTABLE) == [old]
    assert app.entry_at(area.start).pfn == old


def test_a_dirty_block_device_page_is_written_first_and_moves_in_a_later_pass(
    machine: pm.Machine, app: pm.Task
) -> None:
    """E7, WO-1 to WO-6, UM-6: written in pass 0, refused in 1 and 2, awaited and moved in pass 3."""
    file, area = mapped(machine, app, pm.filesystems.BLOCKDEV, write=True)
    old = pfn_at(app, area.start)
    move = machine.start(pm.calls.migrate_frames([old], pm.ToNode(1)), by=app)
    reach(machine, move, "WO-5")
    assert F.WRITEBACK in machine.frame(old).flags
    assert app.entry_at(area.start).writable, "WO-3: the entries came back before the write"
    assert block(machine, move) == pm.WaitFor("writeback", old, None)
    assert machine.frame(old).count == 4, "cache, buffers, entry, isolation"
    assert machine.complete_io()
    finish(machine, move)
    assert move.result.statuses.tolist() == [1]
    assert move.result.passes == 4
    assert not file.buffers(0), "FB-2 released them"
    assert app.entry_at(area.start).pfn == NEW + 3, "one frame of each earlier pass waits to be drained"


@pytest.mark.parametrize("rounds", [10])
def test_a_page_that_is_stored_to_between_passes_is_written_ten_times_and_stays(
    machine: pm.Machine, app: pm.Task, rounds: int
) -> None:
    """E7, Q29: the writable entry that WO-3 restores makes the page dirty again, pass after pass."""
    _, area = mapped(machine, app, pm.filesystems.BLOCKDEV, write=True)
    old = pfn_at(app, area.start)
    move = machine.start(pm.calls.migrate_frames([old], pm.ToNode(1)), by=app)
    for _ in range(rounds):
        reach(machine, move, "UM-18")
        while machine.pending_io:
            machine.complete_io()
        assert app.touch(area).hits == 1, "no fault: the entry was writable"
        move.step()
    finish(machine, move)
    assert move.result.statuses.tolist() == [-11]
    assert app.entry_at(area.start).pfn == old
