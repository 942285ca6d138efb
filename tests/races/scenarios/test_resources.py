"""Frames and charges that run out, pages named twice, pages that stay: S39 to S42, S44, S46."""

from __future__ import annotations

import errno

import pytest

import pagemig as pm
from tests.races.scenarios.stages import Playground, swap_cache_page
from tests.races.stage import SHARED, Stage, finish, free_frames, own_page, shared_page, statuses, step, until


def test_s40_a_destination_that_runs_dry_ends_the_batch_and_keeps_what_was_moved() -> None:
    """S40, Q03: UM-1 returns nothing: -ENOMEM, no status written; MP-5, not UM-16, puts the rest back."""
    stage = own_page(pages=6, nodes=(64, 4))
    mover = stage.mover(pages=6)
    while "MP-3" not in mover.labels:
        assert step(stage, mover)
    assert mover.history.count("UM-16") == 4
    assert stage.machine.zone_counters(0)["nr_isolated_anon"] == 2
    finish(stage, mover)
    with pytest.raises(OSError, match="move_pages") as failed:
        _ = mover.result
    assert failed.value.errno == errno.ENOMEM
    assert failed.value.statuses.tolist() == []  # type: ignore[attr-defined]
    assert stage.parent.nodes_of(stage.heap).tolist() == [1, 1, 1, 1, 0, 0]
    assert stage.machine.vmstat()["nr_isolated_anon"] == 0
    stage.machine.drain()
    stage.machine.check()
    assert free_frames(stage, 1) == 0
    assert free_frames(stage, 0) == 62
    flags = [stage.parent.page_at(page.start).flags for page in stage.heap]  # type: ignore[union-attr]
    assert all(pm.PageFlags.LRU in each for each in flags)
    assert all(stage.parent.read(page.start, 4) == b"page" for page in stage.heap)


def test_s40_a_batch_with_many_retries_exhausts_a_small_node_by_itself() -> None:
    """S40, Q32: every failed attempt leaves a frame in a pagevec; the seventh finds none."""
    stage = own_page(nodes=(64, 6))
    stage.parent.pin(stage.address)
    mover = stage.mover()
    finish(stage, mover)
    assert isinstance(mover.error, OSError)
    assert mover.error.errno == errno.ENOMEM
    assert mover.history.count("UM-3") == 6
    assert free_frames(stage, 1) == 0
    stage.machine.drain()
    assert free_frames(stage, 1) == 6
    stage.parent.unpin(stage.old)
    stage.machine.check()


def test_s40_frames_given_back_in_time_save_the_batch() -> None:
    """S40: a drain by somebody else between two passes returns the frames that wait in pagevecs."""
    stage = own_page(nodes=(64, 6))
    stage.parent.pin(stage.address)
    mover = stage.mover()
    for _ in range(5):
        until(stage, mover, "UM-17")
        assert step(stage, mover)
    finish(stage, stage.machine.start(pm.calls.drain(), by=stage.parent))
    assert free_frames(stage, 1) == 6
    finish(stage, mover)
    assert statuses(mover) == [-errno.EAGAIN]
    stage.parent.unpin(stage.old)


def test_s41_the_same_page_twice_the_first_record_wins_and_the_second_is_busy() -> None:
    """S41, Q08: destination and result are the first record's."""
    stage = own_page(nodes=(64, 64, 64))
    pages = [stage.address, stage.address + 100]
    mover = stage.machine.start(pm.calls.move_pages(pages, [1, 2]), by=stage.parent)
    finish(stage, mover)
    assert statuses(mover) == [1, -errno.EBUSY]
    assert stage.frame(stage.parent).node == 1


def test_s41_a_record_that_is_already_there_captures_the_destination_of_the_next() -> None:
    """S41, Q09: the page moves to another frame of its own node; the second status stays 0."""
    stage = own_page(nodes=(64, 64, 64))
    pages = [stage.address, stage.address]
    mover = stage.machine.start(pm.calls.move_pages(pages, [0, 2]), by=stage.parent)
    finish(stage, mover)
    assert statuses(mover) == [0, 0]
    assert stage.frame(stage.parent).node == 0
    assert stage.frame(stage.parent).pfn != stage.old


def test_s41_a_refused_record_captures_the_next_if_the_map_count_fell_in_between() -> None:
    """S41, Q09: record 0 is -EACCES while the child shares the page; the child leaves; record 1 isolates
    it; record 0's destination is used and its status gets the result, record 1 keeps 0.
    """
    stage = shared_page(nodes=(64, 64, 64))
    pages = [stage.address, stage.address]
    mover = stage.machine.start(pm.calls.move_pages(pages, [1, 2]), by=stage.parent)
    until(stage, mover, "DM-2")
    assert step(stage, mover)
    assert mover.at == "DM-2"
    finish(stage, stage.machine.start(pm.calls.exit(), by=stage.child))
    finish(stage, mover)
    assert statuses(mover) == [1, 0]
    assert stage.frame(stage.parent).node == 1


def test_s41_both_records_are_refused_while_the_page_is_shared() -> None:
    """S41: without that, -EACCES twice."""
    stage = shared_page(nodes=(64, 64, 64))
    pages = [stage.address, stage.address]
    mover = stage.machine.start(pm.calls.move_pages(pages, [1, 2]), by=stage.parent)
    finish(stage, mover)
    assert statuses(mover) == [-errno.EACCES, -errno.EACCES]


def test_s41_a_later_chunk_finds_the_page_busy_unless_somebody_drains_in_between() -> None:
    """S41, Q07: 169 records a chunk; the page of record 0 again as record 169."""
    for drains, status in ((False, -errno.EBUSY), (True, 0)):
        stage = own_page()
        pages = [stage.address] + [0x1000] * 168 + [stage.address]
        call = pm.calls.move_pages(pages, [1] * 169 + [0], scope=SHARED)
        mover = stage.machine.start(call, by=stage.parent)
        until(stage, mover, "DM-4")
        if drains:
            finish(stage, stage.machine.start(pm.calls.drain(), by=stage.parent))
        finish(stage, mover)
        assert (statuses(mover)[0], statuses(mover)[169]) == (1, status)
        assert stage.frame(stage.parent).node == (0 if drains else 1)


def test_s44_a_query_sees_the_old_node_then_nothing_then_the_new_node() -> None:
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


@pytest.mark.parametrize("whose", ["its own", "an ancestor's"])
def test_s39_a_group_at_its_limit_ends_the_batch(whose: str) -> None:
    """S39, UM-5, Q03: -ENOMEM: the page unlocked, unlinked, put back (UM-16); the rest by MP-5; statuses of
    the chunk unwritten; earlier pages of it stay moved.
    """
    machine = pm.Machine(nodes=[64 * pm.PAGE_SIZE] * 2, cpus=1)
    above = machine.create_memcg("above")
    group = machine.create_memcg("group", parent=above)
    limited = group if whose == "its own" else above
    app = machine.spawn("app", stack=False, memcg=group)
    heap = app.mmap(4 * pm.PAGE_SIZE)
    app.touch(heap)
    machine.drain()
    frames = [app.entry_at(page.start).pfn for page in heap]
    stage = Playground(machine)
    limited.limit = 5 * pm.PAGE_SIZE
    mover = machine.start(pm.calls.move_pages(heap, 1), by=app)
    for _ in range(2):
        until(stage, mover, "UM-17")
        assert step(stage, mover)
    limited.limit = 4 * pm.PAGE_SIZE
    until(stage, mover, "UM-4")
    assert pm.PageFlags.LOCKED in machine.frame(frames[2]).flags
    until(stage, mover, "UM-17")
    assert mover.history.count("UM-10") == 2
    assert pm.PageFlags.LOCKED not in machine.frame(frames[2]).flags
    assert machine.zone_counters(0)["nr_isolated_anon"] == 1
    finish(stage, mover)
    assert isinstance(mover.error, OSError)
    assert mover.error.errno == errno.ENOMEM
    assert mover.error.statuses.tolist() == []  # type: ignore[attr-defined]
    assert app.nodes_of(heap).tolist() == [1, 1, 0, 0]
    assert machine.pagevec(0, pm.LruList.ACTIVE_ANON)[2:] == tuple(frames[2:])
    assert (machine.zone_counters(0)["nr_isolated_anon"], group.usage) == (0, 4 * pm.PAGE_SIZE)


def test_s41_a_stale_pointer_of_the_chunk_before_captures_a_page() -> None:
    """S41, Q09: record 0 of chunk 1 fails before its pointer is set and still names the page of record 0 of
    chunk 0, which did not move: record 1 queues it, record 0's node and status are used.
    """
    stage = own_page(nodes=(64, 64, 64))
    nothing = 0x1000
    pages = [stage.address] + [nothing] * 168 + [nothing, stage.address]
    stage.parent.pin(stage.address)
    what = pm.calls.move_pages(pages, [1] * 170 + [2], scope=SHARED)
    mover = stage.machine.start(what, by=stage.parent)
    until(stage, mover, "DM-4")
    stage.parent.unpin(stage.old)
    finish(stage, stage.machine.start(pm.calls.drain(), by=stage.parent))
    finish(stage, mover)
    seen = statuses(mover)
    assert (seen[0], seen[169], seen[170]) == (-errno.EAGAIN, 1, 0)
    assert stage.frame(stage.parent).node == 1


def offlining(stage: Stage, timeout: int = 100) -> pm.Call:
    """An offlining of frames 16 to 31 by somebody without memory."""
    operator = stage.machine.spawn("operator", stack=False)
    return stage.machine.start(pm.calls.offline(16, 16, timeout=timeout), by=operator)


def test_s42_offlining_against_a_permanent_pin_goes_on_until_its_time_is_over() -> None:
    """S42: each round: isolated, ten passes, positive result, yield, drain; after the timeout -EAGAIN; the
    frames are allocatable again; the pinned page is on the LRU with its PTE restored.
    """
    stage = own_page(pages=18, pageblock_frames=16)
    pinned = stage.parent.pin(stage.heap[17].start)
    assert pinned == 17
    began = stage.machine.now
    offline = offlining(stage, timeout=3)
    finish(stage, offline)
    assert isinstance(offline.error, OSError)
    assert (offline.error.errno, stage.machine.now > began + 3) == (errno.EAGAIN, True)
    rounds = offline.history.count("SY7-5c")
    assert rounds == offline.history.count("SY7-5d-yield") >= 3
    assert offline.history.count("UM-3") == 10 * rounds + 1
    entry = stage.parent.entry_at(stage.heap[17].start)
    assert (entry.kind, entry.pfn) == (pm.EntryKind.PRESENT, pinned)
    assert stage.machine.pageblocks(0)[1].state is pm.BlockState.MOVABLE
    stage.parent.unpin(pinned)
    stage.machine.drain()
    assert stage.machine.frame(pinned).lru is not None
    assert stage.machine.vmstat()["nr_isolated_anon"] == 0
    fill = stage.parent.mmap(64 * pm.PAGE_SIZE)
    stage.parent.touch(fill)
    assert 16 in {stage.parent.entry_at(page.start).pfn for page in fill}


@pytest.mark.parametrize("other_pages", [True, False], ids=["after an LRU page", "alone"])
def test_s42_offlining_against_a_frame_that_is_on_no_list(other_pages: bool) -> None:
    """S42: a non-LRU allocated frame after the first LRU page of the scan: -EBUSY five times: -EBUSY. With
    only such frames the loop ends at once; the final check fails: -EBUSY. (Here: a page held isolated.)
    """
    stage = own_page(pages=18, pageblock_frames=16)
    if not other_pages:
        stage.parent.munmap(stage.heap[16])
        stage.machine.drain()
    held = stage.parent.entry_at(stage.heap[17].start).pfn
    assert held == 17
    stage.machine.isolate(held)
    offline = offlining(stage)
    finish(stage, offline)
    assert isinstance(offline.error, OSError)
    assert offline.error.errno == errno.EBUSY
    assert offline.history.count("SY7-5c") == (5 if other_pages else 1)
    assert ("SY7-7" in offline.history) is (not other_pages)
    assert "UM-3" not in offline.history
    assert stage.machine.pageblocks(0)[1].state is pm.BlockState.MOVABLE
    assert stage.parent.read(stage.heap[17].start, 4) == b"page"
    stage.machine.putback(held)


@pytest.mark.parametrize("label", ["UM-9", "MM-2"])
def test_s46_a_page_whose_anon_vma_is_dead_moves_without_a_walk(label: str) -> None:
    """S46, Q26: a swap-cache page whose mappers are gone names a list that no longer exists: UM-9: not
    mapped, no walk; MN-4 visits nothing; rc 0.
    """
    stage = swap_cache_page()
    mover = stage.mover()
    until(stage, mover, label)
    owner = stage.machine.frame(stage.old).owner
    assert owner is not None
    finish(stage, stage.machine.start(pm.calls.exit(), by=stage.app))
    assert stage.machine.frame(stage.old).owner == owner
    assert all(owner.id not in area.anon_vmas for task in stage.machine.tasks for area in task.vmas)
    before = stage.machine.cost
    finish(stage, mover)
    changed = {name for name, count in stage.machine.cost.items() if count != before[name]}
    assert not changed & {"unmaps", "restores", "walks"}
    assert (mover.result.statuses.tolist(), mover.result.passes) == ([1], 1)
    stage.machine.drain()
    assert (stage.counts(), stage.counts(64)) == ((0, 0), (1, 0))
    assert stage.machine.frame(64).owner == owner
