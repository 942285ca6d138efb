"""``mlock`` and ``munlock`` while a page is moved: S37 and S38 of the concurrency page."""

from __future__ import annotations

import errno

import pytest

import pagemig as pm
from tests.races.stage import (
    SHARED,
    Stage,
    finish,
    only_the_child_maps_it,
    shared_page,
    statuses,
    until,
    waits,
)

LOCKED_AWAY = pm.PageFlags.MLOCKED | pm.PageFlags.UNEVICTABLE | pm.PageFlags.LRU


def mlock_of_child(stage: Stage) -> pm.Call:
    """The child's ``mlock``, on a CPU of its own."""
    stage.child.cpu = 1
    return stage.machine.start(pm.calls.mlock(stage.of_child()), by=stage.child)


def flags_of_child(stage: Stage) -> pm.PageFlags:
    """Of the frame that the child's page is in."""
    return stage.frame(stage.child).flags


def test_s37_mlock_that_meets_an_entry_makes_the_attempt_fail_and_marks_the_old_page() -> None:
    """S37: PG_mlocked on the old page, which is isolated; the next pass takes it along (MC-6) and the
    new page goes straight to the unevictable list.
    """
    stage = shared_page()
    mover = stage.mover()
    until(stage, mover, "UM-3")
    only_the_child_maps_it(stage, writable=True)
    until(stage, mover, "MM-1")
    mlock = mlock_of_child(stage)
    assert waits(stage, mlock).pfn == stage.old
    until(stage, mover, "UM-17")
    assert mover.history.count("RP-4") == 1
    finish(stage, mlock)
    assert mlock.error is None
    old = stage.machine.frame(stage.old)
    assert old.flags & LOCKED_AWAY == pm.PageFlags.MLOCKED
    assert stage.machine.zone_counters(0)["nr_mlock"] == 1
    finish(stage, mover)
    assert statuses(mover) == [1]
    new = stage.frame(stage.child)
    assert (new.node, new.count, new.flags & LOCKED_AWAY) == (1, 1, LOCKED_AWAY)
    assert not stage.machine.frame(stage.old).flags & pm.PageFlags.MLOCKED
    assert [stage.machine.zone_counters(node)["nr_mlock"] for node in (0, 1)] == [0, 1]


@pytest.mark.parametrize("label", ["UM-16", "UM-17"])
def test_s37_mlock_after_the_point_of_no_return_marks_the_new_page_before_it_is_put_back(label: str) -> None:
    """S37: it cannot isolate the new page, which is on no list; UM-17 consults PG_mlocked."""
    stage = shared_page()
    mover = stage.mover()
    until(stage, mover, "UM-3")
    only_the_child_maps_it(stage, writable=True)
    until(stage, mover, "MC-1")
    mlock = mlock_of_child(stage)
    assert waits(stage, mlock).pfn == stage.old
    until(stage, mover, label)
    finish(stage, mlock)
    assert flags_of_child(stage) & LOCKED_AWAY == pm.PageFlags.MLOCKED
    finish(stage, mover)
    assert statuses(mover) == [1]
    assert mover.history.count("UM-10") == 1
    assert flags_of_child(stage) & LOCKED_AWAY == LOCKED_AWAY
    assert stage.machine.zone_counters(1)["nr_unevictable"] == 1


def test_s37_mlock_of_a_page_that_waits_in_a_pagevec_leaves_it_on_an_evictable_list() -> None:
    """S37: "a page that was already in a pagevec when PG_mlocked was set lands on an evictable list"."""
    stage = shared_page()
    mover = stage.mover()
    until(stage, mover, "UM-3")
    only_the_child_maps_it(stage, writable=True)
    until(stage, mover, "MC-1")
    mlock = mlock_of_child(stage)
    waits(stage, mlock)
    finish(stage, mover, mlock)
    assert statuses(mover) == [1]
    assert flags_of_child(stage) & LOCKED_AWAY == pm.PageFlags.MLOCKED
    stage.machine.drain()
    stage.machine.check()
    assert flags_of_child(stage) & LOCKED_AWAY == pm.PageFlags.MLOCKED | pm.PageFlags.LRU
    assert stage.machine.zone_counters(1)["nr_mlock"] == 1
    assert stage.machine.zone_counters(1)["nr_unevictable"] == 0


def test_s37_mlock_in_the_last_pass_marks_the_old_page_and_the_final_putback_consults_that() -> None:
    """S37: all attempts failed (a pin): PG_mlocked on the isolated old page; MP-5 puts it on the unevictable
    list of its node.
    """
    stage = shared_page()
    mover = stage.mover()
    until(stage, mover, "UM-3")
    only_the_child_maps_it(stage, writable=True)
    assert stage.child.pin(stage.address) == stage.old
    mlock = mlock_of_child(stage)
    finish(stage, mlock)
    assert flags_of_child(stage) & LOCKED_AWAY == pm.PageFlags.MLOCKED
    until(stage, mover, "MP-5")
    assert stage.machine.zone_counters(0)["nr_unevictable"] == 0
    finish(stage, mover)
    assert statuses(mover) == [-errno.EAGAIN]
    assert flags_of_child(stage) & LOCKED_AWAY == LOCKED_AWAY
    assert (stage.frame(stage.child).pfn, stage.machine.zone_counters(0)["nr_unevictable"]) == (stage.old, 1)
    stage.child.unpin(stage.old)


def locked_page() -> Stage:
    """A page that the parent has locked in memory and then shared with a child."""
    machine = pm.Machine(nodes=[64 * pm.PAGE_SIZE] * 2, contents=True)
    parent = machine.spawn("parent", stack=False)
    heap = parent.mmap(pm.PAGE_SIZE)
    parent.write(heap.start, b"page")
    parent.mlock(heap)
    child = parent.fork("child")
    page = parent.page_at(heap.start)
    assert page is not None
    assert page.flags & LOCKED_AWAY == LOCKED_AWAY
    return Stage(machine, parent, child, heap, page.pfn)


@pytest.mark.parametrize("way", ["munlock", "munmap"])
@pytest.mark.parametrize("label", ["MM-1", "MC-1"])
def test_s38_munlock_that_meets_an_entry_leaves_the_page_locked_for_nobody(way: str, label: str) -> None:
    """S38: PG_mlocked migrates and the new page is unevictable though no VM_LOCKED area maps it; it
    stays so until it is freed. Legal: the audit has nothing to say.
    """
    stage = locked_page()
    move = pm.calls.move_pages(stage.of_child(), 1, scope=SHARED)
    mover = stage.machine.start(move, by=stage.child)
    until(stage, mover, label)
    call = pm.calls.munlock(stage.heap) if way == "munlock" else pm.calls.munmap(stage.heap)
    unlock = stage.machine.start(call, by=stage.parent)
    finish(stage, unlock)
    assert unlock.error is None
    finish(stage, mover)
    assert statuses(mover) == [1]
    new = stage.frame(stage.child)
    assert (new.node, new.flags & LOCKED_AWAY) == (1, LOCKED_AWAY)
    assert new.mapcount == (2 if way == "munlock" else 1)
    assert stage.machine.zone_counters(1)["nr_mlock"] == 1
    for task in (stage.parent, stage.child):
        task.exit()
    stage.machine.drain()
    stage.machine.check()
    assert stage.machine.zone_counters(1)["nr_mlock"] == 0
    assert stage.machine.zone_counters(1)["nr_free_pages"] == 64


def test_s38_a_page_locked_for_nobody_is_released_by_a_munlock_that_finds_it() -> None:
    """S38: "or until a munlock finds it"."""
    stage = locked_page()
    move = pm.calls.move_pages(stage.of_child(), 1, scope=SHARED)
    mover = stage.machine.start(move, by=stage.child)
    until(stage, mover, "MM-1")
    finish(stage, stage.machine.start(pm.calls.munlock(stage.heap), by=stage.parent))
    finish(stage, mover)
    stage.child.exit()
    stage.parent.mlock(stage.heap)
    stage.parent.munlock(stage.heap)
    stage.machine.drain()
    stage.machine.check()
    flags = stage.frame(stage.parent).flags
    assert flags & LOCKED_AWAY == pm.PageFlags.LRU
    assert stage.machine.vmstat()["nr_mlock"] == 0


def test_s38_munlock_before_the_walk_or_after_the_restore_finds_the_page() -> None:
    """S38, the other side: outside the window PG_mlocked goes as it should."""
    for label in ("UM-3", "UM-17"):
        stage = locked_page()
        move = pm.calls.move_pages(stage.of_child(), 1, scope=SHARED)
        mover = stage.machine.start(move, by=stage.child)
        until(stage, mover, label)
        finish(stage, stage.machine.start(pm.calls.munlock(stage.heap), by=stage.parent))
        finish(stage, mover)
        assert statuses(mover) == [1]
        stage.machine.drain()
        assert flags_of_child(stage) & LOCKED_AWAY == pm.PageFlags.LRU, label
        assert stage.machine.vmstat()["nr_mlock"] == 0
