"""Pages under writeback (UM-6, S31), and what truncation left behind with buffers on it (UM-8, S27)."""

from __future__ import annotations

import dataclasses
import errno

import pytest

import pagemig as pm

from .stepping import attempts, block, cached, counts, finish, free, never_reaches, reach, waiting

F = pm.PageFlags
OLD, NEW = 0, 64
FILE = pm.LruList.INACTIVE_FILE
EXT = pm.filesystems.EXT
STUBBORN = dataclasses.replace(EXT, release=pm.ReleaseMethod.NEVER)
"""Its release method refuses, so that truncation leaves pages with idle buffers behind."""


def a_move(machine: pm.Machine, by: pm.Task) -> pm.Call:
    """A move of the one page, through nobody's address space."""
    return machine.start(pm.calls.migrate_frames([OLD], pm.ToNode(1)), by=by)


# writeback ---------------------------------------------------------------------------------


def test_s31_writeback_ends_the_first_three_attempts_and_is_awaited_in_the_fourth(
    machine: pm.Machine, app: pm.Task
) -> None:
    """UM-6, S31: -EAGAIN with no entry touched, three times; pass 3 sleeps with the page locked; then 0."""
    file, area = cached(machine, app, EXT, write=True)
    file.writeback(0)
    before = machine.cost["unmaps"]
    raw = app.entry_at(area.start).raw
    move = a_move(machine, app)
    for wasted in (1, 2, 3):
        assert never_reaches(machine, move, "UM-9")
        attempts(machine, move, 1)
        assert waiting(machine)[FILE] == list(range(NEW, NEW + wasted))
        assert F.LOCKED not in machine.frame(OLD).flags
    assert block(machine, move) == pm.WaitFor("writeback", OLD, None)
    assert (move.at, F.LOCKED in machine.frame(OLD).flags) == ("UM-6", True)
    assert (machine.cost["unmaps"], app.entry_at(area.start).raw) == (before, raw)
    assert machine.complete_io()
    finish(machine, move)
    assert (move.result.statuses.tolist(), move.result.passes) == ([1], 4)


def test_s31_writeback_that_ends_between_two_passes_is_no_hindrance(
    machine: pm.Machine, app: pm.Task
) -> None:
    """UM-6, E7: clean and not under writeback in pass 1: moved there."""
    file, _ = cached(machine, app, EXT, write=True)
    file.writeback(0)
    move = a_move(machine, app)
    attempts(machine, move, 1)
    machine.complete_io()
    finish(machine, move)
    assert (move.result.statuses.tolist(), move.result.passes) == ([1], 2)


def test_s31_writeback_that_never_ends_is_awaited_for_ever(machine: pm.Machine, app: pm.Task) -> None:
    """UM-6, S31: uninterruptible; no signal and no time ends it, and the deadlock is told."""
    endless = machine.create_file("endless", pm.PAGE_SIZE, filesystem=dataclasses.replace(EXT, io_ticks=None))
    endless.write(0, size=pm.PAGE_SIZE)
    endless.writeback(0)
    machine.drain()
    move = a_move(machine, app)
    attempts(machine, move, 3)
    assert block(machine, move) == pm.WaitFor("writeback", OLD, None)
    app.signal()
    machine.advance(1_000_000)
    assert not move.step()
    with pytest.raises(pm.DeadlockError, match="writeback"):
        machine.run()
    machine.check()


def test_writeback_in_the_way_costs_the_page_nothing(machine: pm.Machine, app: pm.Task) -> None:
    """UM-6, I-124: flags, tags and counts after a refused attempt are those before it."""
    file, _ = cached(machine, app, EXT, write=True)
    file.writeback(0)
    move = reach(machine, a_move(machine, app), "UM-3")
    before = machine.frame(OLD), file.buffers(0), file.pages["writeback"].tolist()
    attempts(machine, move, 1)
    assert (machine.frame(OLD), file.buffers(0), file.pages["writeback"].tolist()) == before
    machine.complete_io()
    finish(machine, move)


# orphans -----------------------------------------------------------------------------------


def orphan(machine: pm.Machine, app: pm.Task, filesystem: pm.FileSystem, *, hold: bool) -> None:
    """Leave a page on frame 0 that belongs to no file and has buffers still."""
    file, area = cached(machine, app, filesystem)
    app.munmap(area)
    if hold:
        file.hold_buffer(0, 1)
    file.truncate(0)
    machine.drain()
    page = machine.frame(OLD)
    assert (page.owner, page.count, page.mapcount, page.lru) == (None, 1, 0, FILE)
    assert F.PRIVATE in page.flags
    assert file.cached == 0


def test_s27_an_orphan_loses_idle_buffers_in_the_first_attempt_and_is_free_in_the_second(
    machine: pm.Machine, app: pm.Task
) -> None:
    """UM-8, UM-2, S27: count 2 (private, isolation), then 1; -EAGAIN, then 0; freed at the end."""
    orphan(machine, app, STUBBORN, hold=False)
    move = reach(machine, a_move(machine, app), "UM-8")
    assert counts(machine, OLD) == (2, 0)
    assert never_reaches(machine, move, "UM-10")
    reach(machine, move, "UM-12")
    page = machine.frame(OLD)
    assert (page.count, F.PRIVATE in page.flags, page.private) == (1, False, 0)
    assert machine.buffers(OLD) == ()
    attempts(machine, move, 1)
    finish(machine, move)
    result = move.result
    assert (result.statuses.tolist(), result.passes, result.frames_discarded) == ([1], 2, 2)
    machine.drain()
    assert (counts(machine, OLD), free(machine, 0), free(machine, 1)) == ((0, 0), 64, 64)


def test_s27_an_orphan_with_a_busy_buffer_stays(machine: pm.Machine, app: pm.Task) -> None:
    """UM-8, S27: ten times -EAGAIN, counted as not moved, back on the list with its buffers."""
    orphan(machine, app, EXT, hold=True)
    result = machine.migrate_pages([OLD], pm.ToNode(1), offlining=True)
    assert (result.not_migrated, result.statuses.tolist(), result.passes) == (1, [-errno.EAGAIN], 10)
    machine.drain()
    page = machine.frame(OLD)
    assert (page.count, page.lru, F.PRIVATE in page.flags) == (1, FILE, True)
    assert [buffer.count for buffer in machine.buffers(OLD)] == [0, 1, 0, 0]


def test_s27_an_orphan_goes_when_its_buffer_is_let_go(machine: pm.Machine, app: pm.Task) -> None:
    """UM-8, S27: the holder lets go between two passes: freed in the next, done in the one after."""
    file, area = cached(machine, app, EXT)
    app.munmap(area)
    file.hold_buffer(0, 1)
    file.truncate(0)
    machine.drain()
    move = a_move(machine, app)
    attempts(machine, move, 2)
    file.release_buffer(0, 1)
    finish(machine, move)
    assert (move.result.statuses.tolist(), move.result.passes) == ([1], 4)


def test_an_orphan_without_buffers_skips_unmapping_only(machine: pm.Machine, app: pm.Task) -> None:
    """UM-8, S24: truncated while somebody has a reference: `mapping` null, no private data: MM-1 decides."""
    file, area = cached(machine, app, pm.FileSystem("plain"))
    move = reach(machine, a_move(machine, app), "MP-2")
    file.lookup(0, by=app)
    file.truncate(0)
    assert (counts(machine, OLD), app.entry_at(area.start).kind) == ((2, 0), pm.EntryKind.NONE)
    before = machine.cost["unmaps"]
    reach(machine, move, "MM-1")
    assert machine.cost["unmaps"] == before
    attempts(machine, move, 1)
    app.unpin(OLD)
    finish(machine, move)
    assert (move.result.statuses.tolist(), move.result.passes) == ([1], 2)
