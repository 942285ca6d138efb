"""Invariants 4, locks: I-30 to I-36.

Spinlocks are seen only through who waits for them: a call that sleeps, and that somebody else waits for
to leave a spinlock, would sleep holding it (I-34); and two locks of which the holder of the first waits
for the second were taken in that order (I-35).
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import pagemig as pm
from pagemig import filesystems
from tests.invariants.follow import Follower
from tests.invariants.recount import F, Recount
from tests.invariants.situations import FRAMES, KINDS, PAGE, SHARED, fill, new_machine, steps

every_kind = pytest.mark.parametrize("kind", KINDS)
SLEEPING = {"ksm_thread_mutex", "mmap_sem", "page_lock", "writeback", "buffer_lock"}
ORDER = (
    ("ksm_thread_mutex",),
    ("mmap_sem",),
    ("page_lock",),
    ("i_mmap_lock", "anon_vma_lock"),
    ("leaf_lock",),
    ("tree_lock",),
)
"""Data-model 11, outermost first, as far as a call can be seen to wait for one."""
RANK = {lock: rank for rank, locks in enumerate(ORDER) for lock in locks}


@every_kind
def test_pages_are_locked_by_the_migrator_alone_and_only_in_between(kind: str) -> None:
    """I-30, I-31, I-32: the old page from UM-3 to UM-15, the new one from MN-1 to MN-5, no other, ever."""
    most = 0
    for now in steps(kind):
        locked = now.has(F.LOCKED)
        assert locked == now.holds.locked()
        assert locked <= {now.holds.old, now.holds.new}
        most = max(most, len(locked))
    for now in (steps(kind)[0], *steps(kind)[-2:]):
        assert now.has(F.LOCKED) == set()
    tried = any("MN-1" in now.holds.made for now in steps(kind))
    assert (most == 2) == (tried and kind not in ("failing", "ramfs dirty"))


def test_a_page_is_locked_while_it_is_read(machine: pm.Machine, app: pm.Task) -> None:
    """I-30: the exception: the disk owns the lock until the transfer ends, with no call in flight."""
    area = app.mmap(2 * PAGE)
    fill(machine, app, area)
    app.swap_out(area)
    touch = machine.start(pm.calls.touch(area, write=False), by=app)
    while touch.step():
        locked = Recount(machine).has(F.LOCKED)
        reads = {io.pfn for io in machine.pending_io if io.direction is pm.IoDirection.READ}
        assert reads <= locked
    wait = touch.waiting_for
    assert wait is not None
    assert (wait.lock, wait.holder) == ("page_lock", pm.Holder.DISK)
    assert wait.pfn in {io.pfn for io in machine.pending_io}
    while machine.complete_io():
        pass
    touch.run()
    assert Recount(machine).has(F.LOCKED) == set()


def test_a_lock_has_one_owner_whoever_else_wants_it(machine: pm.Machine, app: pm.Task) -> None:
    """I-31: a mover that owns the page is named by all who wait for it; then one of them owns it."""
    file = machine.create_file("data", PAGE)
    area = app.mmap(PAGE, file=file, shared=True)
    (pfn,) = fill(machine, app, area)
    other = machine.spawn("other", stack=False)
    mover = follow_move(machine, app, area).run_until("UM-9")
    cutter = machine.spawn("cutter", stack=False)
    rivals = [
        machine.start(pm.calls.touch(other.mmap(PAGE, file=file, shared=True)), by=other),
        machine.start(pm.calls.truncate(file, 0), by=cutter),
    ]
    for rival in rivals:
        while rival.step():
            assert Recount(machine, mover.holds()).has(F.LOCKED) == {pfn}
        assert rival.waiting_for == pm.WaitFor("page_lock", pfn, mover.call.number)
    while any(not call.done for call in (mover.call, *rivals)):
        for call in (mover.call, *rivals):
            if not call.done:
                call.step()
            owners = {rival.waiting_for.holder for rival in rivals if rival.waiting_for is not None}
            assert len(owners - {None}) <= 1
    assert Recount(machine).has(F.LOCKED) == set()


def follow_move(machine: pm.Machine, task: pm.Task, area: pm.Region) -> Follower:
    """A move of an area to node 1."""
    return Follower(machine, machine.start(pm.calls.move_pages(area, 1, scope=SHARED), by=task))


@pytest.mark.parametrize("verb", ["truncate", "reclaim", "ksm_scan", "soft_offline", "touch"])
def test_others_hold_one_page_lock_at_most(verb: str) -> None:
    """I-32: truncation and reclaim never more than one, at any step; faults and soft offline neither."""
    machine = new_machine()
    app = machine.spawn("app", stack=False)
    file = machine.create_file("data", 3 * PAGE)
    view = app.mmap(3 * PAGE, file=file, shared=True)
    heap = app.mmap(3 * PAGE)
    app.madvise(heap, pm.Advice.MERGEABLE)
    app.touch(heap)
    app.touch(view, write=False)
    machine.drain()
    child = app.fork("child")
    calls: dict[str, pm.call.CallValue] = {
        "truncate": pm.calls.truncate(file, 0),
        "reclaim": pm.calls.reclaim(0, 8, family=pm.PageFamily.FILE),
        "ksm_scan": pm.calls.ksm_scan(),
        "soft_offline": pm.calls.soft_offline(0),
        "touch": pm.calls.touch(child.same(view), write=False),
    }
    call = machine.start(calls[verb], by=child if verb == "touch" else app)
    most = 0
    while not call.done:
        assert call.step()
        locked = Recount(machine).has(F.LOCKED)
        assert len(locked) <= (2 if verb == "soft_offline" else 1), f"{verb} holds {locked}"
        most = max(most, len(locked))
    assert most >= 1
    assert Recount(machine).has(F.LOCKED) == set()


def locked_buffers(now: Recount) -> set[int]:
    """The pages that have a locked buffer."""
    lock = pm.BufferState.LOCK
    return {pfn for pfn, ring in now.buffers.items() if any(lock & buffer.state for buffer in ring)}


@every_kind
def test_no_buffer_is_locked_at_rest(kind: str) -> None:
    """I-33: unless its page is under writeback or read; a migrator locks them from BM-3 to BM-8."""
    busy = False
    for now in steps(kind):
        written = {io.pfn for io in now.transfers}
        by_migrator = {now.holds.old} if now.holds.between("BM-2", "BM-8") else set()
        assert locked_buffers(now) <= written | by_migrator
        busy |= bool(locked_buffers(now))
    assert busy == (kind in ("ext clean", "ext dirty", "block device", "charged", "offlined"))
    for now in (steps(kind)[0], *steps(kind)[-2:]):
        assert locked_buffers(now) <= now.has(F.WRITEBACK)


def test_the_buffers_of_a_page_that_is_written_are_locked_until_that_ends(machine: pm.Machine) -> None:
    """I-33: with no call in flight the exception is the page under writeback."""
    file = machine.create_file("data", 2 * PAGE)
    file.write(0, b"x" * 2 * PAGE)
    file.writeback(0)
    now = Recount(machine)
    assert locked_buffers(now) == now.has(F.WRITEBACK) == {file.pfn_of(0)}
    machine.complete_io()
    now = Recount(machine)
    assert locked_buffers(now) == now.has(F.WRITEBACK) == set()


# who waits for whom -----------------------------------------------------------------------


def crowd(kind: str) -> Iterator[tuple[pm.Machine, list[pm.Call]]]:
    """Several calls over the same pages, some steps each in an order that a number chooses."""
    for number in range(12):
        machine = new_machine()
        app = machine.spawn("app", stack=False)
        file = machine.create_file("data", 2 * PAGE, filesystem=getattr(filesystems, kind))
        area = app.mmap(2 * PAGE, file=file, shared=True)
        heap = app.mmap(2 * PAGE)
        pfns = fill(machine, app, area) + fill(machine, app, heap)
        child = app.fork("child")
        child.touch(child.same(area))
        mover, cutter, other = (machine.spawn(name, stack=False) for name in ("mover", "cutter", "other"))
        calls = [
            machine.start(pm.calls.migrate_frames(pfns, pm.ToNode(1)), by=mover),
            machine.start(pm.calls.truncate(file, PAGE), by=cutter),
            machine.start(pm.calls.touch(child.same(area)), by=child),
            machine.start(pm.calls.write(heap.start, b"store"), by=app),
            machine.start(pm.calls.writeback(file, 0), by=other),
        ]
        random = number * 2654435761 + 12345
        while machine.calls:
            ready = [call for call in machine.calls if call.waiting_for is None]
            if not ready:
                assert machine.complete_io(), "they wait for each other"
                continue
            random = (random * 6364136223846793005 + 1442695040888963407) & (1 << 64) - 1
            call = ready[(random >> 33) % len(ready)]
            for _ in range(1 + (random >> 50) % 7):
                if call.done or not call.step():
                    break
                yield machine, calls
        now = Recount(machine)
        assert now.has(F.LOCKED) == set(), "I-30"
        machine.check()


def edges(calls: list[pm.Call]) -> list[tuple[str, str]]:
    """Pairs of locks: somebody holds the first, which is waited for, and waits for the second."""
    waits = {call.number: call.waiting_for for call in calls if not call.done}
    found = []
    for wait in waits.values():
        further = None if wait is None or wait.holder is None else waits.get(wait.holder)
        if wait is not None and further is not None:
            found.append((wait.lock, further.lock))
    return found


@pytest.mark.parametrize("kind", ["EXT", "BLOCKDEV", "TMPFS"])
def test_who_sleeps_is_waited_for_by_nobody_at_a_spinlock(kind: str) -> None:
    """I-34, I-35, I-36: over five calls on the same pages, at every step of twelve orders."""
    seen: set[str] = set()
    pairs: set[tuple[str, str]] = set()
    for machine, calls in crowd(kind):
        for call in calls:
            wait = call.waiting_for
            if wait is None:
                continue
            seen.add(wait.lock)
            if wait.pfn is not None:
                bit = F.LOCKED if wait.lock == "page_lock" else F.WRITEBACK
                assert bit & machine.frame(wait.pfn).flags, "I-36: nobody waits for a clear bit"
        pairs.update(edges(calls))
    for held, wanted in pairs:
        assert held in SLEEPING or wanted not in SLEEPING, f"sleeps for {wanted} holding {held}"
        assert RANK[held] < RANK.get(wanted, len(RANK)), f"takes {wanted} under {held}"
    assert seen >= {"page_lock", "i_mmap_lock"}
    assert pairs


def waits(call: pm.Call) -> pm.WaitFor:
    """Step a call until it waits."""
    while call.step():
        assert not call.done, f"{call!r} did not have to wait"
    wait = call.waiting_for
    assert wait is not None
    return wait


def test_a_sleeping_mover_holds_what_it_may_hold_asleep(machine: pm.Machine) -> None:
    """I-34, I-35: while it awaits writeback, others wait for its page lock and ``mmap_sem``: no more."""
    app = machine.spawn("app", stack=False)
    file = machine.create_file("data", PAGE)
    area = app.mmap(PAGE, file=file, shared=True)
    app.write(area.start, b"dirty")
    machine.drain()
    file.writeback(0)
    mover = machine.start(pm.calls.move_pages(area, 1), by=app)
    reader = machine.spawn("reader", stack=False)
    late = [
        machine.start(pm.calls.munmap(area), by=app),
        machine.start(pm.calls.touch(reader.mmap(PAGE, file=file, shared=True)), by=reader),
    ]
    assert waits(mover).lock == "writeback"
    assert {waits(call).lock for call in late} == {"page_lock", "mmap_sem"}
    assert sorted(edges([mover, *late])) == [("mmap_sem", "writeback"), ("page_lock", "writeback")]


def test_offlining_sleeps_with_the_mutex_of_ksm(machine: pm.Machine, kernel: pm.Task) -> None:
    """I-34, I-35: the outermost lock of all, which may be held asleep."""
    app = machine.spawn("app", stack=False, mems_allowed={1})
    file = machine.create_file("data", PAGE)
    area = app.mmap(PAGE, file=file, shared=True)
    app.write(area.start, b"dirty")
    machine.drain()
    file.writeback(0)
    offline = machine.start(pm.calls.offline(FRAMES, 16), by=kernel)
    assert waits(offline).lock == "writeback"
    scan = machine.start(pm.calls.ksm_scan(), by=machine.spawn("ksmd", kernel_thread=True))
    assert waits(scan).lock == "ksm_thread_mutex"
    assert edges([offline, scan]) == [("ksm_thread_mutex", "writeback")]
    assert machine.complete_io()
    machine.run()


@pytest.mark.parametrize(
    ("label", "rival", "lock"),
    [
        ("MM-6", "write_file", "tree_lock"),
        ("MM-7", "write_file", "tree_lock"),
        ("RP-4", "pin", "leaf_lock"),
        ("RP-1", "munmap", "i_mmap_lock"),
    ],
)
def test_who_has_a_spinlock_can_go_on(machine: pm.Machine, label: str, rival: str, lock: str) -> None:
    """I-34: a rival waits for the mover's spinlock, and the mover does not wait: it lets go by itself."""
    app = machine.spawn("app", stack=False)
    file = machine.create_file("data", 2 * PAGE)
    area = app.mmap(PAGE, file=file, shared=True)
    fill(machine, app, area)
    child = app.fork("child")
    child.touch(child.same(area))
    machine.drain()
    mover = follow_move(machine, app, area).run_until(label)
    calls: dict[str, pm.call.CallValue] = {
        "write_file": pm.calls.write_file(file, PAGE, b"x"),
        "pin": pm.calls.pin(area.start),
        "munmap": pm.calls.munmap(child.same(area)),
    }
    late = machine.start(calls[rival], by=app if rival == "pin" else child)
    wait = waits(late)
    assert (wait.lock, wait.holder) == (lock, mover.call.number)
    while late.waiting_for is not None:
        assert edges([mover.call, late]) == []
        assert mover.step(), "it never waits while somebody waits for its spinlock"
    machine.run()
