"""Invariants 2, references and map counts: I-10 to I-16, at every step of every kind of migration."""

from __future__ import annotations

import dataclasses
from collections import Counter

import pytest

import pagemig as pm
from tests.invariants.follow import Follower, Holds
from tests.invariants.recount import F, Recount
from tests.invariants.situations import KINDS, PAGE, SHARED, new_machine, steps

every_kind = pytest.mark.parametrize("kind", KINDS)
CACHED = (
    "ext clean",
    "ext dirty",
    "shmem",
    "swap cache",
    "read ahead",
    "shmem in the swap cache",
    "ramfs clean",
)


def assert_counted(now: Recount) -> None:
    """I-10, I-11: a count is the number of holders; of a frozen page it reads 0, and they remain."""
    for pfn in now.used:
        frame = now.frames[pfn]
        if pfn == now.holds.frozen:
            assert frame.count == 0
            assert now.references(pfn) == 2 + now.priv(pfn), "MM-4: isolation, slot, buffers"
        else:
            assert frame.count == now.references(pfn), f"{frame} after {now.holds.made[-1:]}"


@every_kind
def test_a_count_is_the_number_of_holders_at_every_step(kind: str) -> None:
    """I-10: entries, slot, buffers, isolation, pagevecs, owner, pins."""
    for now in steps(kind):
        assert_counted(now)
    assert any(now.holds.isolated for now in steps(kind))


@pytest.mark.parametrize("kind", CACHED)
def test_a_frozen_page_reads_zero_and_keeps_its_holders(kind: str) -> None:
    """I-11, MM-6 to MM-9: the sum is what it was frozen from; after MM-9 it is one less."""
    seen = steps(kind)
    frozen = [at for at, now in enumerate(seen) if now.holds.frozen is not None]
    assert frozen
    for at in frozen:
        pfn = seen[at].holds.frozen
        assert pfn is not None
        assert_counted(seen[at])
        before, after = seen[at - 1].frames[pfn].count, seen[at + 1].frames[pfn].count
        assert before == seen[at].references(pfn)
        assert after == before - 1, "MM-9 drops the reference of the slot"


@every_kind
def test_at_rest_nothing_is_held_for_a_moment(kind: str) -> None:
    """I-12: before and after the call, and after the drain: ptes + slot + priv + pvec and pins."""
    for now in (steps(kind)[0], *steps(kind)[-2:]):
        assert (now.iso, now.own, now.holds.frozen) == (Counter(), Counter(), None)
        assert_counted(now)


@every_kind
def test_a_map_count_is_the_number_of_present_entries_at_every_step(kind: str) -> None:
    """I-13, I-14: for every frame, in use or not; so it is never negative."""
    for now in steps(kind):
        for frame in now.frames:
            assert frame.mapcount == now.ptes[frame.pfn] >= 0


@every_kind
def test_a_mapped_page_has_as_many_references_as_entries(kind: str) -> None:
    """I-16: and a frozen page is mapped nowhere."""
    for now in steps(kind):
        for pfn in now.used:
            if pfn == now.holds.frozen:
                assert now.ptes[pfn] == 0
            else:
                assert now.frames[pfn].count >= now.ptes[pfn]


def test_the_zero_page_is_in_no_count(machine: pm.Machine, app: pm.Task, page: pm.Region) -> None:
    """I-15: mapped five times, by two tasks, it changes no count and no map count of any frame."""
    before = Recount(machine)
    empty = app.mmap(5 * PAGE)
    app.touch(empty, write=False)
    child = app.fork("child")
    child.touch(child.same(empty), write=False)
    now = Recount(machine)
    assert len(now.specials) == 10
    assert len({leaf.entry.raw & ~0xFFF for leaf in now.specials}) == 1, "all name the same page"
    assert now.used == before.used
    changed = dataclasses.replace(before.frames[0], count=2, mapcount=2)
    assert now.frames == [changed, *before.frames[1:]], "the fork shares the one page"
    assert app.move_pages(empty, 1).tolist() == [-2] * 5, "looked up, and let go"
    assert Recount(machine).frames == now.frames
    child.munmap(child.same(empty))
    app.touch(empty[0])
    now = Recount(machine)
    assert len(now.specials) == 4
    assert_counted(now)


# with others in the way -------------------------------------------------------------------


def sharing(machine: pm.Machine) -> tuple[pm.Task, pm.Task, pm.Region]:
    """A parent and a child that share one page, on frame 0."""
    app = machine.spawn("app", stack=False)
    area = app.mmap(PAGE)
    app.write(area.start, b"page")
    machine.drain()
    return app, app.fork("child"), area


def looks(machine: pm.Machine, mover: Follower, held: Counter[int]) -> Recount:
    """A recount while somebody else holds something, too."""
    return Recount(machine, dataclasses.replace(mover.holds(), held=held))


def test_a_task_that_waits_for_an_entry_holds_the_old_page(machine: pm.Machine) -> None:
    """I-10, EW-4, S05: one reference of the waiter until it has run, before and after the failed attempt."""
    app, child, area = sharing(machine)
    call = pm.calls.move_pages(area, 1, scope=SHARED)
    mover = Follower(machine, machine.start(call, by=app)).run_until("MM-1")
    assert_counted(looks(machine, mover, Counter()))
    reader = machine.start(pm.calls.touch(child.same(area), write=False), by=child)
    while reader.step():
        pass
    assert reader.waiting_for == pm.WaitFor("page_lock", 0, mover.call.number)
    held = Counter({0: 1})
    while reader.waiting_for is not None:
        assert_counted(looks(machine, mover, held))
        assert mover.step()
    assert_counted(looks(machine, mover, held))
    reader.run()
    mover.finish()
    assert_counted(Recount(machine))
    assert reader.result.hits + reader.result.spurious >= 1


def test_a_frame_that_was_discarded_is_held_by_its_pagevec_alone() -> None:
    """I-10, Q32: each failed attempt leaves a frame with one reference, which the drain drops."""
    *_, end, drained = steps("pinned")
    waiting = {pfn for pfn in end.used if end.frames[pfn].count == 1 and end.pvec[pfn] == 1}
    assert len([pfn for pfn in waiting if end.frames[pfn].node == 1]) >= 9
    assert not waiting & drained.used


def test_a_pin_is_one_reference_each_and_outlives_everything(machine: pm.Machine, app: pm.Task) -> None:
    """I-10, I-12: pinned twice, unmapped, drained: two references and no other holder."""
    area = app.mmap(PAGE)
    app.touch(area)
    for _ in range(2):
        app.pin(area.start)
    app.munmap(area)
    machine.drain()
    now = Recount(machine)
    assert (now.frames[0].count, now.frames[0].mapcount, now.tmp[0]) == (2, 0, 2)
    assert_counted(now)
    app.unpin(0)
    app.unpin(0)
    machine.drain()
    assert 0 in Recount(machine).idle


@pytest.mark.parametrize("label", ["UM-3", "UM-9", "UM-10", "MC-1", "MN-5", "UM-15", "UM-17"])
def test_counts_hold_when_the_other_mapper_leaves_in_the_window(label: str) -> None:
    """I-10, I-13, S19: one of two mappers unmaps at this point of the attempt."""
    machine = new_machine()
    app, child, area = sharing(machine)
    call = pm.calls.move_pages(area, 1, scope=SHARED)
    mover = Follower(machine, machine.start(call, by=app)).run_until(label)
    child.munmap(child.same(area))
    while not mover.call.done:
        now = Recount(machine, mover.holds())
        assert_counted(now)
        assert all(frame.mapcount == now.ptes[frame.pfn] for frame in now.frames)
        assert mover.step()
    machine.drain()
    now = Recount(machine)
    assert_counted(now)
    assert mover.call.result.tolist() == [1]
    (leaf,) = now.mapped
    assert now.frames[leaf.entry.pfn or 0].count == 1


def test_the_references_of_buffers_go_along_with_them() -> None:
    """I-10, BM-4: one reference for a page with buffers, whatever their number; both pages always agree."""
    old: set[int] = set()
    new: set[int] = set()
    for now in steps("ext dirty"):
        for pfn in now.has(F.PRIVATE):
            assert len(now.buffers[pfn]) == 4
            (old if now.frames[pfn].node == 0 else new).add(pfn)
    assert (len(old), len(new)) == (2, 2)


def test_an_isolation_by_hand_is_a_reference(machine: pm.Machine, page: pm.Region) -> None:
    """I-10: iso(p) is 1 on the list of whoever took it."""
    machine.isolate(0)
    now = Recount(machine, Holds(isolated=(0,)))
    assert_counted(now)
    assert now.frames[0].count == 2
    machine.putback(0)
    assert_counted(Recount(machine))
