"""KSM pages that are to be moved: refused (UM-4), or moved when memory goes offline."""

from __future__ import annotations

import errno
from collections.abc import Iterator

import pytest

import pagemig as pm

from .stepping import counts, finish, never_reaches, pfn_at, reach, waiting

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


def test_index_and_mapping_of_a_ksm_page_are_not_pointed_elsewhere(
    machine: pm.Machine, app: pm.Task, merged: pm.Region
) -> None:
    """RP-8, Q14: only pages that are not KSM's are re-pointed when they are mapped again."""
    index = machine.frame(1).index
    finish(machine, move_frame(machine, app, offlining=True))
    new = machine.frame(NEW)
    assert (new.owner.kind, new.index) == (KSM, index)
