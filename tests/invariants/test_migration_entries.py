"""Invariants 3, migration entries: I-20 to I-28."""

from __future__ import annotations

from collections import Counter

import pytest

import pagemig as pm
from tests.invariants.follow import Follower
from tests.invariants.recount import PRESENT, SWAP, F, Recount
from tests.invariants.situations import (
    EXACT,
    FRAMES,
    KINDS,
    PAGE,
    REPAIRED,
    SHARED,
    fill,
    new_machine,
    steps,
)

every_kind = pytest.mark.parametrize("kind", KINDS)
WITH_ENTRIES = tuple(
    set(KINDS) - {"swap cache", "read ahead", "shmem in the swap cache", "refused", "over-charged"}
)
"""Kinds that have migration entries: neither swap entries instead, nor nobody who maps the page."""
with_entries = pytest.mark.parametrize("kind", sorted(WITH_ENTRIES))


@every_kind
def test_no_entry_is_left_at_rest(kind: str) -> None:
    """I-20: neither before the call nor after it; in between there are some."""
    seen = steps(kind)
    for now in (seen[0], *seen[-2:]):
        assert now.entries == []
    assert any(now.entries for now in seen) == (kind in WITH_ENTRIES)


@every_kind
def test_an_entry_names_the_locked_isolated_page_of_the_attempt_under_way(kind: str) -> None:
    """I-21, I-22: from UM-9 on, and up to UM-11, MN-4 or WO-3."""
    for now in steps(kind):
        if not now.entries:
            continue
        assert set(now.ents) == {now.holds.old}
        (page,) = now.ents
        assert page is not None
        assert F.LOCKED in now.frames[page].flags
        assert page in now.holds.isolated
        assert page in now.used
        assert "UM-9" in now.holds.made
        ends = {"MN-5", "UM-12", "WO-4", "UM-16"} & set(now.holds.made)
        assert not ends, f"entries outlive {ends}"


@every_kind
def test_an_entry_is_where_the_reverse_map_looks(kind: str) -> None:
    """I-23: in an area, at the linear index of its page; for KSM at the address of a place."""
    for now in steps(kind):
        places = {place.address for node in now.ksm_nodes for place in node.places}
        for leaf in now.entries:
            assert leaf.area.start <= leaf.address < leaf.area.end
            if kind == "merged":
                assert leaf.address in places
            else:
                assert now.frames[leaf.entry.pfn or 0].index == leaf.index


@with_entries
def test_an_entry_has_the_flavour_of_the_leaf_that_it_replaced(kind: str) -> None:
    """I-24: writable exactly if the leaf was, nobody having forked or protected meanwhile."""
    flavours: Counter[bool] = Counter()
    last: dict[tuple[int, int], pm.Entry] = {}
    for now in steps(kind):
        for leaf in now.entries:
            assert leaf.entry.writable == last[leaf.key].writable
            flavours[leaf.entry.writable] += 1
        last |= {leaf.key: leaf.entry for leaf in now.mapped}
    if kind == "anonymous":
        assert all(flavours[is_write] for is_write in (True, False))


@every_kind
def test_a_leaf_that_is_not_present_is_a_slot_or_an_entry(kind: str) -> None:
    """I-25: bits 0 and 8 clear, type a device, 30 or 31, all other bits zero; the frame is the old page's."""
    sorts = set()
    for now in steps(kind):
        for leaf in (*now.swapped, *now.entries):
            raw = leaf.entry.raw
            sort, offset = raw >> 1 & 31, raw >> 9
            assert raw == sort << 1 | offset << 9
            sorts.add(sort)
            if leaf.entry.kind is SWAP:
                assert sort == 0
                assert 1 <= offset <= now.swap.slots
            else:
                assert sort == 31 if leaf.entry.writable else sort == 30
                assert offset == leaf.entry.pfn
        for leaf in now.mapped + now.specials:
            assert leaf.entry.raw & 0x101
    if kind == "anonymous":
        assert sorts == {30, 31}


@every_kind
def test_no_entry_ever_names_the_new_page(kind: str) -> None:
    """I-26: not at any step; while the page is copied, nobody maps the old one either."""
    copies = 0
    for now in steps(kind):
        if now.holds.new is not None:
            assert now.ents[now.holds.new] == 0
        if "MC-1" in now.holds.following or now.holds.between("MC-1", "RP-4"):
            copies += 1
            assert now.ptes[now.holds.old] == 0
            assert now.ents[now.holds.old] == sum(now.ents.values())
    assert bool(copies) == any(now.holds.result == 0 for now in steps(kind))


@pytest.mark.parametrize("kind", ["pinned", "failing", "ramfs dirty", "block device"])
def test_after_a_failed_attempt_every_leaf_is_present_again(kind: str) -> None:
    """I-27, UM-11: same frame, same writability, but neither accessed nor dirty (Q13)."""
    failures = 0
    seen = steps(kind)
    before = {leaf.key: leaf.entry for leaf in seen[0].mapped}
    for now in seen:
        if now.holds.following[:1] != ("UM-12",) or "UM-11" not in now.holds.made:
            continue
        failures += 1
        old = now.holds.old
        assert old is not None
        assert now.ents[old] == 0
        for leaf in now.mapped:
            if leaf.entry.pfn == old:
                assert leaf.entry.writable == before[leaf.key].writable
                assert not leaf.entry.dirty
                assert not leaf.entry.accessed
        assert now.ptes[old] == sum(entry.pfn == old for entry in before.values())
    assert failures == {"pinned": 10}.get(kind, 2)


@with_entries
def test_after_the_restore_no_entry_names_the_old_page(kind: str) -> None:
    """I-28, MN-4: every leaf that held one maps the new page."""
    last: set[tuple[int, int]] = set()
    restored = 0
    for now in steps(kind):
        if "MN-4" in now.holds.following:
            last = {leaf.key for leaf in now.entries}
        if now.holds.following[:1] == ("MN-5",):
            restored += 1
            assert now.ents[now.holds.old] == 0
            assert {leaf.key for leaf in now.mapped if leaf.entry.pfn == now.holds.new} == last
    assert restored == sum(now.holds.result == 0 for now in steps(kind))


# with others in the way -------------------------------------------------------------------


def in_the_window(machine: pm.Machine, label: str) -> tuple[Follower, pm.Task, pm.Region]:
    """A move of the parent's page, which only the child maps by now, writable; before ``label``."""
    app = machine.spawn("app", stack=False)
    area = app.mmap(PAGE)
    fill(machine, app, area)
    child = app.fork("child")
    call = pm.calls.move_pages(area, 1, scope=SHARED)
    mover = Follower(machine, machine.start(call, by=app)).run_until("UM-3")
    app.write(area.start, b"parent")
    child.write(area.start, b"child")
    assert child.entry_at(area.start).writable
    return mover.run_until(label), child, child.same(area)


def test_fork_turns_write_entries_into_read_entries(machine: pm.Machine) -> None:
    """I-24, S20: in parent and child; both come back read-only."""
    mover, child, area = in_the_window(machine, "MM-1")
    assert child.entry_at(area.start).writable
    grandchild = child.fork("grandchild")
    now = Recount(machine, mover.holds())
    assert [(leaf.pid, leaf.entry.writable) for leaf in now.entries] == [
        (child.pid, False),
        (grandchild.pid, False),
    ]
    mover.finish()
    assert not child.entry_at(area.start).writable
    assert child.entry_at(area.start).pfn == grandchild.entry_at(area.start).pfn


def test_mprotect_turns_a_write_entry_into_a_read_entry_for_good(machine: pm.Machine) -> None:
    """I-24, Q27, S22: also if the area is writable again before the restore."""
    mover, child, area = in_the_window(machine, "MM-1")
    child.mprotect(area, pm.R)
    child.mprotect(area, pm.RW)
    (leaf,) = Recount(machine, mover.holds()).entries
    assert not leaf.entry.writable
    mover.finish()
    entry = child.entry_at(area.start)
    assert (entry.kind, entry.writable) == (PRESENT, False)


def test_an_entry_that_was_zapped_does_not_come_back(machine: pm.Machine) -> None:
    """I-27, I-28: the exception "removed by zap"; the page moves to nobody, and is freed."""
    mover, child, area = in_the_window(machine, "MM-1")
    child.munmap(area)
    now = Recount(machine, mover.holds())
    assert (now.entries, now.ptes[0], now.frames[0].count) == ([], 0, 1)
    mover.run_until("MN-5")
    now = Recount(machine, mover.holds())
    assert (now.ents, now.ptes[mover.holds().new]) == (Counter(), 0)
    mover.finish()
    machine.drain()
    assert Recount(machine).used == {leaf.entry.pfn for leaf in Recount(machine).mapped}


def the_instant_of_a_move(profile: pm.Profile) -> tuple[pm.Machine, Follower, pm.Call, int]:
    """A move about to restore, and an ``mremap`` that has cleared the leaf and not stored it yet."""
    machine = new_machine(profile)
    app = machine.spawn("app", stack=False)
    (pfn,) = fill(machine, app, area := app.mmap(PAGE))
    by = machine.spawn("mover", stack=False)
    move = machine.start(pm.calls.migrate_frames([pfn], pm.ToNode(1)), by=by)
    mover = Follower(machine, move).run_until("MN-4")
    remap = machine.start(pm.calls.mremap(area, to=0x800000), by=app)
    assert remap.run_until("SP6-carry")
    return machine, mover, remap, app.pid


def test_only_mremap_strands_an_entry() -> None:
    """I-20, Q21, S34: it names a page that is neither locked nor isolated any more; the audit says so."""
    machine, mover, remap, pid = the_instant_of_a_move(EXACT)
    mover.finish()
    remap.run()
    now = Recount(machine)
    (leaf,) = now.entries
    assert (leaf.pid, leaf.address, leaf.entry.pfn) == (pid, 0x800000, 0)
    assert F.LOCKED not in now.frames[0].flags
    assert any("I-20" in finding.invariants for finding in machine.audit())


def test_in_repaired_mremap_strands_nothing() -> None:
    """I-20, Q21: the walk waits until the leaf is stored, and finds it."""
    machine, mover, remap, _ = the_instant_of_a_move(REPAIRED)
    while mover.step():
        assert not mover.call.done
    wait = mover.call.waiting_for
    assert wait is not None
    assert (wait.lock, wait.holder) == ("anon_vma_lock", remap.number)
    machine.run()
    now = Recount(machine)
    assert now.entries == []
    assert [(leaf.address, leaf.entry.pfn) for leaf in now.mapped] == [(0x800000, FRAMES)]
    machine.check()
