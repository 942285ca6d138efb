"""Pages of filesystems without a migrate method: FB, and WO for those that are dirty."""

from __future__ import annotations

import dataclasses
import errno
from collections.abc import Iterator

import pytest

import pagemig as pm

from .stepping import (
    attempts,
    block,
    cached,
    counters,
    counts,
    delta,
    finish,
    never_reaches,
    reach,
    waiting,
)

F = pm.PageFlags
OLD, NEW = 0, 64
FILE = pm.LruList.INACTIVE_FILE
EXACT, REPAIRED = pm.Profile.EXACT, pm.Profile.REPAIRED
PLAIN = pm.FileSystem("plain")
"""No migrate method, a write method, no buffers, dirty pages accounted."""


@pytest.fixture(params=[EXACT], ids=lambda profile: profile.name)
def profile(request: pytest.FixtureRequest) -> pm.Profile:
    """EXACT, unless a test asks for both."""
    return request.param


@pytest.fixture
def machine(profile: pm.Profile) -> Iterator[pm.Machine]:
    """Two nodes of 64 frames, one CPU, real bytes, of the profile that the test wants."""
    made = pm.Machine(nodes=[64 * pm.PAGE_SIZE] * 2, cpus=1, contents=True, profile=profile)
    yield made
    made.check()


both = pytest.mark.parametrize("profile", [EXACT, REPAIRED], indirect=True, ids=["exact", "repaired"])


def a_move(machine: pm.Machine, by: pm.Task) -> pm.Call:
    """A move of the one page, through nobody's address space."""
    return machine.start(pm.calls.migrate_frames([OLD], pm.ToNode(1)), by=by)


def scripted(*outcomes: pm.WriteOutcome | int) -> pm.FileSystem:
    """The plain filesystem, whose first writes go so."""
    return dataclasses.replace(PLAIN, write_script=outcomes)


def finish_with_disk(machine: pm.Machine, move: pm.Call) -> None:
    """Step a move to its end; where it waits for the disk, the disk answers."""
    while not move.done:
        if not move.step():
            assert machine.complete_io(), f"{move!r} waits for {move.waiting_for}"
        machine.check()


def settle_with_disk(machine: pm.Machine) -> None:
    """Step all calls in turn until all are done; where all wait, the disk answers."""
    while machine.calls:
        ran = [call.step() for call in machine.calls]
        if not any(ran):
            assert machine.complete_io(), "no call can go on"
        machine.check()


# FB ----------------------------------------------------------------------------------------


def test_a_clean_page_moves_by_way_of_the_fallback(machine: pm.Machine, app: pm.Task) -> None:
    """FB-1, FB-3: not dirty, no private data: as `migrate_page` moves it, and nothing is written."""
    file, area = cached(machine, app, PLAIN)
    move = reach(machine, a_move(machine, app), "FB-1")
    assert {"FB-2", "FB-3", "MG-1"} <= set(move.labels)
    assert never_reaches(machine, move, "WO-3")
    finish(machine, move)
    assert (move.result.statuses.tolist(), file.pfn_of(0), app.entry_at(area.start).pfn) == ([1], NEW, NEW)
    assert machine.pending_io == ()


def test_clean_buffers_are_dropped_before_the_count(machine: pm.Machine, app: pm.Task) -> None:
    """FB-2: PG_private and its reference are gone, so MM-4 expects 2; the new page has no buffers."""
    file, _ = cached(machine, app, pm.filesystems.BLOCKDEV)
    move = reach(machine, a_move(machine, app), "FB-2")
    assert (counts(machine, OLD), len(file.buffers(0))) == ((3, 0), 4)
    reach(machine, move, "MM-2")
    old = machine.frame(OLD)
    assert (old.count, F.PRIVATE in old.flags, old.private, file.buffers(0)) == (2, False, 0, ())
    finish(machine, move)
    assert move.result.statuses.tolist() == [1]
    assert F.PRIVATE not in machine.frame(NEW).flags


def test_a_filesystem_that_does_not_let_go_keeps_its_page(machine: pm.Machine, app: pm.Task) -> None:
    """FB-2: the release method says no: -EAGAIN in all ten passes; the buffers stay."""
    stubborn = dataclasses.replace(pm.filesystems.BLOCKDEV, release=pm.ReleaseMethod.NEVER)
    file, area = cached(machine, app, stubborn)
    result = machine.migrate_pages([OLD], pm.ToNode(1))
    assert (result.statuses.tolist(), result.passes) == ([-errno.EAGAIN], 10)
    assert (len(file.buffers(0)), app.entry_at(area.start).pfn) == (4, OLD)


# WO ----------------------------------------------------------------------------------------


def test_q30_nobody_can_write_the_page(machine: pm.Machine, app: pm.Task) -> None:
    """WO-1, UM-11, Q30: dirty: -EINVAL in the first pass, nothing changed, entry back; clean: it moves."""
    file, area = cached(machine, app, pm.filesystems.READONLY, write=True)
    before = counters(machine)
    move = reach(machine, a_move(machine, app), "UM-16")
    entry = app.entry_at(area.start)
    assert (entry.pfn, entry.writable) == (OLD, True)
    assert F.DIRTY in machine.frame(OLD).flags
    finish(machine, move)
    result = move.result
    assert (result.statuses.tolist(), result.passes, result.not_migrated) == ([-errno.EINVAL], 1, 1)
    machine.drain()
    assert counters(machine) == before
    assert file.pages["dirty"].tolist() == [True]


def test_q30_a_clean_page_of_the_same_filesystem_moves(machine: pm.Machine, app: pm.Task) -> None:
    """Q30: the other half."""
    cached(machine, app, pm.filesystems.READONLY)
    assert machine.migrate_pages([OLD], pm.ToNode(1)).statuses.tolist() == [1]


def test_the_page_is_clean_before_its_entries_come_back(machine: pm.Machine, app: pm.Task) -> None:
    """WO-2: PG_dirty and NR_FILE_DIRTY go, the tag stays; no entry was there to be write-protected."""
    file, area = cached(machine, app, PLAIN, write=True)
    move = reach(machine, a_move(machine, app), "WO-2")
    before = machine.zone_counters(0)
    assert F.DIRTY in machine.frame(OLD).flags
    move.step()
    machine.check()
    assert delta(before, machine.zone_counters(0)) == {"nr_dirty": -1}
    assert F.DIRTY not in machine.frame(OLD).flags
    assert file.pages["dirty"].tolist() == [True]
    assert app.entry_at(area.start).raw == OLD * 512 + 62
    finish_with_disk(machine, move)


def test_all_entries_are_back_before_the_write_begins(machine: pm.Machine, app: pm.Task) -> None:
    """WO-3, WO-4: those of every mapper, writable as they were, and the page is still locked."""
    _, area = cached(machine, app, PLAIN, write=True)
    child = app.fork("child")
    child.touch(child.same(area))
    machine.drain()
    move = reach(machine, a_move(machine, app), "WO-3")
    assert (counts(machine, OLD), machine.frame(OLD).flags & F.DIRTY) == ((2, 0), F(0))
    reach(machine, move, "WO-4")
    for task in (app, child):
        entry = task.entry_at(area.start)
        assert (entry.kind, entry.pfn) == (pm.EntryKind.PRESENT, OLD)
        assert (entry.writable, entry.dirty, entry.accessed) == (True, False, False)
    old = machine.frame(OLD)
    assert (counts(machine, OLD), old.flags & (F.LOCKED | F.WRITEBACK)) == ((4, 2), F.LOCKED)
    assert machine.pending_io == ()
    finish_with_disk(machine, move)


def test_the_write_method_unlocks_the_page_and_the_mover_locks_it_again(
    machine: pm.Machine, app: pm.Task
) -> None:
    """WO-4, WO-5, WO-6: under writeback and nobody's; then ours again; -EAGAIN, moved when it is written."""
    file, _ = cached(machine, app, PLAIN, write=True)
    move = reach(machine, a_move(machine, app), "WO-5")
    flags = machine.frame(OLD).flags
    assert (F.LOCKED in flags, F.WRITEBACK in flags) == (False, True)
    assert (file.pages["dirty"].tolist(), file.pages["writeback"].tolist()) == ([False], [True])
    assert [transfer.pfn for transfer in machine.pending_io] == [OLD]
    move.step()
    assert F.LOCKED in machine.frame(OLD).flags
    attempts(machine, move, 1)
    machine.complete_io()
    finish(machine, move)
    assert (move.result.statuses.tolist(), move.result.passes) == ([1], 2)
    assert file.pfn_of(0) == NEW + 1


def test_another_may_have_the_lock_first(machine: pm.Machine, app: pm.Task) -> None:
    """WO-5, Y19: who locks the page in between is waited for, in the very first pass."""
    file, area = cached(machine, app, PLAIN, write=True)
    other = machine.spawn("other", stack=False)
    move = reach(machine, a_move(machine, app), "WO-5")
    cut = machine.start(pm.calls.truncate(file, 100), by=other)
    assert block(machine, cut) == pm.WaitFor("writeback", OLD, None)
    assert block(machine, move) == pm.WaitFor("page_lock", OLD, cut.number)
    assert move.at == "WO-5"
    machine.complete_io()
    settle_with_disk(machine)
    assert move.result.statuses.tolist() == [1]
    assert file.size == 100
    assert app.entry_at(area.start).pfn == file.pfn_of(0)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EAGAIN])
def test_any_error_of_the_write_method_is_an_io_error(machine: pm.Machine, app: pm.Task, code: int) -> None:
    """WO-6: negative: -EIO, permanent; the page is mapped and locked by nobody."""
    _, area = cached(machine, app, scripted(code), write=True)
    result = machine.migrate_pages([OLD], pm.ToNode(1))
    assert (result.statuses.tolist(), result.passes, result.not_migrated) == ([-errno.EIO], 1, 1)
    assert (counts(machine, OLD), F.LOCKED in machine.frame(OLD).flags) == ((3, 1), False)
    assert app.entry_at(area.start).pfn == OLD
    assert waiting(machine)[FILE] == [OLD, NEW]


def test_a_method_that_refuses_leaves_the_page_locked_and_dirty(machine: pm.Machine, app: pm.Task) -> None:
    """WO-5, WO-6: AOP_WRITEPAGE_ACTIVATE: not unlocked, so not locked again; -EAGAIN, all ten times."""
    file, _ = cached(machine, app, scripted(*[pm.WriteOutcome.ACTIVATE] * 10), write=True)
    move = reach(machine, a_move(machine, app), "WO-4")
    move.step()
    machine.check()
    assert move.at == "UM-11"
    assert machine.frame(OLD).flags & (F.LOCKED | F.DIRTY | F.WRITEBACK) == F.LOCKED | F.DIRTY
    finish(machine, move)
    assert (move.result.statuses.tolist(), move.result.passes) == ([-errno.EAGAIN], 10)
    assert "WO-5" not in move.history
    assert (file.pages["dirty"].tolist(), machine.zone_counters(0)["nr_dirty"]) == ([True], 1)


def test_a_write_that_ends_in_an_error_does_not_hinder_the_move(machine: pm.Machine, app: pm.Task) -> None:
    """WO-6, MC-2: submitted, so -EAGAIN; later the page moves with PG_error, and the file remembers."""
    file, _ = cached(machine, app, scripted(pm.WriteOutcome.IO_ERROR), write=True)
    result = machine.migrate_pages([OLD], pm.ToNode(1))
    assert (result.statuses.tolist(), result.passes) == ([1], 4)
    assert F.ERROR in machine.frame(file.pfn_of(0)).flags
    assert file.flags == pm.MappingFlags.EIO


# quirks ------------------------------------------------------------------------------------


def test_q31_the_entries_are_restored_twice_and_the_second_walk_finds_none(
    machine: pm.Machine, app: pm.Task
) -> None:
    """Q31, WO-3, UM-11: both walks are made; one entry is restored."""
    _, area = cached(machine, app, PLAIN, write=True)
    move = reach(machine, a_move(machine, app), "WO-3")
    before = machine.cost["restores"]
    reach(machine, move, "WO-4")
    assert machine.cost["restores"] == before + 1
    reach(machine, move, "UM-11")
    walks, raw = machine.cost["walks"], app.entry_at(area.start).raw
    reach(machine, move, "UM-15")
    assert (machine.cost["walks"], machine.cost["restores"]) == (walks + 1, before + 1)
    assert (app.entry_at(area.start).raw, counts(machine, OLD)) == (raw, (3, 1))
    finish_with_disk(machine, move)


@both
def test_q29_a_store_to_a_page_that_was_just_written_is_not_noticed(
    machine: pm.Machine, app: pm.Task, profile: pm.Profile
) -> None:
    """Q29: writable in EXACT: no fault, PG_dirty clear until the entry is torn down; a fault in REPAIRED."""
    file, area = cached(machine, app, PLAIN, write=True)
    move = reach(machine, a_move(machine, app), "WO-4")
    assert app.entry_at(area.start).writable is (profile is EXACT)
    attempts(machine, move, 1)
    machine.complete_io()
    stored = app.touch(area)
    machine.check()
    assert (stored.hits, stored.minor) == ((1, 0) if profile is EXACT else (0, 1))
    assert (F.DIRTY in machine.frame(OLD).flags) is (profile is REPAIRED)
    assert machine.zone_counters(0)["nr_dirty"] == (profile is REPAIRED)
    assert app.entry_at(area.start).dirty
    app.munmap(area)
    assert F.DIRTY in machine.frame(OLD).flags
    assert file.pages["dirty"].tolist() == [True]
    finish_with_disk(machine, move)
