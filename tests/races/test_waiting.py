"""Who waits for whom, who is woken, and what happens when nobody ever is.

Source: data-model 11 and 12, concurrency 1 and 6.
"""

from __future__ import annotations

import errno

import pytest

import pagemig as pm
from tests.races.stage import (
    SHARED,
    finish,
    in_turn,
    own_page,
    shared_page,
    statuses,
    step,
    until,
    waits,
)


def test_unlocking_a_page_wakes_everybody_who_only_watches() -> None:
    """Data-model 12: faults on entries are non-exclusive waiters; all are woken at once by UM-15."""
    stage = shared_page()
    third = stage.parent.fork("third")
    mover = stage.mover()
    until(stage, mover, "MC-1")
    tasks = (stage.parent, stage.child, third)
    readers = [stage.machine.start(pm.calls.read(stage.address, 4), by=task) for task in tasks]
    for reader in readers:
        assert waits(stage, reader).pfn == stage.old
    assert stage.old_frame() == (4, 0)
    until(stage, mover, "UM-15")
    assert all(reader.waiting_for is not None for reader in readers)
    assert step(stage, mover)
    assert [reader.waiting_for for reader in readers] == [None] * 3
    finish(stage, *readers, mover)
    assert [reader.result for reader in readers] == [b"page"] * 3
    assert statuses(mover) == [1]


def test_unlocking_a_page_wakes_the_first_of_those_who_want_it_alone() -> None:
    """Data-model 12: COW faults are exclusive waiters, first in, first out; one is woken at a time."""
    stage = shared_page()
    mover = stage.mover()
    until(stage, mover, "MN-5")
    new = stage.frame(stage.parent).pfn
    first = stage.machine.start(pm.calls.touch(stage.of_child()), by=stage.child)
    second = stage.machine.start(pm.calls.touch(stage.heap), by=stage.parent)
    for call in (first, second):
        assert waits(stage, call).holder == mover.number
    assert step(stage, mover)
    assert first.waiting_for is None
    assert second.waiting_for is not None
    assert not step(stage, second)
    assert step(stage, first)
    assert second.waiting_for == pm.WaitFor("page_lock", new, first.number)
    assert step(stage, first)
    assert second.waiting_for is None
    finish(stage, first, second, mover)
    assert (first.result.cow, second.result.cow) == (1, 1)
    assert statuses(mover) == [1]


def test_watchers_are_woken_together_with_the_first_who_wants_the_page() -> None:
    """Data-model 12: "wake all non-exclusive waiters and the first exclusive one", whatever came first."""
    stage = shared_page()
    mover = stage.mover()
    until(stage, mover, "UM-9")
    writer = stage.machine.start(pm.calls.touch(stage.of_child()), by=stage.child)
    waits(stage, writer)
    until(stage, mover, "MM-1")
    reader = stage.machine.start(pm.calls.read(stage.address, 4), by=stage.parent)
    waits(stage, reader)
    until(stage, mover, "UM-15")
    assert step(stage, mover)
    assert (writer.waiting_for, reader.waiting_for) == (None, None)
    finish(stage, reader, writer, mover)
    assert statuses(mover) == [1]


def test_a_woken_waiter_is_not_handed_the_page_lock() -> None:
    """Data-model 12: anyone who runs first may take it; the woken one then sleeps again."""
    stage = shared_page()
    mover = stage.mover()
    until(stage, mover, "UM-9")
    writer = stage.machine.start(pm.calls.touch(stage.of_child()), by=stage.child)
    waits(stage, writer)
    until(stage, mover, "UM-16")
    assert writer.waiting_for is None
    until(stage, mover, "UM-4")
    assert waits(stage, writer).holder == mover.number
    finish(stage, mover, writer)


def test_a_waiting_writer_of_mmap_sem_stops_later_readers() -> None:
    """Data-model 12, concurrency 6: fair. The reader that holds it goes on; the later one queues."""
    stage = own_page()
    mover = stage.mover()
    until(stage, mover, "UM-3")
    writer = stage.machine.start(pm.calls.mprotect(stage.heap, pm.R), by=stage.parent)
    reader = stage.machine.start(pm.calls.pin(stage.address), by=stage.parent)
    query = stage.machine.start(pm.calls.move_pages(stage.heap), by=stage.parent)
    wait = waits(stage, writer)
    assert (wait.lock, wait.holder) == ("mmap_sem", mover.number)
    for later in (reader, query):
        assert waits(stage, later) == wait
    finish(stage, mover)
    assert statuses(mover) == [1]
    assert writer.waiting_for is None
    assert reader.waiting_for == pm.WaitFor("mmap_sem", wait.number, writer.number)
    finish(stage, writer)
    assert (reader.waiting_for, query.waiting_for) == (None, None)
    finish(stage, query, reader)
    assert statuses(query) == [1]
    stage.parent.unpin(reader.result)


def test_a_reader_without_a_waiting_writer_shares_mmap_sem() -> None:
    """Concurrency 6: faults and ``move_pages`` hold it for reading, together."""
    stage = own_page(pages=2)
    mover = stage.mover()
    until(stage, mover, "UM-3")
    other = stage.machine.start(pm.calls.move_pages(stage.heap[1], 1), by=stage.parent)
    finish(stage, other)
    assert statuses(other) == [1]
    finish(stage, mover)
    assert statuses(mover) == [1]


def test_writers_and_readers_of_mmap_sem_go_in_the_order_of_their_coming() -> None:
    """Fair both ways: reader, writer, reader, writer; each batch of readers goes in together."""
    stage = own_page()
    mover = stage.mover()
    until(stage, mover, "DM-2")
    protections = (pm.R, pm.RW)
    calls = []
    for protection in protections:
        mprotect = pm.calls.mprotect(stage.heap, protection)
        calls.append(stage.machine.start(mprotect, by=stage.parent))
        calls.append(stage.machine.start(pm.calls.move_pages(stage.heap), by=stage.parent))
    for call in calls:
        assert waits(stage, call).lock == "mmap_sem"
    for at, call in enumerate((mover, *calls)):
        finish(stage, call)
        later = [other.waiting_for is None for other in calls[at:]]
        assert later == [index == 0 for index in range(len(later))]


def test_a_call_told_to_run_behind_a_paused_one_ends_in_a_deadlock_with_the_graph() -> None:
    """Nobody steps the mover, so the reader can never go on; both are as they were."""
    stage = own_page()
    mover = stage.mover()
    until(stage, mover, "MM-1")
    reader = stage.machine.start(pm.calls.read(stage.address, 4), by=stage.parent)
    with pytest.raises(pm.DeadlockError) as stuck:
        reader.run()
    ((call, pid, what, holder),) = stuck.value.graph
    assert (call, pid, holder) == (reader.number, stage.parent.pid, mover.number)
    assert what == f"page_lock {stage.old}"
    for part in (f"call {reader.number}", f"page_lock {stage.old}", f"call {mover.number}"):
        assert part in str(stuck.value)
    assert (reader.done, mover.done, mover.at) == (False, False, "UM-10")
    stage.machine.check()
    stage.machine.run()
    assert reader.result == b"page"
    assert statuses(mover) == [1]
    stage.machine.check()


def test_the_graph_of_a_deadlock_names_everybody_who_waits() -> None:
    """A writer behind the mover, a reader behind the writer."""
    stage = own_page()
    mover = stage.mover()
    until(stage, mover, "MM-1")
    reader = stage.machine.start(pm.calls.read(stage.address, 4), by=stage.parent)
    waits(stage, reader)
    writer = stage.machine.start(pm.calls.munmap(stage.heap), by=stage.parent)
    waits(stage, writer)
    later = stage.machine.start(pm.calls.fork(), by=stage.parent)
    with pytest.raises(pm.DeadlockError) as stuck:
        later.run()
    assert [edge[0] for edge in stuck.value.graph] == [reader.number, writer.number, later.number]
    waited = [edge[2] for edge in stuck.value.graph]
    assert waited[0] == f"page_lock {stage.old}"
    assert all(name.startswith("mmap_sem") for name in waited[1:])
    finish(stage, mover, reader, writer, later)


def test_running_everything_never_ends_in_a_deadlock_while_somebody_can_go_on() -> None:
    """``machine.run`` lets the mover go on, so the same calls all end."""
    stage = own_page()
    mover = stage.mover()
    until(stage, mover, "MM-1")
    reader = stage.machine.start(pm.calls.read(stage.address, 4), by=stage.parent)
    writer = stage.machine.start(pm.calls.munmap(stage.heap), by=stage.parent)
    for call in (reader, writer):
        waits(stage, call)
    stage.machine.run()
    assert stage.machine.calls == ()
    stage.machine.check()
    assert reader.result == b"page"
    assert statuses(mover) == [1]
    assert stage.parent.regions == ()


def test_munlock_keeps_the_page_locked_and_isolated_while_it_waits_to_search_a_list() -> None:
    """supporting-paths 15: mark and list go first, then the reverse map is searched.

    Method: M1 holds the list in its restoring walk for another page; meanwhile M2 wants the page and finds
    it isolated.
    """
    machine = pm.Machine(nodes=[64 * pm.PAGE_SIZE] * 2)
    parent = machine.spawn("parent", stack=False)
    heap = parent.mmap(2 * pm.PAGE_SIZE)
    parent.touch(heap)
    parent.mlock(heap[1])
    child = parent.fork("child")
    machine.drain()
    shared = child.same(heap)
    pfn = child.page_at(shared[1].start).pfn
    unlock = machine.start(pm.calls.munlock(heap[1]), by=parent)
    assert unlock.run_until("SP15-munlock")
    first = machine.start(pm.calls.move_pages(shared[0], 1, scope=SHARED), by=child)
    assert first.run_until("RP-1")
    first.step()
    first.step()
    unlock.step()
    assert (unlock.at, unlock.waiting_for is not None) == ("SP15-search", True)
    frame = machine.frame(pfn)
    assert (
        frame.flags & (pm.PageFlags.LOCKED | pm.PageFlags.LRU | pm.PageFlags.MLOCKED) == pm.PageFlags.LOCKED
    )
    assert frame.count == 2 + 1 + 1
    assert machine.vmstat()["nr_mlock"] == 0
    machine.check()
    second = machine.start(pm.calls.move_pages(shared[1], 1, scope=SHARED), by=child)
    for call in (second, first):
        while call.step() and not call.done:
            machine.check()
    while unlock.step() and not unlock.done:
        machine.check()
    assert machine.calls == ()
    assert (statuses(first), statuses(second)) == ([1], [-errno.EBUSY])
    machine.drain()
    assert machine.frame(pfn).lru is not pm.LruList.UNEVICTABLE
    machine.check()


def test_a_call_never_stops_at_a_place_that_has_no_name() -> None:
    """``at`` is None only when a call is done; before that it is a step that ``run_until`` accepts."""
    stage = shared_page()
    mover = stage.mover()
    while not mover.done:
        place = mover.at
        assert place is not None
        twin = stage.machine.clone()
        (shadow,) = twin.calls
        assert shadow.run_until(place)
        assert shadow.history == mover.history
        assert step(stage, mover)


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


def test_ksm_keeps_the_page_that_is_left_locked_and_isolated_while_it_waits_to_search_a_list() -> None:
    """supporting-paths 16 and 15: in a VM_LOCKED area the page that is left is no longer mlocked."""
    machine = pm.Machine(nodes=[64 * pm.PAGE_SIZE] * 2, contents=True)
    parent = machine.spawn("parent", stack=False)
    heap = parent.mmap(3 * pm.PAGE_SIZE, flags=[pm.VmFlags.MERGEABLE])
    for page, byte in zip(heap, (b"a", b"b", b"b"), strict=True):
        parent.write(page.start, byte)
    parent.mlock(heap)
    other = parent.fork("other")
    other.munmap(other.same(heap[1:]))
    machine.drain()
    scan = machine.start(pm.calls.ksm_scan(), by=parent)
    assert scan.run_until("SP16-munlock")
    left = [pfn for pfn in range(128) if machine.frame(pfn).flags & pm.PageFlags.LOCKED]
    assert len(left) == 1
    mover = machine.start(pm.calls.move_pages(other.same(heap[0]), 1, scope=SHARED), by=other)
    assert mover.run_until("RP-1")
    mover.step()
    mover.step()
    scan.step()
    assert (scan.at, scan.waiting_for is not None) == ("SP15-search", True)
    assert not machine.frame(left[0]).flags & (pm.PageFlags.LRU | pm.PageFlags.MLOCKED)
    machine.check()
    while mover.step() and not mover.done:
        machine.check()
    while scan.step() and not scan.done:
        machine.check()
    machine.check()
    assert scan.result == 1
