"""Worked example E4: a page pinned by someone for the whole call."""

from __future__ import annotations

import errno

import pytest

import pagemig as pm

from .stepping import attempts, counts, finish, free, lru, pagevec, reach, run, waiting

F = pm.PageFlags
OLD, NEW = 0, 64
ACTIVE, INACTIVE = pm.LruList.ACTIVE_ANON, pm.LruList.INACTIVE_ANON


@pytest.fixture
def pinned(machine: pm.Machine, app: pm.Task) -> pm.Region:
    """Frame 0: an active page, dirty in its entry, pinned for reading."""
    region = app.mmap(pm.PAGE_SIZE)
    app.write(region.start, b"hello")
    machine.drain()
    assert app.pin(region.start) == OLD
    return region


def test_e4_the_count_test_sees_the_pin(machine: pm.Machine, app: pm.Task, pinned: pm.Region) -> None:
    """E4: the count at MM-1 is 2 (isolation, pin); before the call it was 2 (PTE, pin)."""
    assert counts(machine, OLD) == (2, 1)
    move = machine.start(pm.calls.move_pages(pinned, 1), by=app)
    reach(machine, move, "MP-1")
    assert counts(machine, OLD) == (3, 1)
    reach(machine, move, "MM-1")
    assert counts(machine, OLD) == (2, 0)
    assert counts(machine, NEW) == (1, 0)


def test_e4_the_entry_comes_back_clean_and_the_page_is_dirty(
    machine: pm.Machine, app: pm.Task, pinned: pm.Region
) -> None:
    """E4: accessed and dirty are gone from the PTE, PG_dirty is set, the page names its anon_vma."""
    owner = machine.frame(OLD).owner
    move = machine.start(pm.calls.move_pages(pinned, 1), by=app)
    reach(machine, move, "UM-16")
    entry = app.entry_at(pinned.start)
    assert (entry.kind, entry.pfn, entry.writable) == (pm.EntryKind.PRESENT, OLD, True)
    assert (entry.dirty, entry.accessed) == (False, False)
    old = machine.frame(OLD)
    assert (old.owner, old.flags & F.DIRTY, old.flags & F.LOCKED) == (owner, F.DIRTY, F(0))
    assert counts(machine, OLD) == (3, 1)
    assert machine.zone_counters(0)["nr_isolated_anon"] == 1
    assert machine.zone_counters(0)["nr_anon_pages"] == 1


@pytest.mark.parametrize("tried", range(1, 11))
def test_e4_every_attempt_leaves_one_frame_in_the_inactive_pagevec(
    machine: pm.Machine, app: pm.Task, pinned: pm.Region, tried: int
) -> None:
    """E4, Q32: after attempt n, n frames of node 1 wait in the INACTIVE_ANON pagevec."""
    move = machine.start(pm.calls.move_pages(pinned, 1), by=app)
    attempts(machine, move, tried)
    assert pagevec(machine, INACTIVE) == list(range(NEW, NEW + tried))
    assert [counts(machine, pfn) for pfn in range(NEW, NEW + tried)] == [(1, 0)] * tried
    assert free(machine, 1) == 64 - tried
    assert counts(machine, OLD) == (3, 1)


def test_e4_ten_attempts_then_the_page_is_put_back_and_the_call_returns_0(
    machine: pm.Machine, app: pm.Task, pinned: pm.Region
) -> None:
    """E4: status -11 from a call that succeeds (Q05); the active page waits in ACTIVE_ANON."""
    move = machine.start(pm.calls.move_pages(pinned, 1), by=app)
    attempts(machine, move, 10)
    assert machine.zone_counters(0)["nr_isolated_anon"] == 1
    finish(machine, move)
    assert move.result.tolist() == [-errno.EAGAIN]
    assert waiting(machine) == {INACTIVE: list(range(NEW, NEW + 10)), ACTIVE: [OLD]}
    assert machine.zone_counters(0)["nr_isolated_anon"] == 0
    assert counts(machine, OLD) == (3, 1)
    assert free(machine, 1) == 54


def test_e4_an_inactive_page_is_the_eleventh_entry_of_the_same_pagevec(
    machine: pm.Machine, app: pm.Task
) -> None:
    """E4: put back by MP-5 behind the ten frames. A page that was locked and unlocked is inactive."""
    region = app.mmap(pm.PAGE_SIZE)
    app.touch(region)
    app.mlock(region)
    app.pin(region.start)
    app.munlock(region)
    machine.drain()
    assert lru(machine, 0, INACTIVE) == [OLD]
    run(machine, pm.calls.move_pages(region, 1), app)
    assert waiting(machine) == {INACTIVE: [*range(NEW, NEW + 10), OLD]}


def test_e4_the_engine_counts_the_page_as_not_migrated(
    machine: pm.Machine, app: pm.Task, pinned: pm.Region
) -> None:
    """E4: ``migrate_pages`` returns 1 after ten passes."""
    result = machine.migrate_pages([OLD], pm.ToNode(1))
    assert (result.not_migrated, result.error) == (1, None)
    assert (result.attempts.tolist(), result.passes, result.frames_discarded) == ([10], 10, 10)


def test_e4_a_drain_gives_the_frames_back(machine: pm.Machine, app: pm.Task, pinned: pm.Region) -> None:
    """E4: node 1 is empty again; the page is on its old list, and moves once the pin is gone."""
    app.move_pages(pinned, 1)
    machine.drain()
    machine.check()
    assert free(machine, 1) == 64
    assert lru(machine, 0, ACTIVE) == [OLD]
    assert counts(machine, OLD) == (2, 1)
    app.unpin(OLD)
    assert app.move_pages(pinned, 1).tolist() == [1]
    assert app.read(pinned.start, 5) == b"hello"
