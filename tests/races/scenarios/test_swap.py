"""Pages of the swap cache that are moved while somebody wants them, or nobody does: S28 to S30.

Every step is audited. M moves the frame through nobody's mm, as memory offlining does.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

import pagemig as pm
from tests.races.scenarios.stages import SLOT, swap_cache_page, swap_machine
from tests.races.stage import HasMachine, finish, free_frames, step, until, waits

F = pm.PageFlags
PAGE = pm.PAGE_SIZE
DISK = pm.Holder.DISK


def attempt(stage: HasMachine, mover: pm.Call) -> None:
    """M goes on to the end of its attempt, with UM-17 made."""
    until(stage, mover, "UM-17")
    assert step(stage, mover)


@dataclass(frozen=True)
class ReadAhead:
    """A page that is being read from swap because its neighbour is wanted; nobody ever mapped it."""

    machine: pm.Machine
    app: pm.Task
    other: pm.Task
    page: pm.Region
    old: int
    fault: pm.Call
    """The fault on the neighbour, asleep."""

    def mover(self) -> pm.Call:
        """Start a move of the frame to node 1."""
        return self.machine.start(pm.calls.migrate_frames([self.old], pm.ToNode(1)), by=self.other)

    def counts(self) -> tuple[int, int]:
        """Count and map count of the frame."""
        frame = self.machine.frame(self.old)
        return frame.count, frame.mapcount

    def all_read(self) -> None:
        """The disk answers all that it was asked."""
        while self.machine.complete_io():
            self.machine.check()


def read_ahead() -> ReadAhead:
    """Of two pages in swap the first is wanted; the second is locked by the disk, and in no memory."""
    machine, app, other = swap_machine()
    pair = app.mmap(2 * PAGE)
    app.touch(pair)
    app.write(pair[1].start, b"ahead")
    machine.drain()
    assert app.swap_out(pair) == 2
    fault = machine.start(pm.calls.touch(pair[0], write=False), by=app)
    while fault.step():
        machine.check()
    wanted = fault.waiting_for
    assert wanted is not None and wanted.holder == DISK
    (old,) = {transfer.pfn for transfer in machine.pending_io} - {wanted.number}
    machine.drain()
    page = machine.frame(old)
    assert (page.count, page.owner, page.private) == (1, None, 2)
    assert page.flags & (F.LOCKED | F.SWAPCACHE | F.UPTODATE) == F.LOCKED | F.SWAPCACHE
    return ReadAhead(machine, app, other, pair[1], old, fault)


@pytest.mark.parametrize("faulter", [False, True], ids=["nobody waits", "a faulter waits"])
def test_s28_a_page_that_was_just_read_and_never_mapped(faulter: bool) -> None:
    """S28: locked by the I/O: -EAGAIN in passes 0 to 2, sleep from 3; null mapping: no unmapping; expected 2
    (isolation, slot). The new page takes slot and ``private``; ``mapping`` stays null. A faulter that
    waits has a reference: -EAGAIN; it maps the page, and the next pass unmaps it to the slot.
    """
    stage = read_ahead()
    mover = stage.mover()
    for _ in range(3):
        attempt(stage, mover)
    assert waits(stage, mover) == pm.WaitFor("page_lock", stage.old, DISK)
    second = None
    if faulter:
        second = stage.machine.start(pm.calls.touch(stage.page, write=False), by=stage.app)
        assert waits(stage, second) == pm.WaitFor("page_lock", stage.old, DISK)
    unmaps = stage.machine.cost["unmaps"]
    stage.all_read()
    until(stage, mover, "MM-2")
    assert (stage.machine.cost["unmaps"], stage.counts()) == (unmaps, (3 if faulter else 2, 0))
    if second is not None:
        attempt(stage, mover)
        assert mover.history.count("MM-6") == 0
        finish(stage, second)
        assert stage.counts() == (3, 1)
    until(stage, mover, "MN-5")
    new = next(frame for frame in map(stage.machine.frame, range(64, 128)) if F.LOCKED in frame.flags)
    assert (new.private, F.SWAPCACHE in new.flags) == (2, True)
    assert (new.owner is None) is (not faulter)
    assert (new.count, new.mapcount) == (2, 0)
    finish(stage, mover)
    assert (mover.result.statuses.tolist(), mover.result.passes) == ([1], 5 if faulter else 4)
    assert stage.app.entry_at(stage.page.start).kind is pm.EntryKind.SWAP
    finish(stage, stage.fault)
    assert stage.app.read(stage.page.start, 5) == b"ahead"
    page = stage.app.page_at(stage.page.start)
    assert page is not None and page.pfn == new.pfn


@pytest.mark.parametrize("label", ["MM-2", "MC-1"])
def test_s29_a_swap_fault_that_looks_the_page_up_during_the_move(label: str) -> None:
    """S29: before the freeze: reference on the old page, asleep on P: -EAGAIN; T maps it; the next pass puts
    the swap entry there again. After MM-9: the new page; asleep on N; maps it. M: 0.
    """
    stage = swap_cache_page()
    mover = stage.mover()
    until(stage, mover, label)
    entry = stage.app.entry_at(stage.address)
    assert (entry.kind, entry.swap, stage.slot().uses) == (pm.EntryKind.SWAP, SLOT, 1)
    fault = stage.machine.start(pm.calls.touch(stage.page, write=False), by=stage.app)
    wait = waits(stage, fault)
    assert (wait.lock, wait.holder) == ("page_lock", mover.number)
    found = wait.number
    assert (found == stage.old, stage.counts(found)) == (label == "MM-2", (3, 0))
    until(stage, mover, "UM-16")
    finish(stage, fault)
    assert (fault.result.minor, fault.result.major) == (1, 0)
    assert (stage.frame().pfn, stage.slot().uses) == (found, 0)
    if label == "MM-2":
        assert mover.history.count("MM-6") == 0
        until(stage, mover, "UM-10")
        assert stage.app.entry_at(stage.address).swap == SLOT
    finish(stage, mover)
    passes = 2 if label == "MM-2" else 1
    assert (mover.result.statuses.tolist(), mover.result.passes) == ([1], passes)
    assert stage.app.read(stage.address, 4) == b"page"
    assert stage.frame().node == 1


@pytest.mark.parametrize("meets", [False, True], ids=["MM-5 later", "MM-5 in between"])
def test_s30_the_last_swap_entry_is_zapped_while_the_page_is_locked(meets: bool) -> None:
    """S30: use count 0, HAS_CACHE remains; T takes a reference, its try-lock fails, it drops it. If MM-5
    falls in between: -EAGAIN. The page survives with no user, is migrated, and is reclaimed later.
    """
    stage = swap_cache_page()
    mover = stage.mover()
    until(stage, mover, "MM-2")
    zap = stage.machine.start(pm.calls.munmap(stage.page), by=stage.app)
    if meets:
        while stage.counts() == (2, 0):
            assert step(stage, zap)
        assert (stage.counts(), stage.slot().uses) == ((3, 0), 0)
        attempt(stage, mover)
        assert mover.history.count("MM-6") == 0
    finish(stage, zap)
    assert stage.slot() == pm.SwapSlot(uses=0, is_cached=True, is_shmem=False)
    assert stage.counts() == (2, 0)
    finish(stage, mover)
    assert (mover.result.statuses.tolist(), mover.result.passes) == ([1], 2 if meets else 1)
    stage.machine.drain()
    assert (stage.counts(), stage.machine.swap.cached) == ((0, 0), 1)
    for _ in range(3):
        stage.machine.reclaim(1)
        stage.machine.drain()
        stage.machine.check()
    assert stage.machine.swap == pm.SwapInfo(16, 16, 0)
    assert (free_frames(stage, 0), free_frames(stage, 1)) == (64, 64)
