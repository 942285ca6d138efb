"""Invariants 1, conservation of frames: I-01 to I-07, at every step of every kind of migration."""

from __future__ import annotations

import pytest

import pagemig as pm
from tests.invariants.recount import F, Recount
from tests.invariants.situations import FRAMES, KINDS, PAGE, fill, follow, offlined, steps

every_kind = pytest.mark.parametrize("kind", KINDS)


def assert_conserved(now: Recount, withheld: frozenset[int] = frozenset()) -> None:
    """I-01, I-02: used, free, offline and withheld frames are apart and add up to the spanned ones."""
    assert not now.used & now.offline
    assert not now.used & withheld
    free = now.idle - withheld
    for node, spanned in now.spanned.items():
        parts = [now.count(node, pages) for pages in (free, now.used, now.offline, set(withheld))]
        assert sum(parts) == spanned
        assert now.zones[node]["nr_free_pages"] == parts[0]
        assert now.present[node] == spanned - parts[2]


def assert_blank(now: Recount, withheld: frozenset[int] = frozenset()) -> None:
    """I-03: nothing refers to a free frame, and its descriptor says nothing."""
    listed = {pfn for pages in now.lists.values() for pfn in pages}
    for pfn in now.idle - withheld:
        frame = now.frames[pfn]
        assert (frame.count, frame.mapcount, frame.owner, frame.private) == (0, 0, None, 0)
        assert not frame.flags & ~(F.BUDDY | F.HWPOISON), f"{pfn} is free, with {frame.flags!r}"
        assert now.references(pfn) == 0
        assert not now.ents[pfn]
        assert pfn not in listed


def holders(now: Recount, pfn: int) -> int:
    """The reasons of I-05."""
    return now.ptes[pfn] + now.slot[pfn] + now.priv(pfn) + now.pvec[pfn] + now.tmp[pfn]


@every_kind
def test_every_frame_is_free_or_in_use_or_offline_at_every_step(kind: str) -> None:
    """I-01, I-02: and the free ones are as many as NR_FREE_PAGES says."""
    for now in steps(kind):
        assert_conserved(now)


@every_kind
def test_a_free_frame_is_blank_and_nothing_refers_to_it(kind: str) -> None:
    """I-03: also the frames that migration has just given back, and those of the range offlined."""
    seen = steps(kind)
    for now in seen:
        assert_blank(now)
    if kind in ("anonymous", "ext clean", "swap cache", "offlined"):
        freed = seen[0].used - seen[-1].used
        assert freed, "something was given back in between"


@every_kind
def test_a_frame_in_use_has_a_count_unless_it_is_frozen(kind: str) -> None:
    """I-04: at every step; the frozen page of a cached kind is the exception that occurs."""
    seen = steps(kind)
    for now in seen:
        without = {pfn for pfn in now.used if now.frames[pfn].count == 0}
        assert without == ({now.holds.frozen} - {None})
    if kind in ("ext clean", "shmem", "swap cache"):
        assert any(now.holds.frozen is not None for now in seen)


@every_kind
def test_every_frame_in_use_has_a_reason_at_rest(kind: str) -> None:
    """I-05: before the call, after it with its pagevecs, and after the drain: no leak."""
    for now in (steps(kind)[0], *steps(kind)[-2:]):
        assert [pfn for pfn in now.used if not holders(now, pfn)] == []


@every_kind
def test_a_frame_never_changes_its_node_or_zone(kind: str) -> None:
    """I-06: whatever it is used for, and whether it is free."""
    first = [(frame.node, frame.zone) for frame in steps(kind)[0].frames]
    assert {node for node, _ in first} == {0, 1}
    for now in steps(kind):
        assert [(frame.node, frame.zone) for frame in now.frames] == first


def test_no_frame_of_an_isolated_block_is_handed_out(machine: pm.Machine, kernel: pm.Task) -> None:
    """I-07: while a range goes offline a task that may use only that node takes all it can get."""
    app = machine.spawn("app", stack=False, mems_allowed={1})
    mine = app.mmap(2 * PAGE)
    fill(machine, app, mine)
    offline = machine.start(pm.calls.offline(FRAMES, 16), by=kernel)
    assert offline.run_until("SY7-5d")
    before = Recount(machine)
    isolated = {FRAMES + at for at in range(16)}
    assert before.blocks[FRAMES] is pm.BlockState.ISOLATED
    assert len(before.used & isolated) == 2
    greedy = machine.spawn("greedy", stack=False, mems_allowed={1})
    with pytest.raises(pm.OutOfMemoryError):
        greedy.touch(greedy.mmap(FRAMES * PAGE))
    after = Recount(machine)
    assert after.used - before.used == set(range(FRAMES + 16, 2 * FRAMES)), "all of the other block"
    assert after.zones[1]["nr_free_pages"] == 14, "those of the block are free, and out of reach"
    greedy.exit()
    assert_conserved(Recount(machine))
    offline.run()
    assert_conserved(Recount(machine))


def test_new_frames_come_from_outside_the_range_that_goes_offline() -> None:
    """I-07: at every step of offlining, frames that were not in use before are of other blocks."""
    before = steps("offlined")[0]
    for now in steps("offlined"):
        isolated = {first for first, state in now.blocks.items() if state is not pm.BlockState.MOVABLE}
        assert not {pfn // 16 * 16 for pfn in now.used - before.used} & isolated


def test_frames_of_a_range_that_went_offline_count_as_removed() -> None:
    """I-01: sixteen frames more are removed and sixteen fewer are present."""
    before, after = steps("offlined")[0], steps("offlined")[-1]
    assert (before.offline, after.offline) == (set(), set(range(FRAMES, FRAMES + 16)))
    assert (before.present[1], after.present[1]) == (FRAMES, FRAMES - 16)
    assert_conserved(after)


def test_a_poisoned_frame_is_withheld_once_its_last_reference_goes(
    machine: pm.Machine, app: pm.Task, page: pm.Region
) -> None:
    """I-01: count 0, on no list, not in NR_FREE_PAGES; the four parts still add up."""
    machine.soft_offline(0)
    assert_conserved(Recount(machine))
    assert 0 in Recount(machine).used, "a pagevec has it still"
    machine.drain()
    now = Recount(machine)
    assert 0 in now.idle
    assert F.HWPOISON in now.frames[0].flags
    assert_conserved(now, withheld=frozenset({0}))
    assert_blank(now, withheld=frozenset({0}))
    greedy = machine.spawn("greedy", stack=False)
    with pytest.raises(pm.OutOfMemoryError):
        greedy.touch(greedy.mmap(2 * FRAMES * PAGE))
    now = Recount(machine)
    assert (now.used, now.total["nr_free_pages"]) == (set(range(1, 2 * FRAMES)), 0)


def test_a_poisoned_free_frame_stays_free_until_the_allocator_meets_it(machine: pm.Machine) -> None:
    """I-01, syscalls 8: then it is withheld, and another frame is taken."""
    machine.soft_offline(0)
    assert_conserved(Recount(machine))
    app = machine.spawn("app", stack=False)
    app.touch(app.mmap(PAGE))
    now = Recount(machine)
    assert now.used == {1}
    assert_conserved(now, withheld=frozenset({0}))


def test_nothing_is_lost_when_everybody_has_gone(machine: pm.Machine) -> None:
    """I-05: after a migration under way, exit and drain, all frames but those of files are free."""
    stage = offlined(machine)
    follow(stage).finish()
    stage.app.exit()
    machine.drain()
    now = Recount(machine)
    assert now.used == set(now.slot), "the page cache keeps its own"
    assert_conserved(now)
