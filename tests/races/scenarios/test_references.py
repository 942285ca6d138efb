"""References that come and go while a page is moved: S01 to S12 and S43 of the concurrency page.

Every step is audited. M is the migrator, T the other task, "count" is counted with M's isolation.
"""

from __future__ import annotations

import errno

import pytest

import pagemig as pm
from tests.races.scenarios.stages import FileStage, file_page
from tests.races.stage import (
    HasMachine,
    finish,
    free_frames,
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
PRESENT, MIGRATION = pm.EntryKind.PRESENT, pm.EntryKind.MIGRATION


def lookup(stage: FileStage) -> pm.Call:
    """T looks the page up without a lock, and keeps the reference."""
    return stage.machine.start(pm.calls.lookup(stage.file, 0), by=stage.other)


def attempt(stage: HasMachine, mover: pm.Call) -> None:
    """M goes on to the end of its attempt, with UM-17 made."""
    until(stage, mover, "UM-17")
    assert step(stage, mover)


def never_comes_to(stage: HasMachine, call: pm.Call, label: str) -> bool:
    """Whether a call that nobody disturbs now ends, or sleeps, without coming to a step."""
    twin = stage.machine.clone()
    return not next(other for other in twin.calls if other.number == call.number).run_until(label)


def test_s01_a_reference_between_unmap_and_count_test_makes_the_attempt_fail() -> None:
    """S01, MM-5: count 2 (isolation, cache), T: 3. -EAGAIN; PTE back without accessed and dirty, PG_dirty
    has what it knew; the new frame is thrown away. T drops its reference; the next pass succeeds.
    """
    stage = file_page(write=True)
    mover = stage.mover()
    until(stage, mover, "MM-2")
    assert stage.counts() == (2, 0)
    look = lookup(stage)
    finish(stage, look)
    assert (look.result, stage.counts()) == (stage.old, (3, 0))
    assert never_comes_to(stage, mover, "MM-6")
    until(stage, mover, "UM-16")
    entry = stage.app.entry_at(stage.address)
    assert (entry.kind, entry.pfn, entry.writable) == (PRESENT, stage.old, True)
    assert (entry.dirty, entry.accessed) == (False, False)
    old = stage.machine.frame(stage.old)
    assert (old.count, old.mapcount, pm.PageFlags.DIRTY in old.flags) == (4, 1, True)
    assert stage.machine.zone_counters(0)["nr_isolated_file"] == 1
    attempt(stage, mover)
    (wasted,) = unused_frames(stage, 1)
    assert wasted.pfn in stage.machine.pagevec(0, pm.LruList.INACTIVE_FILE)
    stage.other.unpin(stage.old)
    finish(stage, mover)
    assert statuses(mover) == [1]
    assert (mover.history.count("UM-3"), stage.machine.frame(stage.new_frame()).node) == (2, 1)
    assert stage.app.read(stage.address, 4) == b"page"


def test_s02_a_reference_between_count_test_and_freeze_makes_the_freeze_fail() -> None:
    """S02, MM-6, Y10: the test passed with 2, the freeze finds 3: -EAGAIN, and nothing was modified."""
    stage = file_page(write=True)
    mover = stage.mover()
    until(stage, mover, "MM-6")
    assert stage.counts() == (2, 0)
    counters = [stage.machine.zone_counters(node) for node in (0, 1)]
    look = lookup(stage)
    finish(stage, look)
    assert (look.result, stage.counts()) == (stage.old, (3, 0))
    assert never_comes_to(stage, mover, "MM-7")
    assert step(stage, mover)
    (new,) = unused_frames(stage, 1)
    assert (stage.counts(), stage.counts(new.pfn), stage.new_frame()) == ((3, 0), (1, 0), stage.old)
    assert [stage.machine.zone_counters(node) for node in (0, 1)] == counters
    assert stage.file.pages["dirty"].tolist() == [True]
    attempt(stage, mover)
    entry = stage.app.entry_at(stage.address)
    assert (entry.kind, entry.pfn, stage.counts()) == (PRESENT, stage.old, (4, 1))
    stage.other.unpin(stage.old)
    finish(stage, mover)
    assert statuses(mover) == [1]
    assert mover.history.count("UM-3") == 2


def test_s03_a_look_up_during_the_freeze_retries_and_gets_the_new_page() -> None:
    """S03, Y11, MM-6 to MM-9: the count reads 0; T tries again until the slot holds the new page, count + 1.
    T2, who wants the bytes, sleeps on the new page's lock until they are there (W7). M: 0.
    """
    stage = file_page(write=True)
    mover = stage.mover()
    until(stage, mover, "MM-7")
    assert stage.counts() == (0, 0)
    look = lookup(stage)
    wait = waits(stage, look)
    assert (wait.lock, wait.holder) == ("tree_lock", mover.number)
    assert stage.counts() == (0, 0)
    until(stage, mover, "MC-1")
    new = stage.new_frame()
    assert (stage.counts(), stage.counts(new)) == ((1, 0), (2, 0))
    finish(stage, look)
    assert (look.result, stage.counts(new)) == (new, (3, 0))
    assert pm.PageFlags.UPTODATE not in stage.machine.frame(new).flags
    reader = stage.machine.start(pm.calls.read_file(stage.file, 0, 4), by=stage.other)
    asleep = pm.WaitFor("page_lock", new, mover.number)
    assert waits(stage, reader) == asleep
    until(stage, mover, "MN-5")
    assert reader.waiting_for == asleep
    assert step(stage, mover)
    finish(stage, reader)
    assert reader.result == b"page"
    finish(stage, mover)
    assert (statuses(mover), mover.history.count("UM-3")) == ([1], 1)
    stage.other.unpin(new)


@pytest.mark.parametrize("late", [False, True], ids=["before the drain", "after the drain"])
def test_s04_a_slot_that_was_read_before_the_freeze_is_read_again(late: bool) -> None:
    """S04: T's increment on the old page succeeds after MM-9 (count + 1); the slot holds the new page: T
    drops it and tries again. M: 0. Late, T's drop is what frees the frame, which nobody gets before.
    """
    stage = file_page()
    mover = stage.mover()
    until(stage, mover, "MM-6")
    look = lookup(stage)
    until(stage, look, "SP9-3")
    until(stage, mover, "MC-1")
    new = stage.new_frame()
    assert (stage.counts(), stage.counts(new)) == ((1, 0), (2, 0))
    until(stage, look, "SP9-4")
    assert (stage.counts(), stage.counts(new)) == ((2, 0), (2, 0))
    if late:
        finish(stage, mover)
        stage.machine.drain()
        shell = stage.machine.frame(stage.old)
        assert (shell.count, shell.owner, free_frames(stage, 0)) == (1, None, 63)
        stage.app.touch(stage.app.mmap(pm.PAGE_SIZE))
        assert stage.machine.frame(stage.old).owner is None
    finish(stage, look)
    assert (look.result, stage.counts()) == (new, (0, 0) if late else (1, 0))
    assert free_frames(stage, 0) == 63
    finish(stage, mover)
    assert (statuses(mover), mover.history.count("UM-3")) == ([1], 1)
    stage.other.unpin(new)


def test_s05_a_fault_on_an_entry_makes_the_attempt_fail_and_then_needs_no_fault() -> None:
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


def test_s05_a_thread_that_keeps_touching_makes_all_ten_passes_fail() -> None:
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


def test_s06_a_fault_during_the_freeze_goes_round_and_leaves_the_count_alone() -> None:
    """S06, Y11, EW-4: increment-unless-zero fails; T faults again and again until MM-9. Then as S07. M: 0."""
    stage = file_page()
    mover = stage.mover()
    until(stage, mover, "MM-7")
    fault = stage.machine.start(pm.calls.touch(stage.area, write=False), by=stage.app)
    while fault.history.count("EW-1") < 3:
        assert step(stage, fault)
        assert (stage.counts(), fault.waiting_for) == ((0, 0), None)
    until(stage, mover, "MC-1")
    assert waits(stage, fault) == pm.WaitFor("page_lock", stage.old, mover.number)
    assert stage.counts() == (2, 0)
    finish(stage, mover, fault)
    assert (statuses(mover), mover.history.count("UM-3")) == ([1], 1)
    assert stage.app.entry_at(stage.address).pfn == stage.new_frame()


@pytest.mark.parametrize("label", ["MC-1", "MN-4"])
def test_s07_a_fault_after_the_freeze_sleeps_on_the_old_page_until_it_is_unlocked(label: str) -> None:
    """S07: count + 1 on the old page, asleep on **its** lock until UM-15; it outlives the drain, T's drop
    frees it; T's second try finds the new page without a fault. M: 0.
    """
    stage = file_page()
    mover = stage.mover()
    until(stage, mover, label)
    assert stage.counts() == (1, 0)
    fault = stage.machine.start(pm.calls.touch(stage.area, write=False), by=stage.app)
    asleep = pm.WaitFor("page_lock", stage.old, mover.number)
    assert waits(stage, fault) == asleep
    assert stage.counts() == (2, 0)
    until(stage, mover, "UM-15")
    assert fault.waiting_for == asleep
    assert step(stage, mover)
    assert fault.waiting_for is None
    finish(stage, mover)
    assert statuses(mover) == [1]
    stage.machine.drain()
    assert (stage.counts(), free_frames(stage, 0)) == ((1, 0), 63)
    finish(stage, fault)
    assert (stage.counts(), free_frames(stage, 0)) == ((0, 0), 64)
    assert fault.history.count("EW-1") == 1
    assert stage.app.entry_at(stage.address).pfn == stage.new_frame()


@pytest.mark.parametrize("label", ["MC-1", "MN-4", "MN-5", "UM-15"])
def test_s08_a_fault_on_an_entry_after_the_count_test_is_harmless(label: str) -> None:
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


def test_s09_a_store_to_a_restored_entry_waits_for_the_new_page_and_then_copies() -> None:
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


def test_s09_a_store_to_a_restored_entry_takes_the_new_page_over_if_it_is_the_only_mapper() -> None:
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
def test_s10_a_store_through_a_restored_writable_entry_needs_no_fault_and_is_kept(label: str) -> None:
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


def test_s11_a_copy_on_write_fault_that_owns_the_lock_stops_three_passes_and_then_is_waited_for() -> None:
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
def test_s12_a_copy_on_write_fault_queued_on_the_lock_makes_the_attempt_fail(remembered: str) -> None:
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
def test_s43_a_pin_of_an_ordinary_entry_keeps_the_page_until_it_is_dropped(label: str) -> None:
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


def test_s43_a_pin_dropped_between_two_passes_lets_the_next_one_succeed() -> None:
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


def test_s43_a_pin_that_meets_an_entry_waits_and_then_holds_the_old_page() -> None:
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


def test_s43_a_pin_that_meets_an_entry_too_late_to_matter_holds_the_new_page() -> None:
    """S43 at Y12, as S07 and S08: it waits out the move, which does not notice, and pins the new page."""
    stage = own_page()
    mover = stage.mover()
    until(stage, mover, "MC-1")
    pin = stage.machine.start(pm.calls.pin(stage.address), by=stage.parent)
    assert waits(stage, pin) == pm.WaitFor("page_lock", stage.old, mover.number)
    finish(stage, mover, pin)
    new = stage.frame(stage.parent)
    assert (statuses(mover), pin.result, new.node) == ([1], new.pfn, 1)
    assert (new.count, new.mapcount) == (3, 1)
    stage.parent.unpin(new.pfn)


@pytest.mark.parametrize("label", ["MN-5", "UM-15", "UM-16", "UM-17"])
def test_s43_a_pin_after_the_restore_holds_the_new_page_and_does_not_disturb(label: str) -> None:
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
