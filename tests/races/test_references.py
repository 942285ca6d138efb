"""References that come and go while a page is moved: S05, S08 to S12, S43, S44 of the concurrency page.

Every step is audited. M is the migrator, T the other task, "count" is counted with M's isolation.
"""

from __future__ import annotations

import errno

import pytest

import pagemig as pm
from tests.races.stage import (
    finish,
    own_page,
    shared_page,
    statuses,
    step,
    until,
    unused_frames,
    waits,
)

ACCESS = "SP2-access"
FAULT = "SP2-fault"


def test_a_fault_on_an_entry_makes_the_attempt_fail_and_then_needs_no_fault() -> None:
    """S05: EW raises the old page's count from 1 to 2, so MM-1 says -EAGAIN; the next pass succeeds."""
    stage = own_page()
    mover = stage.mover()
    until(stage, mover, "MM-1")
    assert stage.old_frame() == (1, 0)
    reader = stage.machine.start(pm.calls.read(stage.address, 4), by=stage.parent)
    wait = waits(stage, reader)
    assert (wait.lock, wait.pfn, wait.holder) == ("page_lock", stage.old, mover.number)
    assert stage.old_frame() == (2, 0)
    until(stage, mover, "UM-16")
    entry = stage.parent.entry_at(stage.address)
    assert (entry.kind, entry.pfn, entry.writable) == (pm.EntryKind.PRESENT, stage.old, True)
    assert not entry.accessed
    assert not entry.dirty
    assert pm.PageFlags.DIRTY in stage.machine.frame(stage.old).flags
    assert stage.old_frame() == (3, 1)
    assert reader.waiting_for is None
    finish(stage, reader)
    assert reader.result == b"page"
    assert reader.history[-1] == ACCESS
    assert reader.history.count(ACCESS) == 2
    assert stage.old_frame() == (2, 1)
    finish(stage, mover)
    assert statuses(mover) == [1]
    assert mover.history.count("UM-10") == 2
    (wasted,) = unused_frames(stage, 1)
    assert pm.PageFlags.SWAPBACKED in wasted.flags


def test_a_thread_that_keeps_touching_makes_all_ten_passes_fail() -> None:
    """S05, Q01, Q04: status -EAGAIN, ten frames of node 1 wait in a pagevec, the page stays where it was."""
    stage = own_page()
    mover = stage.mover()
    for _ in range(10):
        until(stage, mover, "MM-1")
        reader = stage.machine.start(pm.calls.read(stage.address, 4), by=stage.parent)
        waits(stage, reader)
        until(stage, mover, "UM-17")
        finish(stage, reader)
        assert reader.result == b"page"
    finish(stage, mover)
    assert statuses(mover) == [-errno.EAGAIN]
    assert stage.frame(stage.parent).pfn == stage.old
    wasted = unused_frames(stage, 1)
    assert len(wasted) == 10
    assert all(pm.PageFlags.SWAPBACKED in frame.flags for frame in wasted)
    stage.machine.drain()
    assert unused_frames(stage, 1) == []
    assert stage.old_frame() == (1, 1)


@pytest.mark.parametrize("label", ["MC-1", "MN-4", "MN-5", "UM-15"])
def test_a_fault_on_an_entry_after_the_count_test_is_harmless(label: str) -> None:
    """S08: the old frame outlives the drain by T's reference, and T's drop frees it. M: 0."""
    stage = own_page()
    mover = stage.mover()
    until(stage, mover, "MC-1")
    reader = stage.machine.start(pm.calls.read(stage.address, 4), by=stage.parent)
    wait = waits(stage, reader)
    assert (wait.lock, wait.pfn, wait.holder) == ("page_lock", stage.old, mover.number)
    assert stage.old_frame() == (2, 0)
    until(stage, mover, label)
    assert reader.waiting_for == wait
    finish(stage, mover)
    assert statuses(mover) == [1]
    assert mover.history.count("UM-10") == 1
    assert reader.waiting_for is None
    stage.machine.drain()
    assert stage.old_frame() == (1, 0)
    assert stage.machine.frame(stage.old).owner is None
    finish(stage, reader)
    assert reader.result == b"page"
    assert stage.old_frame() == (0, 0)
    assert stage.frame(stage.parent).node == 1
    assert (stage.frame(stage.parent).count, stage.frame(stage.parent).mapcount) == (1, 1)


def test_a_store_to_a_restored_entry_waits_for_the_new_page_and_then_copies() -> None:
    """S09: the page is shared, so after MN-5 the store copies; M's reference plays no part."""
    stage = shared_page()
    mover = stage.mover()
    until(stage, mover, "MN-5")
    new = stage.frame(stage.parent)
    assert (new.node, new.count, new.mapcount) == (1, 3, 2)
    assert not stage.parent.entry_at(stage.address).writable
    store = stage.machine.start(pm.calls.write(stage.address, b"PAGE"), by=stage.parent)
    wait = waits(stage, store)
    assert (wait.lock, wait.pfn, wait.holder) == ("page_lock", new.pfn, mover.number)
    assert stage.machine.frame(new.pfn).count == 4
    assert step(stage, mover)
    assert store.waiting_for is None
    finish(stage, store, mover)
    assert "SP2.4-5-install" in store.history
    assert statuses(mover) == [1]
    assert stage.frame(stage.parent).pfn != new.pfn
    assert stage.frame(stage.child).pfn == new.pfn
    assert stage.parent.read(stage.address, 4) == b"PAGE"
    assert stage.child.read(stage.address, 4) == b"page"


def test_a_store_to_a_restored_entry_takes_the_new_page_over_if_it_is_the_only_mapper() -> None:
    """S09: reuse is decided by the map count, so M's extra reference does not force a copy."""
    stage = shared_page()
    mover = stage.mover()
    until(stage, mover, "MN-5")
    store = stage.machine.start(pm.calls.write(stage.address, b"PAGE"), by=stage.parent)
    waits(stage, store)
    finish(stage, stage.machine.start(pm.calls.exit(), by=stage.child))
    new = stage.frame(stage.parent)
    assert (new.count, new.mapcount) == (3, 1)
    assert step(stage, mover)
    finish(stage, store)
    assert "SP2.4-5" not in store.history
    assert stage.frame(stage.parent).pfn == new.pfn
    assert stage.frame(stage.parent).count == 2
    entry = stage.parent.entry_at(stage.address)
    assert entry.writable
    assert entry.dirty
    finish(stage, mover)
    assert statuses(mover) == [1]
    assert stage.parent.read(stage.address, 4) == b"PAGE"


@pytest.mark.parametrize("label", ["MN-5", "UM-15", "UM-16", "UM-17"])
def test_a_store_through_a_restored_writable_entry_needs_no_fault_and_is_kept(label: str) -> None:
    """S10: the copy is complete since MC-1, so the store goes to the new page and nothing is lost."""
    stage = own_page()
    mover = stage.mover()
    until(stage, mover, label)
    entry = stage.parent.entry_at(stage.address)
    assert (entry.writable, entry.dirty, entry.accessed) == (True, False, False)
    store = stage.machine.start(pm.calls.write(stage.address, b"PA"), by=stage.parent)
    finish(stage, store)
    assert store.history == (ACCESS,)
    entry = stage.parent.entry_at(stage.address)
    assert (entry.writable, entry.dirty, entry.accessed) == (True, True, True)
    finish(stage, mover)
    assert statuses(mover) == [1]
    assert stage.parent.read(stage.address, 4) == b"PAge"
    stage.machine.drain()
    assert stage.parent.move_pages(stage.heap, 0).tolist() == [0]
    assert pm.PageFlags.DIRTY in stage.frame(stage.parent).flags
    assert stage.parent.read(stage.address, 4) == b"PAge"


def test_a_copy_on_write_fault_that_owns_the_lock_stops_three_passes_and_then_is_waited_for() -> None:
    """S11: UM-3 fails in passes 0 to 2 without touching an entry; in pass 3 M sleeps until T unlocks.

    Method: T can only be caught owning the lock after it has slept for it, so pass 0 ends as in S12
    (its frame is swap-backed), and passes 1 and 2 meet the lock (theirs are not: INACTIVE_FILE).
    """
    stage = shared_page()
    mover = stage.mover()
    until(stage, mover, "UM-9")
    store = stage.machine.start(pm.calls.write(stage.address, b"PAGE"), by=stage.child)
    waits(stage, store)
    until(stage, mover, "UM-16")
    assert step(stage, store)
    assert store.at == "SP2.4-2"
    assert pm.PageFlags.LOCKED in stage.machine.frame(stage.old).flags
    entries = [task.entry_at(stage.address) for task in (stage.parent, stage.child)]
    wait = waits(stage, mover)
    assert (wait.lock, wait.pfn, wait.holder) == ("page_lock", stage.old, store.number)
    assert [task.entry_at(stage.address) for task in (stage.parent, stage.child)] == entries
    assert mover.history.count("UM-3") == 3
    assert mover.history.count("UM-10") == 1
    is_anon = [pm.PageFlags.SWAPBACKED in frame.flags for frame in unused_frames(stage, 1)]
    assert sorted(is_anon) == [False, False, False, True]
    before = mover.history
    assert not step(stage, mover, 3)
    assert mover.history == before
    finish(stage, store, mover)
    assert statuses(mover) == [1]
    assert len(unused_frames(stage, 1)) == 3
    assert stage.parent.read(stage.address, 4) == b"page"
    assert stage.child.read(stage.address, 4) == b"PAGE"


@pytest.mark.parametrize("remembered", ["dirty", "clean"])
def test_a_copy_on_write_fault_queued_on_the_lock_makes_the_attempt_fail(remembered: str) -> None:
    """S12: T's reference makes MM-1 fail. A restored leaf is clean and unused: if T remembers it so,
    it goes on as if nothing had happened, else it finds a mismatch and faults again.
    """
    stage = shared_page()
    if remembered == "clean":
        stage.machine.drain()
        stage.parent.move_pages(stage.heap, 1, scope=pm.MoveScope.SHARED)
        stage.machine.drain()
    old, target = stage.frame(stage.parent).pfn, int(remembered == "dirty")
    assert stage.child.entry_at(stage.address).dirty is (remembered == "dirty")
    mover = stage.mover(target=target)
    until(stage, mover, "UM-9")
    assert stage.machine.frame(old).count == 3
    store = stage.machine.start(pm.calls.touch(stage.of_child()), by=stage.child)
    wait = waits(stage, store)
    assert (wait.lock, wait.pfn, wait.holder) == ("page_lock", old, mover.number)
    assert stage.machine.frame(old).count == 4
    until(stage, mover, "UM-16")
    assert (stage.machine.frame(old).count, stage.machine.frame(old).mapcount) == (4, 2)
    finish(stage, store)
    assert (store.result.cow, store.result.spurious) == (1, int(remembered == "dirty"))
    assert stage.frame(stage.child).pfn != old
    assert (stage.machine.frame(old).count, stage.machine.frame(old).mapcount) == (2, 1)
    finish(stage, mover)
    assert statuses(mover) == [target]
    assert mover.history.count("UM-10") == 2


@pytest.mark.parametrize("label", ["MP-2", "UM-3", "UM-9"])
def test_a_pin_of_an_ordinary_entry_keeps_the_page_until_it_is_dropped(label: str) -> None:
    """S43, E4: at Y01 to Y05 the pin finds the ordinary entry; -EAGAIN ten times, ten frames wasted."""
    stage = own_page()
    mover = stage.mover()
    until(stage, mover, label)
    pin = stage.machine.start(pm.calls.pin(stage.address), by=stage.parent)
    finish(stage, pin)
    assert pin.result == stage.old
    finish(stage, mover)
    assert statuses(mover) == [-errno.EAGAIN]
    assert len(unused_frames(stage, 1)) == 10
    stage.parent.unpin(stage.old)
    stage.machine.drain()
    assert stage.parent.move_pages(stage.heap, 1).tolist() == [1]


def test_a_pin_dropped_between_two_passes_lets_the_next_one_succeed() -> None:
    """S43: "until the pin is dropped"."""
    stage = own_page()
    mover = stage.mover()
    until(stage, mover, "UM-3")
    pfn = stage.parent.pin(stage.address)
    assert pfn == stage.old
    for _ in range(4):
        until(stage, mover, "UM-17")
        assert step(stage, mover)
    stage.parent.unpin(stage.old)
    finish(stage, mover)
    assert statuses(mover) == [1]
    assert len(unused_frames(stage, 1)) == 4


def test_a_pin_that_meets_an_entry_waits_and_then_holds_the_old_page() -> None:
    """S43 at Y09: through the fault path (S05), so the attempt fails; T pins what it then finds."""
    stage = own_page()
    mover = stage.mover()
    until(stage, mover, "MM-1")
    pin = stage.machine.start(pm.calls.pin(stage.address), by=stage.parent)
    assert waits(stage, pin).pfn == stage.old
    until(stage, mover, "UM-16")
    finish(stage, pin)
    assert pin.result == stage.old
    finish(stage, mover)
    assert statuses(mover) == [-errno.EAGAIN]
    stage.parent.unpin(stage.old)


@pytest.mark.parametrize("label", ["MN-5", "UM-15", "UM-16", "UM-17"])
def test_a_pin_after_the_restore_holds_the_new_page_and_does_not_disturb(label: str) -> None:
    """S43 after MN-4."""
    stage = own_page()
    mover = stage.mover()
    until(stage, mover, label)
    pin = stage.machine.start(pm.calls.pin(stage.address, write=True), by=stage.parent)
    finish(stage, pin)
    new = stage.frame(stage.parent)
    assert (pin.result, new.node) == (new.pfn, 1)
    finish(stage, mover)
    assert statuses(mover) == [1]
    stage.parent.unpin(new.pfn)


def test_a_query_sees_the_old_node_then_nothing_then_the_new_node() -> None:
    """S44: while the leaf is an entry the status is -ENOENT."""
    stage = own_page()
    mover = stage.mover()
    seen = []
    while not mover.done:
        twin = stage.machine.clone()
        for call in twin.calls:
            if call.number == mover.number:
                query = twin.start(pm.calls.move_pages(stage.heap), by=stage.parent.pid)
                while query.step() and not query.done:
                    twin.check()
                if query.done:
                    seen.append((mover.at, *statuses(query)))
        assert step(stage, mover)
    values = [status for _, status in seen]
    first, last = values.index(-errno.ENOENT), len(values) - values[::-1].index(-errno.ENOENT)
    assert values == [0] * first + [-errno.ENOENT] * (last - first) + [1] * (len(values) - last)
    assert ("UM-10", -errno.ENOENT) in seen
    assert ("MC-1", -errno.ENOENT) in seen
    assert ("MN-5", 1) in seen
    assert ("UM-4", 0) in seen
