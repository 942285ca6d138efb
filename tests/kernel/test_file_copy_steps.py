"""The steps that copy pages of files: MG, and of MC what anonymous memory does not show."""

from __future__ import annotations

import errno

import pytest

import pagemig as pm

from .stepping import (
    attempts,
    block,
    cached,
    counters,
    counts,
    finish,
    moved_between,
    never_reaches,
    reach,
)

F = pm.PageFlags
OLD, NEW = 0, 64
PLAIN = pm.FileSystem("plain", pm.MigrateMethod.PAGE)
"""Moved by ``migrate_page``, without buffers, dirty pages accounted."""


def a_move(machine: pm.Machine, by: pm.Task) -> pm.Call:
    """A move of the one page, through nobody's address space."""
    return machine.start(pm.calls.migrate_frames([OLD], pm.ToNode(1)), by=by)


# MG ----------------------------------------------------------------------------------------


def test_no_page_under_writeback_comes_to_the_method(machine: pm.Machine, app: pm.Task) -> None:
    """MG-1: it is refused while it is written, awaited in pass 3, and PG_writeback is clear there."""
    file, _ = cached(machine, app, PLAIN, write=True)
    assert file.writeback(0) is pm.Written.STARTED
    move = a_move(machine, app)
    assert never_reaches(machine, move, "MG-1")
    attempts(machine, move, 3)
    assert block(machine, move) == pm.WaitFor("writeback", OLD, None)
    machine.complete_io()
    reach(machine, move, "MG-1")
    assert F.WRITEBACK not in machine.frame(OLD).flags
    finish(machine, move)
    assert move.result.statuses.tolist() == [1]


def test_a_refusal_of_the_mapping_is_the_methods_result(machine: pm.Machine, app: pm.Task) -> None:
    """MG-2: nothing is copied, and -EAGAIN comes back."""
    file, _ = cached(machine, app, PLAIN)
    file.lookup(0, by=app)
    move = reach(machine, a_move(machine, app), "MG-2")
    copies = machine.cost["copies"]
    attempts(machine, move, 1)
    assert machine.cost["copies"] == copies
    app.unpin(OLD)
    finish(machine, move)
    assert (move.result.statuses.tolist(), move.result.attempts.tolist()) == ([1], [2])


def test_a_mapping_that_refuses_fails_for_good(machine: pm.Machine, app: pm.Task) -> None:
    """Migration 8: -EIO in the first pass; the entry is back, and nothing of the page has changed."""
    file, area = cached(machine, app, pm.filesystems.FAILING)
    flags = machine.frame(OLD).flags - F.LRU
    result = machine.migrate_pages([OLD], pm.ToNode(1))
    assert (result.statuses.tolist(), result.passes) == ([-errno.EIO], 1)
    assert (machine.frame(OLD).flags, file.pfn_of(0), app.entry_at(area.start).pfn) == (flags, OLD, OLD)


@pytest.mark.parametrize("code", [-7, -28, 5])
def test_whatever_a_method_returns_is_the_status(machine: pm.Machine, app: pm.Task, code: int) -> None:
    """Migration 13: any other code is permanent and passed on; even a positive one is a failure."""
    odd = pm.FileSystem("odd", code)
    _, area = cached(machine, app, odd)
    result = machine.migrate_pages([OLD], pm.ToNode(1))
    assert (result.statuses.tolist(), result.passes, result.not_migrated) == ([code], 1, 1)
    assert app.entry_at(area.start).pfn == OLD


# MC ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("flags", [F(0), F.CHECKED, F.MAPPEDTODISK, F.CHECKED | F.MAPPEDTODISK | F.ERROR])
def test_what_a_filesystem_knows_of_a_page_is_copied(machine: pm.Machine, app: pm.Task, flags: F) -> None:
    """MC-2, MC-4: set on the new page if it was set; not cleared on the old one."""
    cached(machine, app, PLAIN)
    for flag in flags:
        machine.set_page_flag(OLD, flag)
    move = reach(machine, a_move(machine, app), "MC-4")
    assert machine.frame(NEW).flags == F.LOCKED
    move.step()
    machine.check()
    assert machine.frame(NEW).flags == F.LOCKED | F.UPTODATE | flags
    assert machine.frame(OLD).flags == F.LOCKED | F.UPTODATE | flags
    finish(machine, move)


@pytest.mark.parametrize("is_dirty", [False, True])
def test_reclaim_is_not_copied(machine: pm.Machine, app: pm.Task, is_dirty: bool) -> None:
    """MC-5: the new page never has it; the old page loses it with its dirtiness, else it keeps it."""
    cached(machine, app, PLAIN, write=is_dirty)
    machine.set_page_flag(OLD, F.RECLAIM)
    move = reach(machine, a_move(machine, app), "MN-4")
    assert (F.RECLAIM in machine.frame(OLD).flags, F.RECLAIM in machine.frame(NEW).flags) == (
        not is_dirty,
        False,
    )
    finish(machine, move)


def test_dirtiness_that_is_accounted_moves_from_zone_to_zone(machine: pm.Machine, app: pm.Task) -> None:
    """MC-5: NR_FILE_DIRTY, not before and not after; tag, and the file has something to write."""
    file, _ = cached(machine, app, PLAIN, write=True)
    move = reach(machine, a_move(machine, app), "MC-5")
    before = counters(machine)
    assert (before[0]["nr_dirty"], before[1]["nr_dirty"]) == (1, 0)
    move.step()
    machine.check()
    assert moved_between(before, counters(machine)) == {"nr_dirty": 1}
    assert (F.DIRTY in machine.frame(OLD).flags, F.DIRTY in machine.frame(NEW).flags) == (False, True)
    assert (file.pages["dirty"].tolist(), file.is_dirty) == ([True], True)
    finish(machine, move)


def test_dirtiness_that_is_not_accounted_gains_a_tag(machine: pm.Machine, app: pm.Task) -> None:
    """MC-5, I-67: shmem sets the bare flag; the second half of MC-5 tags the slot all the same."""
    file, _ = cached(machine, app, pm.filesystems.TMPFS, write=True)
    assert (F.DIRTY in machine.frame(OLD).flags, file.pages["dirty"].tolist()) == (True, [False])
    move = reach(machine, a_move(machine, app), "MC-5")
    before = counters(machine)
    move.step()
    machine.check()
    assert counters(machine) == before
    assert (F.DIRTY in machine.frame(NEW).flags, file.pages["dirty"].tolist()) == (True, [True])
    finish(machine, move)


def test_a_clean_page_stays_clean(machine: pm.Machine, app: pm.Task) -> None:
    """MC-5: nothing is counted, tagged or set."""
    file, _ = cached(machine, app, PLAIN)
    machine.migrate_pages([OLD], pm.ToNode(1))
    assert (machine.vmstat()["nr_dirty"], file.is_dirty, file.pages["dirty"].tolist()) == (0, False, [False])


def test_the_old_page_is_nobodys(machine: pm.Machine, app: pm.Task) -> None:
    """MC-8, MC-9: no owner, no `private`; `index` and PG_swapbacked stay."""
    cached(machine, app, pm.filesystems.TMPFS, pages=2)
    move = reach(machine, a_move(machine, app), "MN-4")
    shell = machine.frame(OLD)
    assert (shell.owner, shell.private, shell.index) == (None, 0, 0)
    assert shell.flags == F.LOCKED | F.UPTODATE | F.SWAPBACKED
    finish(machine, move)


@pytest.mark.parametrize("filesystem", [PLAIN, pm.filesystems.EXT, pm.filesystems.TMPFS])
def test_no_new_page_is_ever_under_writeback(
    machine: pm.Machine, app: pm.Task, filesystem: pm.FileSystem
) -> None:
    """MC-10: there is none to end: not one step of a move of a dirty page changes NR_WRITEBACK."""
    file, _ = cached(machine, app, filesystem, write=True)
    move = a_move(machine, app)
    while not move.done:
        move.step()
        machine.check()
        assert machine.vmstat()["nr_writeback"] == 0
        assert F.WRITEBACK not in machine.frame(NEW).flags
    assert (move.result.statuses.tolist(), file.pages["writeback"].tolist()) == ([1], [False])


def test_the_bytes_of_a_file_are_on_the_new_page_before_it_is_up_to_date(
    machine: pm.Machine, app: pm.Task
) -> None:
    """MC-1, MC-2, I-113: and a read through the cache finds them there."""
    file, area = cached(machine, app, PLAIN, write=True)
    data = bytes(range(256)) * 16
    app.write(area.start, data)
    move = reach(machine, a_move(machine, app), "MC-1")
    assert (F.UPTODATE in machine.frame(NEW).flags, machine.frame_bytes(NEW)) == (False, bytes(4096))
    move.step()
    machine.check()
    assert (F.UPTODATE in machine.frame(NEW).flags, machine.frame_bytes(NEW)) == (True, data)
    finish(machine, move)
    assert (file.read(0, 4096), counts(machine, NEW)) == (data, (3, 1))
