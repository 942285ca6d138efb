"""Invariants 5, LRU lists and pagevecs: I-40 to I-47."""

from __future__ import annotations

import pytest

import pagemig as pm
from pagemig import filesystems
from tests.invariants.follow import Follower
from tests.invariants.recount import ROTATE, F, Recount
from tests.invariants.situations import KINDS, PAGE, fill, steps

every_kind = pytest.mark.parametrize("kind", KINDS)
COUNTERS = {
    pm.LruList.INACTIVE_ANON: "nr_inactive_anon",
    pm.LruList.ACTIVE_ANON: "nr_active_anon",
    pm.LruList.INACTIVE_FILE: "nr_inactive_file",
    pm.LruList.ACTIVE_FILE: "nr_active_file",
    pm.LruList.UNEVICTABLE: "nr_unevictable",
}


def list_of(flags: pm.PageFlags) -> pm.LruList:
    """``page_lru(page)`` (data-model 4.1)."""
    if F.UNEVICTABLE in flags:
        return pm.LruList.UNEVICTABLE
    base = pm.LruList.INACTIVE_ANON if F.SWAPBACKED in flags else pm.LruList.INACTIVE_FILE
    return pm.LruList(base + (F.ACTIVE in flags))


def is_evictable(now: Recount, pfn: int) -> bool:
    """``page_evictable(page, no VMA)`` (data-model 2.1)."""
    frame = now.frames[pfn]
    space = None if F.SWAPCACHE in frame.flags else now.file_of(pfn)
    is_held = space is not None and bool(pm.MappingFlags.UNEVICTABLE & space.flags)
    return not is_held and F.MLOCKED not in frame.flags


def assert_listed(now: Recount) -> None:
    """I-40, I-41: PG_lru, list and counter agree."""
    places: dict[int, list[tuple[int, pm.LruList]]] = {}
    for (node, which), pages in now.lists.items():
        assert now.zones[node][COUNTERS[which]] == len(pages)
        for pfn in pages:
            places.setdefault(pfn, []).append((node, which))
    assert set(places) == now.has(F.LRU)
    for pfn, found in places.items():
        frame = now.frames[pfn]
        assert found == [(frame.node, list_of(frame.flags))]


def assert_waiting(now: Recount) -> None:
    """I-43, I-44, I-45: who waits or is isolated is on no list, and waits once; no pagevec is full."""
    additions = [pfn for (_, which), pages in now.pagevecs.items() if which != ROTATE for pfn in pages]
    assert len(additions) == len(set(additions))
    for pfn in additions:
        assert not now.frames[pfn].flags & (F.LRU | F.ACTIVE | F.UNEVICTABLE)
    for pfn in now.iso:
        assert F.LRU not in now.frames[pfn].flags
    assert all(len(pages) <= 13 for pages in now.pagevecs.values())


@every_kind
def test_a_page_is_on_the_list_that_its_flags_name(kind: str) -> None:
    """I-40, I-41: one list, of its own zone, exactly if PG_lru; and every list is as long as counted."""
    for now in steps(kind):
        assert_listed(now)


@every_kind
def test_no_page_is_active_and_unevictable(kind: str) -> None:
    """I-42: at every step; a locked or ramfs page loses PG_active when it is put back."""
    for now in steps(kind):
        assert not now.has(F.ACTIVE) & now.has(F.UNEVICTABLE)


@every_kind
def test_who_waits_or_is_isolated_is_on_no_list(kind: str) -> None:
    """I-43, I-44, I-45: at every step."""
    seen = steps(kind)
    for now in seen:
        assert_waiting(now)
    assert any(now.iso for now in seen)
    assert any(pages for now in seen for pages in now.pagevecs.values()) or kind == "ramfs dirty"


def test_a_pagevec_drains_itself_with_the_fourteenth_page(machine: pm.Machine, app: pm.Task) -> None:
    """I-43, I-44, I-45: thirteen wait; one more, and none does; at every step of the faults."""
    touch = machine.start(pm.calls.touch(app.mmap(16 * PAGE)), by=app)
    most = 0
    while not touch.done:
        touch.step()
        now = Recount(machine)
        assert_listed(now)
        assert_waiting(now)
        most = max(most, len(now.pagevecs[0, pm.LruList.ACTIVE_ANON]))
    now = Recount(machine)
    assert (most, len(now.pagevecs[0, pm.LruList.ACTIVE_ANON])) == (13, 2)
    assert len(now.lists[0, pm.LruList.ACTIVE_ANON]) == 14


def test_failed_attempts_fill_pagevecs_that_drain_in_time() -> None:
    """I-44, Q32: ten discarded frames and more never make a full pagevec."""
    lengths = {len(pages) for now in steps("pinned") for pages in now.pagevecs.values()}
    assert 10 <= max(lengths) <= 13


def test_a_rotate_pagevec_may_hold_listed_pages(machine: pm.Machine, app: pm.Task) -> None:
    """I-43: the exception: the end of a reclaim write puts a page there that is on a list."""
    file = machine.create_file("data", PAGE)
    file.write(0, b"x", by=app)
    machine.drain()
    cached = file.pfn_of(0)
    assert cached is not None
    file.writeback(0)
    machine.set_page_flag(cached, F.RECLAIM)
    machine.complete_io()
    now = Recount(machine)
    assert now.pagevecs[0, ROTATE] == (cached,)
    assert F.LRU in now.frames[cached].flags
    assert_listed(now)
    assert_waiting(now)
    assert now.frames[cached].count == now.references(cached)


# the unevictable list ---------------------------------------------------------------------


@every_kind
def test_unevictable_pages_are_not_evictable(kind: str) -> None:
    """I-46: at rest, before and after."""
    found = 0
    for now in (steps(kind)[0], *steps(kind)[-2:]):
        for node in now.zones:
            for pfn in now.lists[node, pm.LruList.UNEVICTABLE]:
                found += 1
                assert not is_evictable(now, pfn)
    assert bool(found) == (kind in ("locked", "ramfs clean", "ramfs dirty"))


def test_a_truncated_page_that_is_kept_stays_on_the_unevictable_list(machine: pm.Machine) -> None:
    """I-46: the exception: `mapping` null, until it is freed."""
    app = machine.spawn("app", stack=False)
    file = machine.create_file("data", PAGE, filesystem=filesystems.RAMFS)
    file.write(0, b"x", by=app)
    machine.drain()
    pfn = file.lookup(0, by=app)
    assert pfn is not None
    assert machine.migrate_pages([pfn], pm.ToNode(1)).statuses.tolist() == [-22]
    assert machine.lru(0, pm.LruList.UNEVICTABLE) == (pfn,)
    file.truncate(0)
    now = Recount(machine)
    assert now.lists[0, pm.LruList.UNEVICTABLE] == (pfn,)
    assert (now.frames[pfn].owner, is_evictable(now, pfn)) == (None, True)
    assert_listed(now)
    app.unpin(pfn)
    machine.drain()
    assert pfn in Recount(machine).idle


def test_munlock_in_the_window_strands_a_page_on_the_unevictable_list(machine: pm.Machine) -> None:
    """I-46, S38: PG_mlocked migrates although no VM_LOCKED area maps the page any more; no error."""
    app = machine.spawn("app", stack=False)
    area = app.mmap(PAGE)
    fill(machine, app, area)
    app.mlock(area)
    by = machine.spawn("mover", stack=False)
    move = machine.start(pm.calls.migrate_frames([0], pm.ToNode(1)), by=by)
    mover = Follower(machine, move).run_until("MC-1")
    app.munlock(area)
    mover.finish()
    now = Recount(machine)
    (leaf,) = now.mapped
    assert not pm.VmFlags.LOCKED & leaf.area.flags
    assert now.lists[1, pm.LruList.UNEVICTABLE] == (leaf.entry.pfn,)
    assert F.MLOCKED in now.frames[leaf.entry.pfn or 0].flags
    assert_listed(now)
    app.exit()
    now = Recount(machine)
    assert now.total["nr_mlock"] == now.total["nr_unevictable"] == 0


def test_mlock_of_a_page_that_waits_drains_it_first(machine: pm.Machine) -> None:
    """I-45: nobody sets PG_active or PG_unevictable in a pagevec: mlock drains first, then moves the page."""
    app = machine.spawn("app", stack=False)
    area = app.mmap(PAGE)
    fill(machine, app, area)
    by = machine.spawn("mover", stack=False)
    move = machine.start(pm.calls.migrate_frames([0], pm.ToNode(1)), by=by)
    mover = Follower(machine, move).run_until("UM-17")
    mover.step()
    mover.finish()
    machine.start(pm.calls.touch(area), by=app).run()
    (pfn,) = machine.pagevec(0, pm.LruList.ACTIVE_ANON)
    lock = machine.start(pm.calls.mlock(area), by=app)
    drained = False
    while not lock.done:
        assert lock.step()
        now = Recount(machine)
        assert_waiting(now)
        assert_listed(now)
        drained |= pfn in now.lists[1, pm.LruList.ACTIVE_ANON]
    assert drained
    assert Recount(machine).lists[1, pm.LruList.UNEVICTABLE] == (pfn,)


# families ---------------------------------------------------------------------------------


@every_kind
def test_anonymous_and_shmem_pages_are_swap_backed_and_no_others(kind: str) -> None:
    """I-47: and a page keeps what it is while it is isolated or cached, whoever moves it."""
    before: dict[int, bool] = {}
    for now in steps(kind):
        backed = now.has(F.SWAPBACKED)
        for pfn in now.used:
            space = now.file_of(pfn)
            if space is not None:
                assert (pfn in backed) == space.filesystem.swap_backed
            elif now.is_anon(pfn):
                assert pfn in backed
        kept = {pfn: pfn in backed for pfn in now.used if now.iso[pfn] or now.slot[pfn]}
        assert all(before.get(pfn, is_backed) == is_backed for pfn, is_backed in kept.items())
        before = kept
