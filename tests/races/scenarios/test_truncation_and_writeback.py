"""Files that are cut, written and read while a page of theirs is moved: S23 to S26, S31 to S33.

Every step is audited. M is the migrator, T the other task, "count" is counted with M's isolation.
The machine's one disk answers when it is asked (``complete_io``).
"""

from __future__ import annotations

import dataclasses
import errno

import pytest

import pagemig as pm
from tests.races.scenarios.stages import WRITTEN_FIRST, FileStage, file_page
from tests.races.stage import finish, free_frames, statuses, step, until, unused_frames, waits

F = pm.PageFlags
MIGRATION, PRESENT, NONE = pm.EntryKind.MIGRATION, pm.EntryKind.PRESENT, pm.EntryKind.NONE
EXT, BLOCKDEV = pm.filesystems.EXT, pm.filesystems.BLOCKDEV
CPU = 0


def attempt(stage: FileStage, mover: pm.Call) -> None:
    """M goes on to the end of its attempt, with UM-17 made."""
    until(stage, mover, "UM-17")
    assert step(stage, mover)


def all_frames_come_back(stage: FileStage) -> None:
    """Every frame is free after a drain: the file is empty, nobody maps anything."""
    stage.machine.drain()
    stage.machine.check()
    assert (free_frames(stage, 0), free_frames(stage, 1)) == (64, 64)


@pytest.mark.parametrize("meets", [True, False], ids=["MM-5 in between", "MM-5 later"])
def test_s23_the_first_pass_of_a_truncation_meets_the_locked_page(meets: bool) -> None:
    """S23: T's batch has a reference (count + 1), its try-lock fails, the batch drops it. If MM-5 falls into
    that interval: -EAGAIN; else nothing. Then T's second pass truncates what it finds: the new page.
    """
    stage = file_page()
    mover = stage.mover()
    until(stage, mover, "MM-2")
    cut = stage.truncation()
    until(stage, cut, "SP8-lock")
    assert stage.counts() == (3, 0)
    assert step(stage, cut)
    assert (cut.at, cut.waiting_for, stage.counts()) == ("SP8-release", None, (3, 0))
    if meets:
        until(stage, mover, "UM-16")
        assert mover.history.count("MM-6") == 0
        assert stage.new_frame() == stage.old
    until(stage, cut, "SP8-pass2")
    assert stage.counts() == (2, 0)
    finish(stage, mover)
    assert statuses(mover) == [1]
    assert mover.history.count("UM-3") == (2 if meets else 1)
    assert stage.machine.frame(stage.new_frame()).node == 1
    finish(stage, cut)
    assert (stage.file.cached, stage.file.size) == (0, 0)
    all_frames_come_back(stage)


def sleeping_truncation(stage: FileStage) -> tuple[pm.Call, pm.Call]:
    """M's attempt has failed by the reference of T, who slept on P and then has truncated the page.

    T still has its batch: count 2, isolation and T's reference.
    """
    mover = stage.mover()
    until(stage, mover, "MM-2")
    cut = stage.truncation()
    assert waits(stage, cut) == pm.WaitFor("page_lock", stage.old, mover.number)
    assert (cut.at, stage.counts()) == ("SP8-lock", (3, 0))
    until(stage, mover, "UM-16")
    assert mover.history.count("MM-6") == 0
    assert stage.app.entry_at(stage.address).kind is NONE
    until(stage, cut, "SP8-release")
    old = stage.machine.frame(stage.old)
    assert (old.owner, old.count, old.mapcount, stage.file.cached) == (None, 2, 0, 0)
    return mover, cut


@pytest.mark.parametrize("release", ["before UM-2", "a pass later", "between UM-2 and MM-1", "never"])
def test_s24_a_truncator_that_slept_on_the_page_with_a_reference(release: str) -> None:
    """S24: (a) T has released its batch: count 1: UM-2, rc 0. (b) not yet: UM-8 finds null, no unmapping,
    MM-1 sees 2: -EAGAIN, a later pass is (a). (c) T releases between UM-2 and MM-1: the orphan's bytes and
    flags are copied, rc 0, both frames die in pagevecs. Status: the target; -EAGAIN if T never releases.
    """
    stage = file_page(write=True)
    mover, cut = sleeping_truncation(stage)
    unmaps, attempts, status = stage.machine.cost["unmaps"], 1, 1
    if release == "before UM-2":
        finish(stage, cut)
        assert stage.counts() == (1, 0)
    elif release == "a pass later":
        attempt(stage, mover)
        until(stage, mover, "MM-1")
        assert stage.counts() == (2, 0)
        attempt(stage, mover)
        finish(stage, cut)
        attempts = 2
    elif release == "between UM-2 and MM-1":
        attempt(stage, mover)
        until(stage, mover, "MM-1")
        finish(stage, cut)
        assert stage.counts() == (1, 0)
        until(stage, mover, "MN-4")
        (copy,) = unused_frames(stage, 1)
        assert F.UPTODATE in copy.flags
        assert stage.machine.frame_bytes(copy.pfn)[:4] == b"page"
        attempts = 2
    else:
        status, attempts = -errno.EAGAIN, 10
    finish(stage, mover)
    assert statuses(mover) == [status]
    assert (mover.history.count("UM-3"), stage.machine.cost["unmaps"]) == (attempts, unmaps)
    if not cut.done:
        finish(stage, cut)
    assert stage.file.cached == 0
    all_frames_come_back(stage)


@pytest.mark.parametrize("label", ["MC-1", "MN-4", "MN-5"])
def test_s25_a_truncation_after_the_point_of_no_return_takes_the_new_page(label: str) -> None:
    """S25, Q16: at Y12 T clears the entry (FILEPAGES one too high), at Y15 the restored PTE (as it should);
    T finds the new page, sleeps on N, truncates it after MN-5. M: 0, target; the old page is unaffected.
    """
    stage = file_page(write=True)
    mover = stage.mover()
    until(stage, mover, label)
    new = stage.new_frame()
    assert stage.machine.frame(new).node == 1
    kind = stage.app.entry_at(stage.address).kind
    assert kind is (PRESENT if label == "MN-5" else MIGRATION)
    cut = stage.truncation()
    assert waits(stage, cut) == pm.WaitFor("page_lock", new, mover.number)
    assert stage.app.entry_at(stage.address).kind is NONE
    assert stage.app.counters.file == (0 if kind is PRESENT else 1)
    assert stage.counts() == (1, 0)
    assert stage.counts(new) == (3, 0)
    until(stage, mover, "MN-5")
    assert not step(stage, cut)
    assert step(stage, mover)
    finish(stage, cut)
    assert (stage.machine.frame(new).owner, stage.counts(new), stage.counts()) == (None, (1, 0), (1, 0))
    finish(stage, mover)
    assert (statuses(mover), mover.history.count("UM-3")) == ([1], 1)
    assert stage.machine.vmstat()["nr_dirty"] == 0
    all_frames_come_back(stage)


def used(stage: FileStage, pfn: int) -> bool:
    """Whether a frame is charged to a group."""
    return pm.RecordFlags.USED in stage.machine.memcg_record(pfn).flags


@pytest.mark.parametrize("profile", [pm.Profile.EXACT, pm.Profile.REPAIRED], ids=["exact", "repaired"])
@pytest.mark.parametrize("released", [True, False], ids=["UM-2", "S24(b)"])
@pytest.mark.parametrize("code", [None, errno.ENOSPC], ids=["written", "write error"])
def test_s26_a_truncation_during_the_writeout_of_the_fallback(
    code: int | None, released: bool, profile: pm.Profile
) -> None:
    """S26, Y19, Q18: PTEs are back; T gets P before M's WO-5, waits for writeback, unmaps, truncates. WO-6:
    -EAGAIN, or -EIO; UM-11 finds nothing; UM-14 charges the new page. Next pass: UM-2, or S24(b).
    """
    script = () if code is None else (code,)
    filesystem = dataclasses.replace(WRITTEN_FIRST, write_script=script)
    stage = file_page(filesystem=filesystem, write=True, profile=profile, charged=True)
    group = stage.machine.memcg("group")
    mover = stage.frame_mover()
    until(stage, mover, "WO-5")
    entry = stage.app.entry_at(stage.address)
    assert (entry.kind, entry.pfn) == (PRESENT, stage.old)
    cut = stage.truncation()
    if code is None:
        assert waits(stage, cut) == pm.WaitFor("writeback", stage.old, None)
        assert waits(stage, mover) == pm.WaitFor("page_lock", stage.old, cut.number)
        assert stage.machine.complete_io()
    until(stage, cut, "SP8-release")
    assert (stage.machine.frame(stage.old).owner, stage.file.cached) == (None, 0)
    assert stage.app.entry_at(stage.address).kind is NONE
    if released:
        finish(stage, cut)
    restores = stage.machine.cost["restores"]
    until(stage, mover, "UM-16")
    assert stage.machine.cost["restores"] == restores
    (new,) = unused_frames(stage, 1)
    is_exact = profile is pm.Profile.EXACT
    assert (used(stage, stage.old), used(stage, new.pfn)) == (False, is_exact)
    assert group.usage == (pm.PAGE_SIZE if is_exact else 0)
    if released or code is not None:
        finish(stage, mover)
    else:
        attempt(stage, mover)
        attempt(stage, mover)
        finish(stage, cut, mover)
    result = mover.result
    assert result.statuses.tolist() == ([1] if code is None else [-errno.EIO])
    assert result.passes == (1 if code is not None else 2 if released else 3)
    if not cut.done:
        finish(stage, cut)
    all_frames_come_back(stage)


STUBBORN = dataclasses.replace(EXT, release=pm.ReleaseMethod.NEVER)
"""Its release method refuses, so that truncation leaves pages with idle buffers behind."""


def orphan(filesystem: pm.FileSystem, *, hold: bool) -> FileStage:
    """A page that belongs to no file and has buffers still, on the list; count 1, the private one."""
    stage = file_page(filesystem=filesystem)
    stage.app.munmap(stage.area)
    if hold:
        stage.file.hold_buffer(0, 1)
    stage.file.truncate(0)
    stage.machine.drain()
    page = stage.machine.frame(stage.old)
    assert (page.owner, page.count, page.lru) == (None, 1, pm.LruList.INACTIVE_FILE)
    assert (F.PRIVATE in page.flags, stage.file.cached) == (True, 0)
    return stage


@pytest.mark.parametrize("buffers", ["idle", "busy", "let go in time"])
def test_s27_an_orphan_with_buffers_under_offlining(buffers: str) -> None:
    """S27, UM-8: count 2 (private, isolation). Idle: freed, count 1, -EAGAIN; next pass UM-2, rc 0; freed at
    the end. Busy: -EAGAIN ten times, counted as not migrated, back on the LRU.
    """
    stage = orphan(STUBBORN if buffers == "idle" else EXT, hold=buffers != "idle")
    what = pm.calls.migrate_frames([stage.old], pm.ToNode(1), offlining=True)
    mover = stage.machine.start(what, by=stage.other)
    until(stage, mover, "UM-8")
    assert stage.counts() == (2, 0)
    until(stage, mover, "UM-12")
    assert (F.PRIVATE in stage.machine.frame(stage.old).flags) is (buffers != "idle")
    assert stage.counts() == ((1, 0) if buffers == "idle" else (2, 0))
    attempt(stage, mover)
    if buffers == "let go in time":
        attempt(stage, mover)
        stage.file.release_buffer(0, 1)
    finish(stage, mover)
    result = mover.result
    outcome = (result.statuses.tolist(), result.passes, result.not_migrated, result.frames_discarded)
    if buffers == "busy":
        assert outcome == ([-errno.EAGAIN], 10, 1, 10)
        stage.machine.drain()
        page = stage.machine.frame(stage.old)
        assert (page.count, page.lru) == (1, pm.LruList.INACTIVE_FILE)
        assert [buffer.count for buffer in stage.machine.buffers(stage.old)] == [0, 1, 0, 0]
    else:
        passes = 2 if buffers == "idle" else 4
        assert outcome == ([1], passes, 0, passes)
        all_frames_come_back(stage)


@pytest.mark.parametrize("ends", ["in pass 3", "between two passes", "never"])
def test_s31_writeback_in_progress(ends: str) -> None:
    """S31, UM-6, E7: passes 0 to 2: -EAGAIN, no PTE touched; pass 3 sleeps, with the page locked, until it
    ends, then migrates. If it cannot end, M sleeps for ever: no signal and no time wakes it.
    """
    ticks = None if ends == "never" else 1
    stage = file_page(filesystem=dataclasses.replace(EXT, io_ticks=ticks), write=True)
    stage.file.writeback(0)
    unmaps, entry = stage.machine.cost["unmaps"], stage.app.entry_at(stage.address)
    mover = stage.frame_mover()
    for wasted in range(1, 2 if ends == "between two passes" else 4):
        attempt(stage, mover)
        assert len(stage.machine.pagevec(CPU, pm.LruList.INACTIVE_FILE)) == wasted
        assert F.LOCKED not in stage.machine.frame(stage.old).flags
        assert (stage.machine.cost["unmaps"], stage.app.entry_at(stage.address)) == (unmaps, entry)
    if ends != "between two passes":
        assert waits(stage, mover) == pm.WaitFor("writeback", stage.old, None)
        assert (mover.at, F.LOCKED in stage.machine.frame(stage.old).flags) == ("UM-6", True)
        assert (stage.machine.cost["unmaps"], stage.app.entry_at(stage.address)) == (unmaps, entry)
    if ends == "never":
        stage.other.signal()
        stage.machine.advance(1_000_000)
        assert not step(stage, mover)
        with pytest.raises(pm.DeadlockError, match="writeback"):
            stage.machine.run()
        stage.machine.check()
        return
    assert stage.machine.complete_io()
    finish(stage, mover)
    assert mover.result.statuses.tolist() == [1]
    assert mover.result.passes == (2 if ends == "between two passes" else 4)


def test_s32_a_reader_that_copies_data_has_a_reference_and_no_lock() -> None:
    """S32: -EAGAIN until it is done: count 3 where 2 are expected; then the page moves."""
    stage = file_page(write=True)
    reader = stage.machine.start(pm.calls.read_file(stage.file, 0, 4), by=stage.other)
    until(stage, reader, "SP7-read-copy")
    mover = stage.mover()
    until(stage, mover, "MM-2")
    assert stage.counts() == (3, 0)
    attempt(stage, mover)
    assert mover.history.count("MM-6") == 0
    finish(stage, reader)
    assert reader.result == b"page"
    finish(stage, mover)
    assert (statuses(mover), mover.history.count("UM-3")) == ([1], 2)


@pytest.mark.parametrize("label", ["MM-2", "MC-1"])
def test_s32_a_file_fault_waits_for_the_page_that_it_finds(label: str) -> None:
    """S32: before the freeze: on P, with a reference: -EAGAIN; it maps the old page (map count + 1), the
    next pass unmaps that too. After MM-9: on N, it maps the new page; M: 0.
    """
    stage = file_page(write=True)
    second = stage.app.fork("second")
    view = second.same(stage.area)
    mover = stage.frame_mover()
    until(stage, mover, label)
    found = stage.new_frame()
    assert (found == stage.old) is (label == "MM-2")
    fault = stage.machine.start(pm.calls.touch(view, write=False), by=second)
    assert waits(stage, fault) == pm.WaitFor("page_lock", found, mover.number)
    assert stage.counts(found) == (3, 0)
    until(stage, mover, "UM-16")
    finish(stage, fault)
    assert second.entry_at(stage.address).pfn == found
    assert stage.machine.frame(found).mapcount == 2
    finish(stage, mover)
    assert mover.result.statuses.tolist() == [1]
    assert mover.result.passes == (2 if label == "MM-2" else 1)
    for task in (stage.app, second):
        assert task.entry_at(stage.address).pfn == stage.new_frame()
    assert second.read(stage.address, 4) == b"page"


def test_s33_a_buffer_locked_by_somebody_else_is_waited_for() -> None:
    """S33, BM-3, BM-8, Y13: M sleeps past the point of no return, holding P and N, in pass 0; rc 0."""
    stage = file_page(filesystem=EXT)
    stage.file.hold_buffer(0, 2, lock=True)
    mover = stage.mover()
    wait = waits(stage, mover)
    assert (wait.lock, wait.holder, mover.at) == ("buffer_lock", pm.Holder.HAND, "BM-3")
    assert [buffer.count for buffer in stage.machine.buffers(stage.old)] == [1, 1, 2, 0]
    new = stage.new_frame()
    assert stage.machine.frame(new).node == 1
    assert all(F.LOCKED in stage.machine.frame(pfn).flags for pfn in (stage.old, new))
    stage.file.release_buffer(0, 2)
    finish(stage, mover)
    assert (statuses(mover), mover.history.count("UM-3")) == ([1], 1)
    assert not any(buffer.is_busy for buffer in stage.file.buffers(0))


@pytest.mark.parametrize("filesystem", [EXT, BLOCKDEV], ids=lambda filesystem: filesystem.name)
def test_s33_a_buffer_that_is_merely_referenced_or_dirty_blocks_the_fallback_only(
    filesystem: pm.FileSystem,
) -> None:
    """S33: ``buffer_migrate_page`` takes it along; FB-2 cannot drop it: -EAGAIN, ten times."""
    stage = file_page(filesystem=filesystem, write=filesystem is EXT)
    stage.file.hold_buffer(0, 1)
    mover = stage.mover()
    finish(stage, mover)
    moves = filesystem is EXT
    assert statuses(mover) == [1 if moves else -errno.EAGAIN]
    assert mover.history.count("UM-3") == (1 if moves else 10)
    assert [buffer.count for buffer in stage.file.buffers(0)] == [0, 1, 0, 0]
    stage.file.release_buffer(0, 1)
    stage.machine.drain()
    again = stage.mover()
    finish(stage, again)
    assert statuses(again) == [1]
    assert len(stage.file.buffers(0)) == (4 if moves else 0)
