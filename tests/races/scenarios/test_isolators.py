"""Other isolators, and users that leave while a page is moved: S13 to S19 of the concurrency page.

Method for users that leave: M moves the parent's page; the parent then stores and gets a page of its
own, so that the isolated page belongs to the child alone, whose ``mmap_sem`` M does not hold.
"""

from __future__ import annotations

import errno

import pytest

import pagemig as pm
from tests.races.scenarios.stages import FileStage, Playground, file_page, swap_machine
from tests.races.stage import (
    SHARED,
    Stage,
    finish,
    free_frames,
    only_the_child_maps_it,
    own_page,
    shared_page,
    statuses,
    until,
    unused_frames,
    waits,
)


def prepared_second(stage: Stage) -> pm.Call:
    """A second migrator, to node 2, that has drained the pagevecs (DP-3) and looks the page up next."""
    call = pm.calls.move_pages(stage.of_child(), 2, scope=SHARED)
    second = stage.machine.start(call, by=stage.child)
    until(stage, second, "DM-2")
    return second


@pytest.mark.parametrize(
    ("label", "status"),
    [
        ("MP-1", -errno.EBUSY),
        ("UM-3", -errno.EBUSY),
        ("UM-9", -errno.EBUSY),
        ("MM-1", -errno.ENOENT),
        ("MC-1", -errno.ENOENT),
        ("MN-5", -errno.EBUSY),
        ("UM-16", -errno.EBUSY),
        ("UM-17", -errno.EBUSY),
        ("DM-4", -errno.EBUSY),
    ],
)
def test_s13_a_second_migrator_is_refused_from_the_isolation_to_the_drain(label: str, status: int) -> None:
    """S13, S44: -EBUSY, or -ENOENT while the leaf is an entry; the first wins; the second never comes
    to the core.
    """
    stage = shared_page(nodes=(64, 64, 64))
    second = prepared_second(stage)
    mover = stage.mover()
    until(stage, mover, label)
    finish(stage, second)
    assert statuses(second) == [status]
    assert "MP-1" not in second.history
    finish(stage, mover)
    assert statuses(mover) == [1]
    assert mover.history.count("UM-10") == 1
    assert stage.frame(stage.child).node == 1


def test_s13_a_second_migrator_finds_the_page_in_a_pagevec_until_it_is_drained() -> None:
    """S13, Q07: the new page cannot be isolated before a drain, and can after it."""
    stage = shared_page(nodes=(64, 64, 64))
    second = prepared_second(stage)
    mover = stage.mover()
    finish(stage, mover)
    late = stage.machine.clone()
    finish(stage, second)
    assert statuses(second) == [-errno.EBUSY]
    late.drain()
    late.run()
    assert late.task(stage.child.pid).nodes_of(stage.of_child()).tolist() == [2]
    late.check()


def test_s13_the_engine_and_other_subsystems_cannot_isolate_the_page_either() -> None:
    """S13: ``isolate_lru_page`` says -EBUSY to everybody; counted as not migrated by nobody."""
    stage = shared_page()
    mover = stage.mover()
    until(stage, mover, "UM-9")
    with pytest.raises(OSError, match="isolate") as refused:
        stage.machine.isolate(stage.old)
    assert refused.value.errno == errno.EBUSY
    result = stage.machine.migrate_pages([stage.old], pm.ToNode(1))
    stage.machine.check()
    assert result.statuses.tolist() == [-errno.EBUSY]
    assert (result.not_migrated, result.attempts.tolist(), result.passes) == (0, [0], 0)
    finish(stage, mover)
    assert statuses(mover) == [1]


def test_s13_a_mover_that_finds_the_page_isolated_by_another_subsystem_reports_busy() -> None:
    """S13, S14 the other way round; after the putback and a drain it moves."""
    stage = shared_page()
    stage.machine.isolate(stage.old)
    mover = stage.mover()
    finish(stage, mover)
    assert statuses(mover) == [-errno.EBUSY]
    stage.machine.putback(stage.old)
    stage.machine.check()
    again = stage.mover()
    finish(stage, again)
    assert statuses(again) == [1]


@pytest.mark.parametrize("way", ["migrate_pages", "mbind"])
def test_s13_the_other_system_calls_pass_it_over_in_silence(way: str) -> None:
    """S13: ``migrate_pages(2)`` and ``mbind`` report nothing; the first, and its node, win."""
    stage = shared_page(nodes=(64, 64, 64))
    mover = stage.mover()
    until(stage, mover, "UM-9")
    if way == "mbind":
        policy = pm.Policy(pm.PolicyMode.BIND, [2])
        what: pm.call.CallValue = pm.calls.mbind(stage.of_child(), policy, flags=pm.MbindFlags.MOVE_ALL)
    else:
        what = pm.calls.migrate_pages(stage.child, {0}, {2})
    second = stage.machine.start(what, by=stage.child)
    finish(stage, second)
    assert second.result == (None if way == "mbind" else 0)
    assert "UM-3" not in second.history
    finish(stage, mover)
    assert statuses(mover) == [1]
    assert stage.frame(stage.child).node == 1


def test_s13_offlining_counts_it_as_unmanaged_and_comes_again() -> None:
    """S13: -EBUSY for the round, what it had isolated is put back; a later round finds the page gone."""
    stage = own_page(pages=20, pageblock_frames=16)
    call = pm.calls.move_pages(stage.heap[18], 1)
    mover = stage.machine.start(call, by=stage.parent)
    until(stage, mover, "UM-9")
    offline = stage.machine.start(pm.calls.offline(16, 16), by=stage.machine.spawn("operator", stack=False))
    for _ in range(2):
        until(stage, offline, "SY7-5d-putback")
        assert stage.machine.zone_counters(0)["nr_isolated_anon"] == 4
        until(stage, offline, "SY7-5d-yield")
        assert stage.machine.zone_counters(0)["nr_isolated_anon"] == 1
    assert "UM-3" not in offline.history
    finish(stage, mover, offline)
    assert (statuses(mover), offline.error) == ([1], None)
    assert stage.machine.pageblocks(0)[1].state is pm.BlockState.OFFLINE
    assert stage.parent.nodes_of(stage.heap)[18] == 1


@pytest.mark.parametrize("label", ["SP12-lock", "SP12-add-to-swap", "SP12-pageout"])
def test_s14_a_page_that_reclaim_has_is_busy_and_then_it_is_not_there(label: str) -> None:
    """S14: -EBUSY while reclaim has it isolated (-ENOENT once its PTE is a swap entry); when reclaim has
    freed the page a later request reports -ENOENT.
    """
    machine, app, _ = swap_machine()
    page = app.mmap(pm.PAGE_SIZE)
    app.write(page.start, b"page")
    machine.drain()
    stage = Playground(machine)
    reclaim = machine.start(pm.calls.swap_out(page.start), by=app)
    until(stage, reclaim, label)
    assert machine.zone_counters(0)["nr_isolated_anon"] == 1
    is_mapped = app.entry_at(page.start).kind is pm.EntryKind.PRESENT
    assert is_mapped is (label != "SP12-pageout")
    mover = machine.start(pm.calls.move_pages(page, 1), by=app)
    finish(stage, mover)
    assert statuses(mover) == [-errno.EBUSY if is_mapped else -errno.ENOENT]
    assert "UM-3" not in mover.history
    assert waits(stage, reclaim).lock == "writeback"
    assert machine.complete_io()
    finish(stage, reclaim)
    assert app.entry_at(page.start).kind is pm.EntryKind.SWAP
    again = machine.start(pm.calls.move_pages(page, 1), by=app)
    finish(stage, again)
    assert statuses(again) == [-errno.ENOENT]
    assert free_frames(stage, 0) == 64


def test_s14_a_file_page_that_reclaim_has_is_busy_and_then_it_is_not_there() -> None:
    """S14: the same with a scan of the inactive list; the PTE of a file's page is simply gone."""
    stage = file_page()
    assert stage.machine.reclaim(0, family=pm.PageFamily.FILE) == 0
    stage.machine.drain()
    reclaim = stage.machine.start(pm.calls.reclaim(0, 1, family=pm.PageFamily.FILE), by=stage.other)
    until(stage, reclaim, "SP12-lock")
    early = stage.mover()
    finish(stage, early)
    assert statuses(early) == [-errno.EBUSY]
    finish(stage, reclaim)
    assert (reclaim.result, stage.app.entry_at(stage.address).kind) == (1, pm.EntryKind.NONE)
    late = stage.mover()
    finish(stage, late)
    assert statuses(late) == [-errno.ENOENT]


@pytest.mark.parametrize("family", list(pm.PageFamily))
@pytest.mark.parametrize("label", ["UM-3", "UM-9", "MN-5"])
def test_s15_reclaim_never_sees_a_page_that_is_being_moved(label: str, family: pm.PageFamily) -> None:
    """S15: it is on no list; NR_ISOLATED is raised by one meanwhile. (Throttling is left out.)"""
    stage: Stage | FileStage = file_page() if family is pm.PageFamily.FILE else own_page()
    name = "nr_isolated_file" if family is pm.PageFamily.FILE else "nr_isolated_anon"
    mover = stage.mover()
    until(stage, mover, label)
    assert stage.machine.zone_counters(0)[name] == 1
    before = stage.machine.frame(stage.old)
    by = stage.machine.spawn("reclaimer", stack=False)
    for node in (0, 1):
        reclaim = stage.machine.start(pm.calls.reclaim(node, 32, family=family), by=by)
        finish(stage, reclaim)
        assert (reclaim.result, "SP12-lock" in reclaim.history) == (0, False)
    assert stage.machine.frame(stage.old) == before
    finish(stage, mover)
    assert statuses(mover) == [1]
    assert stage.machine.zone_counters(0)[name] == 0


def everybody_leaves(stage: Stage) -> None:
    """The child exits: nothing maps the isolated page any more."""
    finish(stage, stage.machine.start(pm.calls.exit(), by=stage.child))


def test_s16_a_page_freed_before_the_attempt_counts_as_moved_and_wastes_a_frame() -> None:
    """S16, Q02: count 1 at UM-2, so rc 0 at once; status: the node of the frame thrown away."""
    stage = shared_page()
    mover = stage.mover()
    until(stage, mover, "MP-1")
    only_the_child_maps_it(stage)
    everybody_leaves(stage)
    assert stage.old_frame() == (1, 0)
    finish(stage, mover)
    assert statuses(mover) == [1]
    assert "UM-3" not in mover.history
    (wasted,) = unused_frames(stage, 1)
    assert pm.PageFlags.SWAPBACKED not in wasted.flags
    assert stage.old_frame() == (1, 0)
    stage.machine.drain()
    assert stage.old_frame() == (0, 0)
    assert free_frames(stage, 1) == 64


def test_s16_a_freed_page_wastes_a_frame_in_every_pass_that_another_page_causes() -> None:
    """S16, Q02: it stays on the list; a pinned page beside it causes ten passes, so twenty frames go."""
    stage = shared_page(pages=2)
    pinned = stage.parent.page_at(stage.heap[1].start)
    assert pinned is not None
    stage.parent.pin(stage.heap[1].start)
    mover = stage.mover(pages=2)
    until(stage, mover, "MP-1")
    only_the_child_maps_it(stage)
    everybody_leaves(stage)
    finish(stage, mover)
    assert statuses(mover) == [1, -errno.EAGAIN]
    is_anon = [pm.PageFlags.SWAPBACKED in frame.flags for frame in unused_frames(stage, 1)]
    assert (is_anon.count(False), is_anon.count(True)) == (10, 10)
    assert stage.old_frame() == (1, 0)
    stage.machine.drain()
    assert stage.old_frame() == (0, 0)
    assert free_frames(stage, 1) == 64
    stage.parent.unpin(pinned.pfn)


@pytest.mark.parametrize("label", ["UM-3", "UM-4", "UM-9"])
def test_s17_a_page_freed_during_the_attempt_is_copied_for_nobody(label: str) -> None:
    """S17: count 2 at UM-2, 1 before UM-9: nothing to unmap, MM-1 passes, the walk restores nothing."""
    stage = shared_page()
    mover = stage.mover()
    until(stage, mover, "MP-1")
    only_the_child_maps_it(stage)
    assert stage.old_frame() == (2, 1)
    until(stage, mover, label)
    everybody_leaves(stage)
    assert stage.old_frame() == (1, 0)
    until(stage, mover, "MC-1")
    assert stage.old_frame() == (1, 0)
    until(stage, mover, "MN-5")
    finish(stage, mover)
    assert statuses(mover) == [1]
    assert "RP-4" not in mover.history
    (new,) = unused_frames(stage, 1)
    assert (new.count, new.mapcount) == (1, 0)
    assert pm.PageFlags.SWAPBACKED in new.flags
    assert stage.old_frame() == (1, 0)
    stage.machine.drain()
    assert stage.old_frame() == (0, 0)
    assert free_frames(stage, 1) == 64


@pytest.mark.parametrize("label", ["MM-1", "MC-1"])
@pytest.mark.parametrize("way", ["munmap", "exit"])
def test_s18_the_only_mapper_leaves_while_the_entry_is_installed(label: str, way: str) -> None:
    """S18, Q16: the entry is cleared, ANONPAGES stays one too high, M completes: rc 0, a page for nobody."""
    stage = shared_page()
    mover = stage.mover()
    until(stage, mover, "UM-3")
    only_the_child_maps_it(stage, writable=True)
    until(stage, mover, label)
    entry = stage.child.entry_at(stage.address)
    assert (entry.kind, entry.pfn, entry.writable) == (pm.EntryKind.MIGRATION, stage.old, True)
    assert stage.old_frame() == (1, 0)
    leave = pm.calls.munmap(stage.of_child()) if way == "munmap" else pm.calls.exit()
    finish(stage, stage.machine.start(leave, by=stage.child))
    if way == "munmap":
        assert (stage.child.counters.anon, stage.child.rss) == (1, 1)
        assert stage.child.regions == ()
    finish(stage, mover)
    assert statuses(mover) == [1]
    (new,) = unused_frames(stage, 1)
    assert (new.count, new.mapcount) == (1, 0)
    stage.machine.drain()
    assert free_frames(stage, 1) == 64
    assert stage.old_frame() == (0, 0)
    assert stage.parent.read(stage.address, 4) == b"page"


def test_s19_one_of_two_mappers_leaves_while_the_entries_are_installed() -> None:
    """S19, Q16: its entry is cleared with the leak, the other is restored; new page: map count 1."""
    stage = shared_page()
    mover = stage.mover()
    until(stage, mover, "MM-1")
    finish(stage, stage.machine.start(pm.calls.munmap(stage.of_child()), by=stage.child))
    assert stage.child.counters.anon == 1
    assert stage.child.entry_at(stage.address).kind is pm.EntryKind.NONE
    until(stage, mover, "MN-5")
    new = stage.frame(stage.parent)
    assert (new.node, new.count, new.mapcount) == (1, 2, 1)
    finish(stage, mover)
    assert statuses(mover) == [1]
    assert stage.frame(stage.parent).count == 2
    assert stage.parent.counters.anon == 1
    stage.machine.drain()
    assert stage.frame(stage.parent).count == 1


def test_s18_a_leak_of_the_resident_counter_is_repaired_in_the_repaired_profile() -> None:
    """Q16: the same as S18 and S19 with the entry counted when it is unmapped."""
    machine = pm.Machine(nodes=[64 * pm.PAGE_SIZE] * 2, contents=True, profile=pm.Profile.REPAIRED)
    parent = machine.spawn("parent", stack=False)
    heap = parent.mmap(pm.PAGE_SIZE)
    parent.write(heap.start, b"page")
    machine.drain()
    child = parent.fork("child")
    page = parent.page_at(heap.start)
    assert page is not None
    stage = Stage(machine, parent, child, heap, page.pfn)
    mover = stage.mover()
    until(stage, mover, "MM-1")
    finish(stage, machine.start(pm.calls.munmap(stage.of_child()), by=child))
    assert child.counters.anon == 0
    finish(stage, mover)
    assert statuses(mover) == [1]
