"""Who pays while a page moves: UM-5, UM-14, the table of supporting-paths 13 row by row (Q17, Q18)."""

from __future__ import annotations

import errno
from collections.abc import Iterator

import pytest

import pagemig as pm

from .stepping import attempts, block, cached, counts, finish, reach

F = pm.PageFlags
OLD, NEW = 0, 64
EXACT, REPAIRED = pm.Profile.EXACT, pm.Profile.REPAIRED
ACTIVE, FILE = pm.LruList.ACTIVE_ANON, pm.LruList.INACTIVE_FILE
PLAIN = pm.FileSystem("plain")
"""No migrate method, a write method, no buffers."""


@pytest.fixture(params=[EXACT, REPAIRED], ids=["exact", "repaired"])
def profile(request: pytest.FixtureRequest) -> pm.Profile:
    """Both, unless a test names one."""
    return request.param


@pytest.fixture
def machine(profile: pm.Profile) -> Iterator[pm.Machine]:
    """Two nodes of 64 frames, one CPU, real bytes, 16 slots of swap."""
    made = pm.Machine(
        nodes=[64 * pm.PAGE_SIZE] * 2, cpus=1, contents=True, profile=profile, swap=16 * pm.PAGE_SIZE
    )
    yield made
    made.check()


@pytest.fixture
def group(machine: pm.Machine) -> pm.Memcg:
    """The group that pays."""
    return machine.create_memcg("group")


@pytest.fixture
def app(machine: pm.Machine, group: pm.Memcg) -> pm.Task:
    """Its task."""
    return machine.spawn("app", memcg=group)


@pytest.fixture
def mover(machine: pm.Machine, group: pm.Memcg) -> pm.Task:
    """Somebody who moves frames and is in no group."""
    return machine.spawn("mover", stack=False)


def a_move(machine: pm.Machine, by: pm.Task, pfn: int = OLD, *, offlining: bool = False) -> pm.Call:
    """A move of a frame, through nobody's address space."""
    return machine.start(pm.calls.migrate_frames([pfn], pm.ToNode(1), offlining=offlining), by=by)


def usage(group: pm.Memcg) -> int:
    """What the group is charged, pages."""
    return group.usage // pm.PAGE_SIZE


def is_used(machine: pm.Machine, pfn: int) -> bool:
    """Whether a frame is charged to somebody."""
    return pm.RecordFlags.USED in machine.memcg_record(pfn).flags


def course(machine: pm.Machine, move: pm.Call, group: pm.Memcg) -> list[int]:
    """Make one attempt; the usage whenever it changes, as differences to what it was before."""
    reach(machine, move, "UM-5")
    before = usage(group)
    seen = [0]
    while move.at != "UM-17":
        move.step()
        machine.check()
        if usage(group) - before != seen[-1]:
            seen.append(usage(group) - before)
    return seen


@pytest.fixture
def page(machine: pm.Machine, app: pm.Task) -> pm.Region:
    """One anonymous page on frame 0."""
    region = app.mmap(pm.PAGE_SIZE)
    app.touch(region)
    machine.drain()
    return region


# the table ---------------------------------------------------------------------------------


def test_an_anonymous_page_that_stays_mapped(
    machine: pm.Machine, mover: pm.Task, group: pm.Memcg, page: pm.Region
) -> None:
    """UM-5, UM-14, I-103: +1 for the new page, -1 by the last unmapping, committed to the new page: 0."""
    move = a_move(machine, mover)
    assert course(machine, move, group) == [0, 1, 0]
    assert (is_used(machine, OLD), is_used(machine, NEW), group.statistics.rss) == (False, True, 4096)
    finish(machine, move)


def test_an_anonymous_page_that_everyone_unmaps_meanwhile(
    machine: pm.Machine, mover: pm.Task, app: pm.Task, group: pm.Memcg, page: pm.Region
) -> None:
    """UM-14, I-103: committed to the new page and uncharged at once: -1 in total."""
    move = reach(machine, a_move(machine, mover), "UM-10")
    app.munmap(page)
    assert usage(group) == 1
    reach(machine, move, "UM-16")
    assert (usage(group), is_used(machine, OLD), is_used(machine, NEW)) == (0, False, False)
    finish(machine, move)
    assert move.result.statuses.tolist() == [1]


def test_an_anonymous_page_that_does_not_move(
    machine: pm.Machine, mover: pm.Task, app: pm.Task, group: pm.Memcg, page: pm.Region
) -> None:
    """UM-14: its charge went with its entries and is committed to it again: 0."""
    app.pin(page.start)
    move = a_move(machine, mover)
    assert course(machine, move, group) == [0, 1, 0]
    assert (is_used(machine, OLD), is_used(machine, NEW), group.statistics.rss) == (True, False, 4096)
    app.unpin(OLD)
    finish(machine, move)


def test_a_file_page_that_moves(machine: pm.Machine, mover: pm.Task, app: pm.Task, group: pm.Memcg) -> None:
    """UM-14: unmapping leaves its charge alone; the old one is uncharged, the new one committed: 0."""
    cached(machine, app, PLAIN)
    move = a_move(machine, mover)
    assert course(machine, move, group) == [0, 1, 0]
    assert (is_used(machine, OLD), is_used(machine, NEW), group.statistics.cache) == (False, True, 4096)
    finish(machine, move)


def test_a_file_page_that_does_not_move(
    machine: pm.Machine, mover: pm.Task, app: pm.Task, group: pm.Memcg
) -> None:
    """UM-14: the commit finds it Used and cancels: 0."""
    file, _ = cached(machine, app, PLAIN)
    file.lookup(0, by=mover)
    move = a_move(machine, mover)
    assert course(machine, move, group) == [0, 1, 0]
    assert (is_used(machine, OLD), is_used(machine, NEW), group.statistics.cache) == (True, False, 4096)
    mover.unpin(OLD)
    finish(machine, move)


def test_a_page_of_the_swap_cache_that_moves(
    machine: pm.Machine, mover: pm.Task, app: pm.Task, group: pm.Memcg, page: pm.Region
) -> None:
    """UM-14: the guard keeps the charge while it is unmapped; then the old one is uncharged after all: 0."""
    app.swap_out(page)
    app.touch(page, write=False)
    machine.drain()
    old = app.page_at(page.start)
    assert F.SWAPCACHE in old.flags
    move = a_move(machine, mover, old.pfn)
    assert course(machine, move, group) == [0, 1, 0]
    assert (is_used(machine, old.pfn), is_used(machine, NEW), group.statistics.rss) == (False, True, 4096)
    finish(machine, move)
    assert move.result.statuses.tolist() == [1]


def test_a_page_of_ksm_that_is_refused(
    machine: pm.Machine, mover: pm.Task, app: pm.Task, group: pm.Memcg
) -> None:
    """UM-4, UM-5: nothing was charged yet: not even at its limit does the group have a say."""
    pair = app.mmap(2 * pm.PAGE_SIZE)
    app.madvise(pair, pm.Advice.MERGEABLE)
    app.touch(pair)
    machine.drain()
    assert machine.ksm.scan() == 1
    machine.drain()
    assert usage(group) == 1
    group.limit = pm.PAGE_SIZE
    move = a_move(machine, mover, 1)
    assert course(machine, move, group) == [0]
    finish(machine, move)
    assert move.result.statuses.tolist() == [-errno.EBUSY]


def test_a_page_under_writeback_in_the_first_passes(
    machine: pm.Machine, mover: pm.Task, app: pm.Task, group: pm.Memcg
) -> None:
    """UM-6, UM-14: charged before it is looked at, and cancelled: 0."""
    file, _ = cached(machine, app, PLAIN, write=True)
    file.writeback(0)
    move = reach(machine, a_move(machine, mover), "UM-5")
    move.step()
    assert (move.at, usage(group)) == ("UM-12", 2)
    reach(machine, move, "UM-16")
    assert (usage(group), is_used(machine, OLD), is_used(machine, NEW)) == (1, True, False)
    attempts(machine, move, 1)
    machine.complete_io()
    finish(machine, move)


def truncated_in_writeout(machine: pm.Machine, by: pm.Task, file: pm.File, group: pm.Memcg) -> pm.Call:
    """A move whose page is truncated while it is written, at the end of that attempt (S26)."""
    move = reach(machine, a_move(machine, by), "WO-5")
    assert usage(group) == 2
    cut = machine.start(pm.calls.truncate(file, 0), by=machine.spawn("cutter", stack=False))
    assert block(machine, cut) == pm.WaitFor("writeback", OLD, None)
    machine.complete_io()
    finish(machine, cut)
    assert usage(group) == 1
    return reach(machine, move, "UM-16")


def test_q18_a_page_truncated_during_the_write_leaves_its_charge_behind(
    machine: pm.Machine, mover: pm.Task, app: pm.Task, group: pm.Memcg, profile: pm.Profile
) -> None:
    """Q18, UM-14, I-100, I-101: `mapping` is null, so the discarded frame is charged, and freed Used."""
    file, _ = cached(machine, app, PLAIN, write=True)
    move = truncated_in_writeout(machine, mover, file, group)
    leaked = 1 if profile is EXACT else 0
    assert (usage(group), is_used(machine, OLD), is_used(machine, NEW)) == (leaked, False, bool(leaked))
    finish(machine, move)
    machine.drain()
    assert (counts(machine, NEW), is_used(machine, NEW), usage(group)) == ((0, 0), bool(leaked), leaked)
    assert machine.drift == ((pm.Drift("charge", group.number, 1),) if leaked else ())
    assert group.statistics.cache == leaked * pm.PAGE_SIZE


def shmem_in_swap(machine: pm.Machine, app: pm.Task) -> pm.Region:
    """A page of shmem on frame 0 that reclaim moved to the swap cache and that was written there.

    A pin keeps it from being written when its entry goes, so that it comes to the inactive list.
    """
    file, area = cached(machine, app, pm.filesystems.TMPFS, write=True)
    app.pin(area.start)
    assert app.swap_out(area) == 0
    app.unpin(OLD)
    for _ in range(2):
        machine.drain()
        machine.reclaim(0)
    assert machine.complete_io()
    machine.drain()
    page = machine.frame(OLD)
    assert (page.owner, page.count, page.mapcount, file.cached) == (None, 1, 0, 0)
    assert F.SWAPCACHE in page.flags
    assert is_used(machine, OLD)
    return area


def test_q18_a_shmem_page_in_the_swap_cache_leaks_with_every_failure(
    machine: pm.Machine, mover: pm.Task, app: pm.Task, group: pm.Memcg, profile: pm.Profile
) -> None:
    """Q18, UM-14: its `mapping` is null all along; the discarded frame is charged as well."""
    area = shmem_in_swap(machine, app)
    fault = reach(machine, machine.start(pm.calls.touch(area, write=False), by=app), "SP9-4")
    assert machine.frame(OLD).count == 2
    move = a_move(machine, mover)
    assert course(machine, move, group) == ([0, 1] if profile is EXACT else [0, 1, 0])
    assert (is_used(machine, OLD), is_used(machine, NEW)) == (True, profile is EXACT)
    drift = {row.ledger: row.by for row in machine.drift}
    assert drift == ({"charge": 1} if profile is EXACT else {})
    finish(machine, fault)
    finish(machine, move)
    assert move.result.statuses.tolist() == [1]


def test_a_shmem_page_in_the_swap_cache_that_moves_costs_nothing(
    machine: pm.Machine, mover: pm.Task, app: pm.Task, group: pm.Memcg
) -> None:
    """UM-14: as any page of the swap cache: uncharged, committed: 0."""
    shmem_in_swap(machine, app)
    move = a_move(machine, mover)
    assert course(machine, move, group) == [0, 1, 0]
    assert (is_used(machine, OLD), is_used(machine, NEW)) == (False, True)
    finish(machine, move)
    assert move.result.statuses.tolist() == [1]


# Q17 ---------------------------------------------------------------------------------------


def test_q17_the_mapped_file_statistic_loses_every_page_that_moves(
    machine: pm.Machine, app: pm.Task, group: pm.Memcg, profile: pm.Profile
) -> None:
    """Q17, RP-8, I-104: mapped before it is charged, so nobody counts it; the old one's -1 was counted."""
    _, area = cached(machine, app, PLAIN, pages=3)
    app.touch(area, write=False)
    machine.drain()
    assert group.statistics.mapped_file == 3 * pm.PAGE_SIZE
    assert app.move_pages(area[:2], 1).tolist() == [1, 1]
    lost = 2 if profile is EXACT else 0
    assert group.statistics.mapped_file == (3 - lost) * pm.PAGE_SIZE
    app.munmap(area)
    assert group.statistics.mapped_file == -lost * pm.PAGE_SIZE
    assert group.statistics.cache == 3 * pm.PAGE_SIZE
    assert machine.drift == ((pm.Drift("mapped_file", group.number, -2),) if lost else ())


def test_q17_a_failed_attempt_loses_nothing(
    machine: pm.Machine, mover: pm.Task, app: pm.Task, group: pm.Memcg
) -> None:
    """Q17, RP-8: the old page is Used all the time, so its new entry is counted."""
    file, _ = cached(machine, app, PLAIN)
    file.lookup(0, by=mover)
    assert machine.migrate_pages([OLD], pm.ToNode(1)).statuses.tolist() == [-errno.EAGAIN]
    assert group.statistics.mapped_file == pm.PAGE_SIZE
    mover.unpin(OLD)


# the limit ---------------------------------------------------------------------------------


def test_a_page_that_nobody_pays_for_is_not_charged() -> None:
    """UM-5: not Used: no group is asked, and none is charged for the new page."""
    early = pm.Machine(nodes=[64 * pm.PAGE_SIZE] * 2, cpus=1)
    app = early.spawn("app")
    page = app.mmap(pm.PAGE_SIZE)
    app.touch(page)
    group = early.create_memcg("late", limit=0)
    group.attach(app)
    early.drain()
    assert not is_used(early, OLD)
    assert app.move_pages(page, 1).tolist() == [1]
    assert (is_used(early, NEW), usage(group)) == (False, 0)
    early.check()
