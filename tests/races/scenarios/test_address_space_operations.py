"""Address spaces that change while a page is moved: S20 to S22, S34, S45, S47, S48 of the concurrency page.

``move_pages`` holds the ``mmap_sem`` of the requested mm, the parent's. The child, which shares the
page, changes its own memory.
"""

from __future__ import annotations

import errno

import pytest

import pagemig as pm
from tests.races.stage import (
    SHARED,
    Stage,
    finish,
    free_frames,
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


def mbind_of_parent(stage: Stage) -> pm.Call:
    """M: an ``mbind`` of the parent's heap to node 1, shared pages too."""
    policy = pm.Policy(pm.PolicyMode.BIND, [1])
    what = pm.calls.mbind(stage.heap, policy, flags=pm.MbindFlags.MOVE_ALL)
    return stage.machine.start(what, by=stage.parent)


@pytest.mark.parametrize("label", ["MM-1", "MC-1"])
def test_s45_a_sibling_of_an_mbind_sleeps_before_it_can_see_an_entry(label: str) -> None:
    """S45: M holds ``mmap_sem`` for writing: T of the same mm sleeps for that, with no reference to the page,
    so that not even before the point of no return M notices. M: 0.
    """
    stage = own_page()
    mover = mbind_of_parent(stage)
    until(stage, mover, label)
    assert stage.parent.entry_at(stage.address).kind is MIGRATION
    sibling = stage.machine.start(pm.calls.read(stage.address, 4), by=stage.parent)
    wait = waits(stage, sibling)
    assert (wait.lock, wait.holder) == ("mmap_sem", mover.number)
    assert stage.old_frame() == (1, 0)
    finish(stage, mover, sibling)
    assert (mover.error, mover.history.count("UM-3"), sibling.result) == (None, 1, b"page")
    assert "EW-1" not in sibling.history
    assert stage.frame(stage.parent).node == 1


@pytest.mark.parametrize("label", ["MM-1", "MC-1"])
def test_s45_another_process_that_shares_the_page_behaves_as_ever(label: str) -> None:
    """S45, S05, S08: it sees the entry, takes a reference, sleeps on P; too early, it costs M an attempt."""
    stage = shared_page()
    mover = mbind_of_parent(stage)
    until(stage, mover, label)
    other = stage.machine.start(pm.calls.read(stage.address, 4), by=stage.child)
    assert waits(stage, other) == pm.WaitFor("page_lock", stage.old, mover.number)
    assert stage.old_frame() == (2, 0)
    until(stage, mover, "UM-16")
    finish(stage, other)
    assert other.result == b"page"
    finish(stage, mover)
    assert (mover.error, mover.history.count("UM-3")) == (None, 2 if label == "MM-1" else 1)
    assert {stage.frame(task).node for task in (stage.parent, stage.child)} == {1}


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


def test_s48_signals_stop_neither_the_passes_nor_the_waits() -> None:
    """S48: M sleeps on for the page lock in pass 3 with a signal pending, and makes all ten passes; its task
    does not exit meanwhile. T, a COW fault, owns the lock; a pin makes the rest fail.
    """
    stage = shared_page()
    mover = stage.mover()
    until(stage, mover, "UM-9")
    store = stage.machine.start(pm.calls.write(stage.address, b"PAGE"), by=stage.child)
    waits(stage, store)
    until(stage, mover, "UM-16")
    assert step(stage, store)
    asleep = waits(stage, mover)
    assert (asleep.pfn, asleep.holder, mover.history.count("UM-3")) == (stage.old, store.number, 3)
    stage.parent.signal()
    assert not step(stage, mover)
    assert mover.waiting_for == asleep
    with pytest.raises(pm.UsageError):
        stage.machine.start(pm.calls.exit(), by=stage.parent)
    assert stage.parent.pin(stage.address) == stage.old
    finish(stage, store, mover)
    assert statuses(mover) == [-errno.EAGAIN]
    assert mover.history.count("UM-3") == 10
    stage.parent.unpin(stage.old)


def test_s48_offlining_looks_for_signals_between_its_rounds_only() -> None:
    """S48, syscalls 7: a signal in the middle of an attempt: the round goes on to its end, then -EINTR."""
    stage = own_page(pages=18, pageblock_frames=16)
    operator = stage.machine.spawn("operator", stack=False)
    offline = stage.machine.start(pm.calls.offline(16, 16), by=operator)
    until(stage, offline, "UM-9")
    operator.signal()
    rounds = offline.history.count("SY7-5a")
    finish(stage, offline)
    assert isinstance(offline.error, InterruptedError)
    assert offline.history.count("SY7-5a") == rounds + 1
    assert all((page := stage.parent.page_at(at.start)) and page.pfn >= 32 for at in stage.heap[16:])
    assert stage.machine.pageblocks(0)[1].state is pm.BlockState.MOVABLE
    assert stage.parent.read(stage.heap[17].start, 4) == b"page"


def test_s34_areas_that_merge_wait_for_a_walk_over_any_of_their_lists() -> None:
    """S34, its second way, and W13: the model changes a boundary in one step, and whoever changes a list
    needs the lock that the walk holds, also for areas that a merge swallows: nothing is stranded (I-20).
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
