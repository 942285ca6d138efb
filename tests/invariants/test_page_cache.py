"""Invariants 7, address spaces and their trees: I-60 to I-68.

Of a tree only its slots, their tags and the root's DIRTY bit can be seen from outside (I-64); its inside
is tested where it is: ``rust/core/tests/radix_tree``.
"""

from __future__ import annotations

import itertools
from collections import Counter

import pytest

import pagemig as pm
from pagemig import filesystems
from tests.invariants.follow import Follower
from tests.invariants.recount import SWAPPER, F, Recount
from tests.invariants.situations import KINDS, PAGE, SHARED, fill, new_machine, steps

every_kind = pytest.mark.parametrize("kind", KINDS)
CACHED = (
    "ext clean",
    "ext dirty",
    "block device",
    "shmem",
    "ramfs clean",
    "swap cache",
    "read ahead",
    "shmem in the swap cache",
)
NO_WRITEBACK = pm.DirtyMethod.NO_WRITEBACK


def place_of(now: Recount, pfn: int) -> tuple[int, int] | None:
    """The slot that a page says it is in."""
    frame = now.frames[pfn]
    if F.SWAPCACHE in frame.flags:
        return SWAPPER, frame.private
    if frame.owner is not None and frame.owner.kind is pm.OwnerKind.FILE:
        return frame.owner.id, frame.index
    return None


def look_cached_without_slot(now: Recount) -> set[int]:
    """I-60's exceptions: the new page from MN-2 to MM-9, the old one from MM-9 to MC-9."""
    found = set()
    if now.holds.moves() and "MM-9" not in now.holds.made:
        found.add(now.holds.new)
    if now.holds.between("MM-9", "MC-9"):
        found.add(now.holds.old)
    return {pfn for pfn in found if pfn is not None}


def assert_in_place(now: Recount) -> None:
    """I-60 to I-63: slots and pages agree, one to one, and are counted."""
    slots = {(slot.mapping, slot.index): slot.pfn for slot in now.slots}
    assert len(slots) == len(now.slots)
    assert len(set(slots.values())) == len(slots)
    for slot in now.slots:
        assert place_of(now, slot.pfn) == (slot.mapping, slot.index)
    claims = {pfn: place for pfn in now.used if (place := place_of(now, pfn)) is not None}
    astray = {pfn for pfn, place in claims.items() if slots.get(place) != pfn}
    assert astray <= look_cached_without_slot(now), f"{astray} after {now.holds.made[-1:]}"
    lengths = Counter(mapping for mapping, _ in slots)
    assert {number: space.cached for number, space in now.spaces.items()} == {
        number: lengths[number] for number in now.spaces
    }
    assert now.swap.cached == lengths[SWAPPER]


def assert_tagged(now: Recount) -> None:
    """I-64 to I-66: tags follow flags, and the root's bit the slots'."""
    for slot in now.slots:
        flags = now.frames[slot.pfn].flags
        assert slot.writeback == (F.WRITEBACK in flags)
        space = now.spaces.get(slot.mapping)
        is_told = space is not None and space.filesystem.dirtying is not NO_WRITEBACK
        is_leaving = now.holds.between("MM-9", "MC-5") and slot.pfn == now.holds.new
        if is_told and F.DIRTY in flags:
            assert slot.dirty
        if is_leaving and is_told and F.DIRTY in now.frames[now.holds.old or 0].flags:
            assert slot.dirty, "the tag outlasts the moment in which neither says it"


def tags(now: Recount) -> dict[tuple[int, int], tuple[bool, bool]]:
    """The tags of every slot."""
    return {(slot.mapping, slot.index): (slot.dirty, slot.writeback) for slot in now.slots}


@every_kind
def test_slots_hold_the_pages_that_say_so(kind: str) -> None:
    """I-60, I-62, I-63: at every step; each exception is one page, in its moment."""
    seen = steps(kind)
    excused: Counter[str] = Counter()
    for now in seen:
        assert_in_place(now)
        places = {slot.pfn for slot in now.slots}
        for pfn in look_cached_without_slot(now) - places:
            if place_of(now, pfn) is not None:
                excused["new" if pfn == now.holds.new else "old"] += 1
    if kind in CACHED:
        assert (
            set(excused) == {"old"} | ({"new"} if kind not in ("swap cache", "read ahead") else set())
            or excused
        )


@every_kind
def test_at_rest_a_page_that_says_so_is_in_its_slot(kind: str) -> None:
    """I-61: without any exception, before and after."""
    for now in (steps(kind)[0], *steps(kind)[-2:]):
        assert look_cached_without_slot(now) == set()
        assert_in_place(now)
    if kind in CACHED:
        assert steps(kind)[0].slots
        assert {slot.pfn for slot in steps(kind)[0].slots} != {slot.pfn for slot in steps(kind)[-1].slots}


@every_kind
def test_tags_follow_flags(kind: str) -> None:
    """I-65, I-66: at every step, also while writeback of the block device runs."""
    for now in steps(kind):
        assert_tagged(now)
    if kind == "block device":
        assert any(slot.writeback for now in steps(kind) for slot in now.slots)


@pytest.mark.parametrize("kind", CACHED)
def test_replacing_the_page_of_a_slot_changes_no_tag(kind: str) -> None:
    """I-67, MM-9: equal before and after; MC-5 tags the slot of a dirty page, if it was not tagged."""
    seen = steps(kind)
    replaced = 0
    for before, now in itertools.pairwise(seen):
        if "MM-9" in now.holds.made and "MM-9" not in before.holds.made:
            replaced += 1
            assert tags(now) == tags(before)
            assert {slot.pfn for slot in now.slots} - {slot.pfn for slot in before.slots} == {now.holds.new}
        elif "MC-5" in now.holds.made and "MC-5" not in before.holds.made:
            changed = {place for place, found in tags(now).items() if tags(before)[place] != found}
            old, new = before.holds.old, now.holds.new
            assert old is not None
            assert new is not None
            was_dirty = F.DIRTY in before.frames[old].flags
            assert (F.DIRTY in now.frames[new].flags) == was_dirty
            assert changed <= ({place_of(now, new)} if was_dirty else set())
            if was_dirty:
                place = place_of(now, new)
                assert place is not None
                assert tags(now)[place][0]
    assert replaced >= 1


def test_a_tag_may_be_new_where_nothing_is_written_back() -> None:
    """I-66, I-67: shmem sets the bare flag, and so does the swap cache; MC-5 tags the slot all the same."""
    for kind in ("shmem", "swap cache"):
        before, after = (tags(steps(kind)[at]) for at in (0, -1))
        assert not any(dirty for dirty, _ in before.values()), kind
        dirty = {slot.pfn for slot in steps(kind)[-1].slots} & steps(kind)[-1].has(F.DIRTY)
        assert sum(dirty for dirty, _ in after.values()) == len(dirty)
    assert any(dirty for dirty, _ in tags(steps("shmem")[-1]).values())


def test_a_cleaned_page_keeps_its_tag_until_writeback_starts() -> None:
    """I-66: the converse may fail: WO-2 clears the flag and not the tag, WO-4 starts the writeback."""
    found: list[tuple[bool, bool, bool]] = []
    for now in steps("block device"):
        if now.holds.between("WO-2", "UM-15"):
            flags = now.frames[now.holds.old or 0].flags
            (slot,) = (slot for slot in now.slots if slot.pfn == now.holds.old)
            sight = (F.DIRTY in flags, slot.dirty, slot.writeback)
            found += [sight] * (sight not in found[-1:])
    assert found == [(False, True, False), (False, False, True)] * 2


def test_a_tree_of_any_height_keeps_its_slots_and_tags(machine: pm.Machine, app: pm.Task) -> None:
    """I-62, I-63, I-64: written to, written back and cut, in an order that makes the tree high and low.

    Method: slots and their tags are recounted; inner tags and the height have no public face, so the
    audit is asked about those (rule ``cached_pages_know_their_place``) after every change.
    """
    file = machine.create_file("data", 0)
    rows = [(0, 1), (70, 2), (5000, 1), (64, 1), (63, 1), (4095, 2)]
    for first, pages in rows:
        file.write(first * PAGE, b"x" * pages * PAGE, by=app)
        machine.drain()
        assert_in_place(Recount(machine))
        machine.check()
    offsets = {page for first, pages in rows for page in range(first, first + pages)}
    for page in sorted(offsets, reverse=True):
        now = Recount(machine)
        assert tags(now) == {(file.number, other): (True, False) for other in offsets if other <= page}
        assert_in_place(now)
        file.writeback(page)
        assert tags(Recount(machine))[file.number, page] == (False, True)
        machine.check()
        machine.complete_io()
        assert tags(Recount(machine))[file.number, page] == (False, False)
        file.truncate(page * PAGE)
        machine.drain()
        machine.check()
    assert file.cached == 0


@pytest.mark.parametrize("kind", ["ramfs clean", "ramfs dirty"])
def test_pages_of_unevictable_spaces_are_put_back_to_the_unevictable_list(kind: str) -> None:
    """I-68: right after UM-17, or UM-16 if the attempt failed, and not by way of a pagevec."""
    put_back = 0
    for now in steps(kind):
        unevictable = {pfn for node in now.zones for pfn in now.lists[node, pm.LruList.UNEVICTABLE]}
        if now.holds.result is not None:
            put_back += 1
        if put_back:
            pages = {slot.pfn for slot in now.slots} - set(now.iso)
            assert len(pages & unevictable) >= put_back
            if put_back == 2:
                assert pages <= unevictable
    assert put_back == 2


# with others in the way -------------------------------------------------------------------


@pytest.mark.parametrize("label", ["UM-3", "UM-9", "MM-2", "BM-3", "MN-4", "MN-5", "UM-17"])
@pytest.mark.parametrize("name", ["EXT", "TMPFS"])
def test_slots_agree_while_the_file_is_cut(label: str, name: str) -> None:
    """I-60 to I-66, S25: a truncation begins at this point of the attempt; both step in turn."""
    if name == "TMPFS" and label == "BM-3":
        label = "MC-1"
    machine = new_machine()
    app, cutter = (machine.spawn(task, stack=False) for task in ("app", "cutter"))
    file = machine.create_file("data", PAGE, filesystem=getattr(filesystems, name))
    area = app.mmap(PAGE, file=file, shared=True)
    fill(machine, app, area)
    call = machine.start(pm.calls.move_pages(area, 1, scope=SHARED), by=app)
    mover = Follower(machine, call).run_until(label)
    cut = machine.start(pm.calls.truncate(file, 0), by=cutter)
    while machine.calls:
        if not mover.call.done:
            mover.step()
        if not cut.done:
            cut.step()
        now = Recount(machine, mover.holds())
        assert_in_place(now)
        assert_tagged(now)
    machine.drain()
    assert Recount(machine).slots == []
    assert Recount(machine).used == set()
