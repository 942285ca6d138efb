"""Address spaces that change while a page is moved: S20 to S22, S47, S48 of the concurrency page.

``move_pages`` holds the ``mmap_sem`` of the requested mm, the parent's. The child, which shares the
page, changes its own memory.
"""

from __future__ import annotations

import pytest

import pagemig as pm
from tests.races.stage import (
    SHARED,
    finish,
    free_frames,
    in_turn,
    only_the_child_maps_it,
    own_page,
    shared_page,
    statuses,
    step,
    until,
    waits,
)

MIGRATION = pm.EntryKind.MIGRATION
PRESENT = pm.EntryKind.PRESENT


def test_s20_a_fork_over_an_entry_leaves_two_read_entries_and_both_come_back() -> None:
    """S20, Q16: map count 2, count + 2; the child's counter misses one; a later store copies."""
    stage = shared_page()
    mover = stage.mover()
    until(stage, mover, "UM-3")
    only_the_child_maps_it(stage, writable=True)
    until(stage, mover, "MM-1")
    assert stage.child.entry_at(stage.address).writable
    fork = stage.machine.start(pm.calls.fork("grandchild"), by=stage.child)
    finish(stage, fork)
    grandchild: pm.Task = fork.result
    for task in (stage.child, grandchild):
        entry = task.entry_at(stage.address)
        assert (entry.kind, entry.pfn, entry.writable) == (MIGRATION, stage.old, False)
    assert (stage.child.counters.anon, grandchild.counters.anon) == (1, 0)
    until(stage, mover, "MN-5")
    new = stage.frame(stage.child)
    assert (new.node, new.count, new.mapcount) == (1, 3, 2)
    for task in (stage.child, grandchild):
        entry = task.entry_at(stage.address)
        assert (entry.kind, entry.pfn, entry.writable) == (PRESENT, new.pfn, False)
    finish(stage, mover)
    assert statuses(mover) == [1]
    store = stage.machine.start(pm.calls.touch(stage.of_child()), by=stage.child)
    finish(stage, store)
    assert store.result.cow == 1
    assert stage.frame(stage.child).pfn != new.pfn
    assert stage.frame(grandchild).pfn == new.pfn
    assert grandchild.read(stage.address, 4) == b"page"
    grandchild.munmap(grandchild.same(stage.heap))
    assert (grandchild.counters.anon, grandchild.rss) == (-1, 0)
    stage.machine.check()


def test_s21_a_fork_that_is_not_linked_yet_waits_for_the_walk_and_meets_entries_only() -> None:
    """S21: linking the child's area needs the lock that the walk holds."""
    stage = shared_page()
    mover = stage.mover()
    until(stage, mover, "UM-9")
    assert step(stage, mover)
    fork = stage.machine.start(pm.calls.fork("grandchild"), by=stage.child)
    wait = waits(stage, fork)
    assert (wait.lock, wait.holder) == ("anon_vma_lock", mover.number)
    assert fork.at == "SP3-link"
    until(stage, mover, "MM-1")
    assert stage.old_frame() == (1, 0)
    finish(stage, fork)
    grandchild: pm.Task = fork.result
    assert grandchild.entry_at(stage.address).kind is MIGRATION
    finish(stage, mover)
    assert statuses(mover) == [1]
    assert {stage.frame(task).node for task in (stage.parent, stage.child, grandchild)} == {1}
    assert stage.frame(grandchild).mapcount == 3


def test_s21_a_fork_between_two_visits_copies_an_ordinary_entry_and_the_walk_comes_to_it() -> None:
    """S21: the forker's entry is still ordinary: count and map count + 1, then all become entries."""
    stage = shared_page()
    mover = stage.mover()
    fork = stage.machine.start(pm.calls.fork("grandchild"), by=stage.child)
    until(stage, fork, "SP3-copy")
    until(stage, mover, "UM-9")
    while stage.parent.entry_at(stage.address).kind is PRESENT:
        assert step(stage, mover)
    assert stage.child.entry_at(stage.address).kind is PRESENT
    assert stage.old_frame() == (2, 1)
    finish(stage, fork)
    grandchild: pm.Task = fork.result
    assert grandchild.entry_at(stage.address).kind is PRESENT
    assert stage.old_frame() == (3, 2)
    until(stage, mover, "MM-1")
    assert stage.old_frame() == (1, 0)
    for task in (stage.parent, stage.child, grandchild):
        assert task.entry_at(stage.address).kind is MIGRATION
    assert grandchild.counters.anon == 1
    finish(stage, mover)
    assert statuses(mover) == [1]
    assert stage.frame(grandchild).mapcount == 3


def test_s21_a_fork_between_two_visits_copies_an_entry_that_the_walk_then_skips() -> None:
    """S21: the forker's entry is replaced already; the walk has another mapper before it."""
    stage = shared_page()
    third = stage.parent.fork("third")
    mover = stage.mover()
    fork = stage.machine.start(pm.calls.fork("grandchild"), by=stage.child)
    until(stage, fork, "SP3-copy")
    until(stage, mover, "UM-9")
    while stage.child.entry_at(stage.address).kind is PRESENT:
        assert step(stage, mover)
    assert third.entry_at(stage.address).kind is PRESENT
    assert stage.old_frame() == (2, 1)
    finish(stage, fork)
    grandchild: pm.Task = fork.result
    assert grandchild.entry_at(stage.address).kind is MIGRATION
    assert grandchild.counters.anon == 0
    assert stage.old_frame() == (2, 1)
    until(stage, mover, "MM-1")
    assert stage.old_frame() == (1, 0)
    finish(stage, mover)
    assert statuses(mover) == [1]
    everybody = (stage.parent, stage.child, third, grandchild)
    assert len({stage.frame(task).pfn for task in everybody}) == 1
    assert stage.frame(third).mapcount == 4


def test_s21_a_fork_after_the_last_mapper_was_replaced_can_copy_no_ordinary_entry() -> None:
    """S21: "if the walk had already stopped because the map count reached 0"."""
    stage = shared_page()
    mover = stage.mover()
    fork = stage.machine.start(pm.calls.fork("grandchild"), by=stage.child)
    until(stage, fork, "SP3-copy")
    until(stage, mover, "MM-1")
    finish(stage, fork)
    grandchild: pm.Task = fork.result
    assert grandchild.entry_at(stage.address).kind is MIGRATION
    assert stage.old_frame() == (1, 0)
    finish(stage, mover)
    assert statuses(mover) == [1]


@pytest.mark.parametrize("protection", [pm.R, pm.NONE])
def test_s22_mprotect_downgrades_a_write_entry_whatever_it_permits(protection: pm.Protection) -> None:
    """S22, Q27: restored not writable; once the area is writable again a store faults and reuses the page."""
    stage = shared_page()
    mover = stage.mover()
    until(stage, mover, "UM-3")
    only_the_child_maps_it(stage, writable=True)
    until(stage, mover, "MM-1")
    assert stage.child.entry_at(stage.address).writable
    for wanted in (protection, pm.RW):
        call = stage.machine.start(pm.calls.mprotect(stage.of_child(), wanted), by=stage.child)
        finish(stage, call)
        assert call.error is None
        entry = stage.child.entry_at(stage.address)
        assert (entry.kind, entry.writable) == (MIGRATION, False)
    finish(stage, mover)
    assert statuses(mover) == [1]
    entry = stage.child.entry_at(stage.address)
    new = stage.frame(stage.child)
    assert (entry.kind, entry.writable, new.node) == (PRESENT, False, 1)
    store = stage.machine.start(pm.calls.touch(stage.of_child()), by=stage.child)
    finish(stage, store)
    assert (store.result.minor, store.result.cow) == (1, 1)
    assert stage.frame(stage.child).pfn == new.pfn
    assert stage.child.entry_at(stage.address).writable


def test_s22_a_restored_entry_has_the_protection_of_the_area_at_that_time() -> None:
    """S22: read-only at the restore, so readable and not writable; the store is a SIGSEGV."""
    stage = shared_page()
    mover = stage.mover()
    until(stage, mover, "UM-3")
    only_the_child_maps_it(stage, writable=True)
    until(stage, mover, "MM-1")
    stage.child.mprotect(stage.of_child(), pm.R)
    finish(stage, mover)
    assert stage.child.read(stage.address, 4) == b"page"
    with pytest.raises(OSError, match="SIGSEGV"):
        stage.child.write(stage.address, b"PAGE")


def test_s22_mprotect_after_the_restore_is_the_ordinary_one() -> None:
    """S22: "If M restored first, ordinary mprotect applies"."""
    stage = shared_page()
    mover = stage.mover()
    until(stage, mover, "UM-3")
    only_the_child_maps_it(stage, writable=True)
    until(stage, mover, "MN-5")
    entry = stage.child.entry_at(stage.address)
    assert (entry.kind, entry.writable) == (PRESENT, True)
    finish(stage, stage.machine.start(pm.calls.mprotect(stage.of_child(), pm.R), by=stage.child))
    entry = stage.child.entry_at(stage.address)
    assert (entry.kind, entry.writable, entry.dirty) == (PRESENT, False, False)
    finish(stage, mover)
    assert statuses(mover) == [1]


@pytest.mark.parametrize("verb", ["munmap", "fork", "mprotect", "mlock"])
def test_what_changes_the_locked_address_space_waits_for_the_whole_call(verb: str) -> None:
    """Concurrency 5: munmap, mprotect and fork of the locked mm cannot run during ``move_pages``."""
    stage = own_page()
    mover = stage.mover()
    until(stage, mover, "DM-2")
    calls = {
        "munmap": pm.calls.munmap(stage.heap),
        "fork": pm.calls.fork(),
        "mprotect": pm.calls.mprotect(stage.heap, pm.R),
        "mlock": pm.calls.mlock(stage.heap),
    }
    writer = stage.machine.start(calls[verb], by=stage.parent)
    wait = waits(stage, writer)
    assert (wait.lock, wait.pfn, wait.holder) == ("mmap_sem", None, mover.number)
    until(stage, mover, "DM-4")
    assert writer.waiting_for == wait
    assert step(stage, mover)
    assert writer.waiting_for is None
    in_turn(stage)
    assert statuses(mover) == [1]
    assert writer.error is None


@pytest.mark.parametrize("label", ["DM-1", "DM-2", "UM-3", "MM-1", "MC-1", "MN-5", "UM-17", "DM-4"])
def test_s47_a_target_that_exits_keeps_its_memory_until_the_mover_lets_go(label: str) -> None:
    """S47: M's mm reference keeps the address space; the teardown happens inside M's MV-8."""
    stage = own_page(pages=3)
    machine = stage.machine
    operator = machine.spawn("operator", stack=False)
    mover = stage.mover(pages=3, by=operator)
    until(stage, mover, label)
    gone = machine.start(pm.calls.exit(), by=stage.parent)
    finish(stage, gone)
    assert machine.tasks == (operator,)
    assert sum(free_frames(stage, node) for node in (0, 1)) < 128
    until(stage, mover, "MV-8")
    assert sum(free_frames(stage, node) for node in (0, 1)) < 128
    finish(stage, mover)
    assert statuses(mover) == [1, 1, 1]
    machine.drain()
    machine.check()
    assert (free_frames(stage, 0), free_frames(stage, 1)) == (64, 64)


def test_s48_a_mover_cannot_be_stopped_by_what_happens_to_its_task() -> None:
    """S48: neither the passes nor the waits react to signals; a task inside a call does not exit."""
    stage = shared_page()
    mover = stage.mover()
    until(stage, mover, "MM-1")
    with pytest.raises(pm.UsageError):
        stage.parent.exit()
    with pytest.raises(pm.UsageError):
        stage.machine.start(pm.calls.exit(), by=stage.parent)
    stage.machine.check()
    finish(stage, mover)
    assert statuses(mover) == [1]


def test_s21_merging_areas_waits_for_a_walk_over_any_of_their_lists() -> None:
    """S21, W13: whoever changes a list needs the lock that the walk holds, also for the areas that a
    merge swallows. A walk that loses its place strands an entry (I-20).
    """
    machine = pm.Machine(nodes=[64 * pm.PAGE_SIZE] * 2, contents=True)
    parent = machine.spawn("parent", stack=False)
    heap = parent.mmap(3 * pm.PAGE_SIZE)
    parent.mprotect(heap[1], pm.R)
    parent.write(heap[2].start, b"page")
    machine.drain()
    child = parent.fork("child")
    page = child.same(heap)[2]
    mover = machine.start(pm.calls.move_pages(page, 1, scope=SHARED), by=child)
    assert mover.run_until("RP-1")
    while parent.entry_at(page.start).kind is MIGRATION:
        mover.step()
        machine.check()
    merge = machine.start(pm.calls.mprotect(heap[1], pm.RW), by=parent)
    while merge.step() and not merge.done:
        machine.check()
    machine.run()
    machine.check()
    assert len(parent.regions) == 1
    assert child.entry_at(page.start).kind is PRESENT
    assert child.read(page.start, 4) == b"page"
    assert statuses(mover) == [1]
