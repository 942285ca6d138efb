"""KSM pages that are to be moved: refused (UM-4), or moved when memory goes offline (MC-7, S36)."""

from __future__ import annotations

import errno
from collections.abc import Iterator

import pytest

import pagemig as pm

from .stepping import block, counts, finish, free, never_reaches, pfn_at, reach, waiting

F = pm.PageFlags
KSM, MIGRATION = pm.OwnerKind.KSM, pm.EntryKind.MIGRATION
NEW = 64
SHARED = pm.MoveScope.SHARED
ACTIVE, FILE = pm.LruList.ACTIVE_ANON, pm.LruList.INACTIVE_FILE


@pytest.fixture
def machine() -> Iterator[pm.Machine]:
    """Two nodes of 64 frames in pageblocks of 16, one CPU, real bytes."""
    made = pm.Machine(nodes=[64 * pm.PAGE_SIZE] * 2, cpus=1, contents=True, pageblock_frames=16)
    yield made
    made.check()


@pytest.fixture
def pair(machine: pm.Machine, app: pm.Task) -> pm.Region:
    """Two equal pages on frames 0 and 1 that may be merged and are not."""
    region = app.mmap(2 * pm.PAGE_SIZE)
    app.madvise(region, pm.Advice.MERGEABLE)
    for page in region:
        app.write(page.start, b"same")
    machine.drain()
    return region


@pytest.fixture
def merged(machine: pm.Machine, app: pm.Task, pair: pm.Region) -> pm.Region:
    """The same as one page of KSM on frame 1."""
    assert machine.ksm.scan() == 1
    machine.drain()
    assert [pfn_at(app, page.start) for page in pair] == [1, 1]
    return pair


@pytest.fixture
def family(machine: pm.Machine, app: pm.Task, merged: pm.Region) -> list[tuple[pm.Task, int]]:
    """The four places of the page: two of app, which KSM knows, and two that a child inherited."""
    child = app.fork("child")
    return [(task, page.start) for task in (app, child) for page in merged]


def move_frame(machine: pm.Machine, by: pm.Task, *, offlining: bool) -> pm.Call:
    """A move of frame 1 to node 1."""
    return machine.start(pm.calls.migrate_frames([1], pm.ToNode(1), offlining=offlining), by=by)


# UM-4 --------------------------------------------------------------------------------------


def test_a_merged_page_is_refused_under_its_lock(
    machine: pm.Machine, app: pm.Task, merged: pm.Region
) -> None:
    """UM-4: -EBUSY, permanent: locked, nothing unmapped, unlocked, put back, the frame discarded."""
    move = reach(machine, move_frame(machine, app, offlining=False), "UM-4")
    assert F.LOCKED in machine.frame(1).flags
    assert never_reaches(machine, move, "UM-9")
    reach(machine, move, "UM-15")
    assert counts(machine, 1) == (3, 2)
    finish(machine, move)
    result = move.result
    assert (result.statuses.tolist(), result.passes, result.not_migrated) == ([-errno.EBUSY], 1, 1)
    assert waiting(machine) == {ACTIVE: [1], FILE: [NEW]}
    assert F.LOCKED not in machine.frame(1).flags
    assert machine.zone_counters(0)["nr_isolated_anon"] == 0


def test_s35_a_page_that_ksm_takes_between_isolation_and_lock_is_refused(
    machine: pm.Machine, app: pm.Task, admin: pm.Task, pair: pm.Region
) -> None:
    """UM-4, S35: read-only everywhere after a fork, so its extra reference does not protect it: -EBUSY."""
    app.fork("child")
    what = pm.calls.move_pages([pair[1].start], 1, target=app, scope=SHARED)
    move = reach(machine, machine.start(what, by=admin), "UM-3")
    assert machine.frame(1).owner.kind is pm.OwnerKind.ANON
    assert machine.ksm.scan() == 2
    assert machine.frame(1).owner.kind is KSM
    finish(machine, move)
    assert move.result.tolist() == [-errno.EBUSY]
    machine.drain()
    assert (counts(machine, 1), free(machine, 1)) == ((4, 4), 64)


def test_s35_a_writable_page_cannot_be_taken_while_it_is_isolated(
    machine: pm.Machine, app: pm.Task, pair: pm.Region
) -> None:
    """S35: one reference too many, so the scan gives up; the page moves; merged at the next chance."""
    move = reach(machine, machine.start(pm.calls.move_pages(pair[1], 1), by=app), "UM-3")
    assert (machine.ksm.scan(), machine.ksm.nodes) == (0, ())
    assert app.entry_at(pair[1].start).writable
    finish(machine, move)
    assert move.result.tolist() == [1]
    machine.drain()
    assert machine.ksm.scan() == 1


def test_a_page_that_ksm_frees_while_it_is_isolated_moves_as_an_unused_one(
    machine: pm.Machine, app: pm.Task, admin: pm.Task, pair: pm.Region
) -> None:
    """UM-4, S16: its mappers have gone over to the other page: UM-2, and the status is the target."""
    app.fork("child")
    what = pm.calls.move_pages([pair[0].start], 1, target=app, scope=SHARED)
    move = reach(machine, machine.start(what, by=admin), "MP-1")
    machine.ksm.scan()
    assert counts(machine, 0) == (1, 0)
    assert never_reaches(machine, move, "UM-4")
    finish(machine, move)
    assert move.result.tolist() == [1]
    assert pfn_at(app, pair.start) == 1


# offlining ---------------------------------------------------------------------------------


def test_under_offlining_the_items_are_walked_in_two_rounds(
    machine: pm.Machine, app: pm.Task, family: list[tuple[pm.Task, int]]
) -> None:
    """UM-9, S36, migration 4: first the areas of an item's own mm, then the others; newest item first.

    Every entry becomes a read entry that names the old page; the walk of MN-4 goes the same way.
    """
    move = reach(machine, move_frame(machine, app, offlining=True), "UM-9")
    seen: dict[pm.EntryKind, list[int]] = {MIGRATION: [], pm.EntryKind.PRESENT: []}
    entries = [task.entry_at(address) for task, address in family]
    while not move.done:
        move.step()
        machine.check()
        now = [task.entry_at(address) for task, address in family]
        for at, (old, new) in enumerate(zip(entries, now, strict=True)):
            if old.kind is not new.kind:
                seen[new.kind].append(at)
            if new.kind is MIGRATION:
                assert new.raw == 1 * 512 + 60
        entries = now
    assert seen == {MIGRATION: [1, 0, 3, 2], pm.EntryKind.PRESENT: [1, 0, 3, 2]}
    assert move.result.statuses.tolist() == [1]
    assert [entry.pfn for entry in entries] == [NEW] * 4
    assert not any(entry.writable for entry in entries)


def test_the_stable_node_follows_the_page(
    machine: pm.Machine, app: pm.Task, family: list[tuple[pm.Task, int]]
) -> None:
    """MC-7, MC-9, MM-1, S36: the node names the new page, whose `mapping` keeps the tag; the old has none."""
    (node,) = machine.ksm.nodes
    move = reach(machine, move_frame(machine, app, offlining=True), "MC-7")
    assert (machine.ksm.nodes[0].pfn, machine.frame(1).owner.kind) == (1, KSM)
    assert counts(machine, 1) == (1, 0)
    move.step()
    machine.check()
    (moved,) = machine.ksm.nodes
    assert (moved.pfn, moved.number, moved.places) == (NEW, node.number, node.places)
    assert (machine.frame(1).owner, machine.frame(NEW).owner) == (None, pm.Owner(KSM, node.number))
    finish(machine, move)
    machine.drain()
    assert counts(machine, NEW) == (4, 4)
    assert (machine.ksm.pages_shared, machine.ksm.pages_sharing) == (1, 1)
    assert app.read(family[0][1], 4) == b"same"


def test_index_and_mapping_of_a_ksm_page_are_not_pointed_elsewhere(
    machine: pm.Machine, app: pm.Task, merged: pm.Region
) -> None:
    """RP-8, Q14: only pages that are not KSM's are re-pointed when they are mapped again."""
    index = machine.frame(1).index
    finish(machine, move_frame(machine, app, offlining=True))
    new = machine.frame(NEW)
    assert (new.owner.kind, new.index) == (KSM, index)


def test_a_page_without_node_is_found_nowhere(machine: pm.Machine, app: pm.Task, pair: pm.Region) -> None:
    """UM-9, UM-10, S36: upgraded, not in the tree yet: SWAP_FAIL, still mapped: -EAGAIN, no entry touched."""
    scan = reach(machine, machine.start(pm.calls.ksm_scan(), by=app), "SP16-insert")
    assert (machine.ksm.nodes, machine.frame(1).owner.kind) == ((), KSM)
    before = machine.cost["unmaps"]
    move = reach(machine, move_frame(machine, app, offlining=True), "UM-17")
    assert (machine.cost["unmaps"], machine.frame(1).mapcount) == (before, 2)
    assert "MN-4" not in move.history
    finish(machine, scan)
    finish(machine, move)
    assert move.result.statuses.tolist() == [1]


def test_whoever_takes_memory_offline_keeps_the_scanner_out(
    machine: pm.Machine, app: pm.Task, admin: pm.Task, family: list[tuple[pm.Task, int]]
) -> None:
    """S36, syscalls 7: the mutex is held from step 3 to step 9; the page leaves the range with its node."""
    offline = machine.start(pm.calls.offline(0, 16), by=admin)
    scan = machine.start(pm.calls.ksm_scan(), by=app)
    reach(machine, offline, "UM-1")
    wait = block(machine, scan)
    assert (wait.lock, wait.holder) == ("ksm_thread_mutex", offline.number)
    finish(machine, offline)
    assert offline.result is None
    finish(machine, scan)
    (node,) = machine.ksm.nodes
    assert not 0 <= node.pfn < 16
    assert {task.entry_at(address).pfn for task, address in family} == {node.pfn}
