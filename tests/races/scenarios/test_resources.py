"""Frames that run out and pages that are named twice: S40 and S41 of the concurrency page."""

from __future__ import annotations

import errno

import pytest

import pagemig as pm
from tests.races.stage import SHARED, finish, free_frames, own_page, shared_page, statuses, step, until


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
