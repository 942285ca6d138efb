"""Invariants 9, swap: I-80 to I-83."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest

import pagemig as pm
from tests.invariants.recount import SWAPPER, F, Recount
from tests.invariants.situations import KINDS, PAGE, fill, leave_shmem_in_swap, steps

every_kind = pytest.mark.parametrize("kind", KINDS)


def assert_slots(now: Recount) -> None:
    """I-80, I-81, I-83: a slot is used by those that name it, cached if a page says so, free if neither."""
    named = Counter(leaf.entry.swap.offset for leaf in now.swapped if leaf.entry.swap is not None)
    cached = {slot.index for slot in now.slots if slot.mapping == SWAPPER}
    assert {now.frames[slot.pfn].private for slot in now.slots if slot.mapping == SWAPPER} == cached
    taken = 0
    for offset, slot in now.swap_slots.items():
        assert slot.uses == named[offset] + slot.is_shmem
        assert slot.is_cached == (offset in cached)
        taken += bool(slot.uses or slot.is_cached)
    assert set(named) <= set(now.swap_slots)
    assert now.swap.free == now.swap.slots - taken


@every_kind
def test_slots_count_those_that_name_them(kind: str) -> None:
    """I-80, I-81, I-83: at every step of a migration."""
    for now in steps(kind):
        assert_slots(now)
    if kind in ("swap cache", "read ahead", "shmem in the swap cache"):
        assert all(now.swap.free < now.swap.slots for now in steps(kind))


@every_kind
def test_migration_entries_change_no_use_count(kind: str) -> None:
    """I-82: only a page of the swap cache has its leaves replaced by swap entries, which count."""
    seen = steps(kind)
    replaced = 0
    for before, now in itertools.pairwise(seen):
        new = {leaf.key for leaf in now.swapped} - {leaf.key for leaf in before.swapped}
        replaced += len(new)
        uses = [sum(slot.uses for slot in each.swap_slots.values()) for each in (before, now)]
        assert uses[1] - uses[0] == len(new)
        if {leaf.key for leaf in now.entries} != {leaf.key for leaf in before.entries}:
            assert now.swap_slots == before.swap_slots
    assert replaced == (2 if kind == "swap cache" else 0)


def test_slots_are_in_order_at_every_step_of_their_life(machine: pm.Machine, app: pm.Task) -> None:
    """I-80, I-81, I-83: out, shared by fork, in by a load and a store, gone with the last that names it."""
    area = app.mmap(2 * PAGE)
    fill(machine, app, area)
    children: list[pm.Task] = []
    calls: list[pm.call.CallValue] = [
        pm.calls.swap_out(area.start),
        pm.calls.swap_out(area[1].start),
        pm.calls.fork("child"),
        pm.calls.touch(area[0], write=False),
        pm.calls.touch(area[0]),
        pm.calls.migrate_pages(app, [0], [1]),
        pm.calls.munmap(area[1]),
        pm.calls.touch(area[0]),
    ]
    most = 0
    for what in calls:
        call = machine.start(what, by=app)
        while not call.done:
            if not call.step():
                assert machine.complete_io()
            now = Recount(machine)
            if not hides_leaves(call):
                assert_slots(now)
            most = max(most, *(slot.uses for slot in now.swap_slots.values()))
        assert_slots(Recount(machine))
        if isinstance(call.result, pm.task.Task):
            children.append(call.result)
        while machine.complete_io():
            assert_slots(Recount(machine))
        machine.drain()
    assert most == 2
    children[0].exit()
    app.exit()
    machine.drain()
    now = Recount(machine)
    assert_slots(now)
    assert now.swap == pm.SwapInfo(8, 8, 0)


def hides_leaves(call: pm.Call) -> bool:
    """Whether leaves are where a recount cannot see them: of a child half made, or out of any area."""
    return any(label.startswith(("SP3-", "SP6-")) for label in call.labels)


def test_a_slot_of_shmem_is_used_by_its_file(machine: pm.Machine, app: pm.Task) -> None:
    """I-80: "plus shmem ownership": no leaf names it."""
    leave_shmem_in_swap(machine, app)
    now = Recount(machine)
    assert_slots(now)
    assert [slot for slot in now.swap_slots.values() if slot.uses] == [pm.SwapSlot(1, True, True)]
    assert now.swapped == []
    machine.file("shared").truncate(0)
    machine.drain()
    now = Recount(machine)
    assert_slots(now)
    assert now.swap.free == now.swap.slots
    assert now.has(F.SWAPCACHE) == set()


def test_when_swap_is_full_all_slots_are_taken(machine: pm.Machine, app: pm.Task) -> None:
    """I-83: eight pages leave, the ninth does not; all come back, and all slots are free again."""
    area = app.mmap(9 * PAGE)
    fill(machine, app, area)
    assert app.swap_out(area) == 8
    now = Recount(machine)
    assert_slots(now)
    assert now.swap.free == 0
    assert app.read(area[3].start, 6) == b"page 3"
    app.touch(area)
    machine.drain()
    now = Recount(machine)
    assert_slots(now)
    assert len(now.mapped) == 9
    app.munmap(area)
    machine.drain()
    assert Recount(machine).swap == pm.SwapInfo(8, 8, 0)


def test_the_swap_cache_page_of_a_slot_may_outlive_its_leaves(machine: pm.Machine, app: pm.Task) -> None:
    """I-81, I-83, S30: the last leaf is zapped while somebody has the page locked: HAS_CACHE remains."""
    area = app.mmap(PAGE)
    fill(machine, app, area)
    app.swap_out(area)
    app.touch(area, write=False)
    machine.drain()
    (slot,) = Recount(machine).slots
    assert slot.mapping == SWAPPER
    by = machine.spawn("mover", stack=False)
    mover = machine.start(pm.calls.migrate_frames([slot.pfn], pm.ToNode(1)), by=by)
    assert mover.run_until("MM-2")
    assert len(Recount(machine).swapped) == 1
    app.munmap(area)
    now = Recount(machine)
    assert_slots(now)
    assert now.swap_slots[slot.index] == pm.SwapSlot(0, True, False)
    mover.run()
    machine.drain()
    assert_slots(Recount(machine))
