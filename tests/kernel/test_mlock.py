"""Pages that are locked in memory. Source: supporting-paths 15, data-model 2.1 and 4.3, S37, S38."""

from __future__ import annotations

import errno

import pytest

import pagemig as pm

from .stepping import area_flags, counts, delta, lru, pfns_in, run, waiting

F = pm.PageFlags
UNEVICTABLE, INACTIVE, ACTIVE = pm.LruList.UNEVICTABLE, pm.LruList.INACTIVE_ANON, pm.LruList.ACTIVE_ANON


def test_mlock_moves_pages_to_the_unevictable_list(
    machine: pm.Machine, app: pm.Task, heap: pm.Region
) -> None:
    """Supporting-paths 15: PG_mlocked, NR_MLOCK +1 and off the active list, for each; count 1."""
    before = machine.zone_counters(0)
    run(machine, pm.calls.mlock(heap), app)
    assert delta(before, machine.zone_counters(0)) == {
        "nr_mlock": 4,
        "nr_unevictable": 4,
        "nr_active_anon": -4,
    }
    for pfn in pfns_in(app, heap):
        assert counts(machine, pfn) == (1, 1)
        flags = machine.frame(pfn).flags
        assert flags & (F.MLOCKED | F.UNEVICTABLE | F.LRU | F.ACTIVE) == F.MLOCKED | F.UNEVICTABLE | F.LRU
    assert pm.VmFlags.LOCKED in area_flags(app, heap.start)


def test_mlock_faults_pages_in_for_writing(machine: pm.Machine, app: pm.Task) -> None:
    """Supporting-paths 15: write access if VM_WRITE: frames, not zero pages; also in place of these."""
    region = app.mmap(20 * pm.PAGE_SIZE)
    app.touch(region[0], write=False)
    run(machine, pm.calls.mlock(region), app)
    assert app.rss == 20
    assert machine.zone_counters(0)["nr_mlock"] == 20
    assert sorted(lru(machine, 0, UNEVICTABLE)) == pfns_in(app, region)


def test_mlock_of_shared_pages_breaks_the_sharing(machine: pm.Machine, app: pm.Task, page: pm.Region) -> None:
    """Supporting-paths 15: the write access copies."""
    child = app.fork()
    child.mlock(child.same(page))
    assert child.page_at(page.start).mapcount == 1
    assert counts(machine, 0) == (1, 1)


def test_mlock_of_what_may_not_be_touched_fails_and_stays(app: pm.Task) -> None:
    """Supporting-paths 15: no access permitted: it stops; VM_LOCKED stays set; -ENOMEM."""
    region = app.mmap(pm.PAGE_SIZE, protection=pm.NONE)
    with pytest.raises(OSError, match="mlock") as refused:
        app.mlock(region)
    assert refused.value.errno == errno.ENOMEM
    assert pm.VmFlags.LOCKED in area_flags(app, region.start)


def test_an_mlock_that_gets_no_page_drains_no_cpu(machine: pm.Machine, app: pm.Task) -> None:
    """Data-model 4.2: once a batch, and where the first page cannot be had there is none."""
    closed = app.mmap(pm.PAGE_SIZE, at=0x40000000, protection=pm.NONE, flags=pm.VmFlags.LOCKED)
    fresh = app.mmap(pm.PAGE_SIZE)
    app.touch(fresh)
    waiting_pages = machine.pagevec(app.cpu, ACTIVE)
    assert waiting_pages == tuple(pfns_in(app, fresh))
    app.mremap(closed, 2 * pm.PAGE_SIZE)
    assert machine.pagevec(app.cpu, ACTIVE) == waiting_pages


def test_mlock_twice_does_nothing_the_second_time(machine: pm.Machine, app: pm.Task, heap: pm.Region) -> None:
    """Supporting-paths 15: the flag is as wanted."""
    app.mlock(heap)
    before = machine.vmstat()
    app.mlock(heap)
    assert machine.vmstat() == before


def test_mlock_splits_and_munlock_merges(machine: pm.Machine, app: pm.Task, heap: pm.Region) -> None:
    """Supporting-paths 15: areas at the edges, one again afterwards."""
    areas = len(app.regions)
    app.mlock(heap[1:3])
    machine.check()
    assert len(app.regions) == areas + 2
    app.munlock(heap[1:3])
    machine.check()
    assert len(app.regions) == areas


def test_munlock_puts_pages_on_the_inactive_list(machine: pm.Machine, app: pm.Task, page: pm.Region) -> None:
    """Supporting-paths 15: NR_MLOCK -1, through the inactive pagevec: PG_active went with the locking."""
    app.mlock(page)
    run(machine, pm.calls.munlock(page), app)
    assert machine.zone_counters(0)["nr_mlock"] == 0
    assert waiting(machine) == {INACTIVE: [0]}
    machine.drain()
    assert lru(machine, 0, INACTIVE) == [0]
    assert machine.frame(0).flags & (F.MLOCKED | F.UNEVICTABLE | F.ACTIVE) == F(0)


def test_a_page_that_another_locked_area_maps_stays_locked(
    machine: pm.Machine, app: pm.Task, page: pm.Region
) -> None:
    """Supporting-paths 15: munlock searches the reverse map, which sets PG_mlocked again."""
    app.mprotect(page, pm.R)
    child = app.fork()
    app.mlock(page)
    child.mlock(child.same(page))
    assert counts(machine, 0) == (2, 2)
    assert machine.zone_counters(0)["nr_mlock"] == 1
    run(machine, pm.calls.munlock(page), app)
    assert machine.zone_counters(0)["nr_mlock"] == 1
    assert lru(machine, 0, UNEVICTABLE) == [0]
    run(machine, pm.calls.munlock(child.same(page)), child)
    assert machine.zone_counters(0)["nr_mlock"] == 0
    machine.drain()
    assert machine.frame(0).lru is INACTIVE


def test_munmap_of_locked_memory_unlocks_it(machine: pm.Machine, app: pm.Task, heap: pm.Region) -> None:
    """Supporting-paths 6: VM_LOCKED areas are munlocked before they go."""
    app.mlock(heap)
    run(machine, pm.calls.munmap(heap[:2]), app)
    zone = machine.zone_counters(0)
    assert (zone["nr_mlock"], zone["nr_unevictable"]) == (2, 2)


def test_munmap_of_locked_memory_leaves_a_shared_page_unlocked(
    machine: pm.Machine, app: pm.Task, page: pm.Region
) -> None:
    """Supporting-paths 6, 15: the child, which did not lock it, keeps an evictable page."""
    app.mlock(page)
    child = app.fork()
    app.munmap(page)
    machine.drain()
    machine.check()
    left = child.page_at(page.start)
    assert (left.count, left.lru) == (1, INACTIVE)
    assert machine.zone_counters(0)["nr_mlock"] == 0


@pytest.mark.parametrize(
    "flag", [pm.VmFlags.IO, pm.VmFlags.RESERVED, pm.VmFlags.DONTEXPAND, pm.VmFlags.PFNMAP]
)
def test_special_areas_are_not_locked(machine: pm.Machine, app: pm.Task, flag: pm.VmFlags) -> None:
    """Data-model 2.1, page_evictable: IO, DONTEXPAND, RESERVED and PFNMAP areas make no locked pages."""
    region = app.mmap(pm.PAGE_SIZE, flags=[flag, pm.VmFlags.LOCKED])
    app.touch(region)
    machine.drain()
    assert machine.vmstat()["nr_mlock"] == 0
    assert app.page_at(region.start).lru is ACTIVE


def test_a_second_locked_area_of_the_same_memory_is_not_asked_while_munlock_holds_it(
    machine: pm.Machine, app: pm.Task
) -> None:
    """supporting-paths 5 and 15: its `mmap_sem` is held for writing, so the page is unlocked (S38)."""
    file = machine.create_file("both", pm.PAGE_SIZE, filesystem=pm.filesystems.TMPFS)
    first, second = (app.mmap(pm.PAGE_SIZE, file=file, shared=True) for _ in range(2))
    app.mlock(first)
    app.mlock(second)
    pfn = app.page_at(first.start).pfn
    app.munlock(first)
    assert pm.PageFlags.MLOCKED not in machine.frame(pfn).flags
    assert machine.vmstat()["nr_mlock"] == 0


def test_a_locked_page_that_is_unlocked_in_the_hands_of_reclaim_is_freed_like_any_other() -> None:
    """Data-model 2.2: it came from the unevictable list, and is not said to belong there any more."""
    machine = pm.Machine(nodes=[64 * pm.PAGE_SIZE] * 2, contents=True, swap=8 * pm.PAGE_SIZE)
    app = machine.spawn("app")
    page = app.mmap(pm.PAGE_SIZE)
    app.write(page.start, b"bytes")
    app.mlock(page)
    machine.drain()
    out = machine.start(pm.calls.swap_out(page.start), by=app)
    out.step()
    app.munlock(page)
    machine.check()
    machine.run()
    assert out.result is True
    machine.check()
    assert app.read(page.start, 5) == b"bytes"
