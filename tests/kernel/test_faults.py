"""Faults of anonymous memory: zero page, first write, copy or reuse, refusal. Source: supporting-paths 2."""

from __future__ import annotations

import errno

import pytest

import pagemig as pm

from .stepping import counts, delta, finish, pfn_at, reach, run, settle, waiting

F = pm.PageFlags
ACTIVE = pm.LruList.ACTIVE_ANON


def test_a_load_of_untouched_memory_maps_the_zero_page(machine: pm.Machine, app: pm.Task) -> None:
    """Supporting-paths 2.2: no frame, no counter, zero bytes."""
    region = app.mmap(pm.PAGE_SIZE)
    before = machine.vmstat()
    assert app.read(region.start, 16) == bytes(16)
    assert machine.vmstat() == before
    assert app.counters.anon == 0
    assert app.entry_at(region.start).special


def test_a_store_to_untouched_memory_makes_a_page(machine: pm.Machine, app: pm.Task) -> None:
    """Supporting-paths 2.2: ANON_PAGES +1, FREE -1, ANONPAGES +1; up to date, swap-backed, in the pagevec."""
    region = app.mmap(pm.PAGE_SIZE)
    before = machine.zone_counters(0)
    result = run(machine, pm.calls.touch(region), app)
    assert (result.hits, result.minor, result.cow, result.major) == (0, 1, 0, 0)
    assert delta(before, machine.zone_counters(0)) == {"nr_free_pages": -1, "nr_anon_pages": 1}
    page = app.page_at(region.start)
    assert (page.flags, page.count, page.mapcount) == (F.UPTODATE | F.SWAPBACKED, 2, 1)
    assert waiting(machine) == {ACTIVE: [page.pfn]}
    assert app.counters.anon == 1


def test_a_store_to_the_zero_page_makes_a_page_of_zeroes(machine: pm.Machine, app: pm.Task) -> None:
    """Supporting-paths 2.4, point 5: a copy of nothing: ANONPAGES +1, the result is WRITE."""
    region = app.mmap(pm.PAGE_SIZE)
    app.touch(region, write=False)
    assert app.touch(region).cow == 1
    assert app.counters.anon == 1
    entry = app.entry_at(region.start)
    assert (entry.special, entry.writable, entry.dirty) == (False, True, True)
    assert app.read(region.start, 4096) == bytes(4096)


def test_a_second_access_faults_no_more(app: pm.Task) -> None:
    """Supporting-paths 2: the entry permits it."""
    region = app.mmap(2 * pm.PAGE_SIZE)
    app.touch(region)
    result = app.touch(region)
    assert (result.hits, result.minor) == (2, 0)


def test_a_store_to_a_shared_page_copies_it(machine: pm.Machine, app: pm.Task, page: pm.Region) -> None:
    """Supporting-paths 2.4, point 5: new frame, old map count and reference -1, bytes copied."""
    app.write(page.start, b"parent")
    child = app.fork()
    assert counts(machine, 0) == (2, 2)
    child.write(page.start, b"CHILD")
    machine.check()
    assert counts(machine, 0) == (1, 1)
    assert pfn_at(app, page.start) == 0
    copy = child.page_at(page.start)
    assert (copy.pfn, copy.count, copy.mapcount) == (4, 2, 1)
    assert (app.read(page.start, 6), child.read(page.start, 6)) == (b"parent", b"CHILDt")
    assert (app.counters.anon, child.counters.anon) == (4, 4)
    assert machine.vmstat()["nr_anon_pages"] == 5


def test_the_last_mapper_reuses_the_page(machine: pm.Machine, app: pm.Task, page: pm.Region) -> None:
    """Supporting-paths 2.4, points 2 and 4: same frame; writable, dirty, accessed; no allocation."""
    child = app.fork()
    child.exit()
    before = machine.vmstat()["nr_free_pages"]
    assert not app.entry_at(page.start).writable
    assert app.touch(page).cow == 1
    entry = app.entry_at(page.start)
    assert (entry.pfn, entry.writable, entry.dirty, entry.accessed) == (0, True, True, True)
    assert machine.vmstat()["nr_free_pages"] == before


def test_reuse_is_decided_by_the_map_count_and_not_by_references(
    machine: pm.Machine, app: pm.Task, page: pm.Region
) -> None:
    """Supporting-paths 2.4, point 2, S09: a pin does not force a copy."""
    child = app.fork()
    app.pin(page.start)
    child.exit()
    assert counts(machine, 0) == (2, 1)
    app.touch(page)
    assert pfn_at(app, page.start) == 0


def test_two_stores_one_after_the_other_copy_once_and_reuse_once(
    machine: pm.Machine, app: pm.Task, page: pm.Region
) -> None:
    """Supporting-paths 2.4: the first of two mappers copies, the one that remains reuses."""
    child = app.fork()
    assert (app.touch(page).cow, child.touch(child.same(page)).cow) == (1, 1)
    assert (pfn_at(app, page.start), pfn_at(child, page.start)) == (4, 0)


def test_two_stores_at_once_end_with_a_page_each(machine: pm.Machine, app: pm.Task, page: pm.Region) -> None:
    """Supporting-paths 2.4: interleaved step by step, audited: two pages, no leak."""
    child = app.fork()
    machine.start(pm.calls.touch(page), by=app)
    machine.start(pm.calls.touch(child.same(page)), by=child)
    settle(machine)
    machine.drain()
    machine.check()
    pages = {pfn_at(app, page.start), pfn_at(child, page.start)}
    assert len(pages) == 2
    assert [counts(machine, pfn) for pfn in pages] == [(1, 1)] * 2


def test_a_store_whose_leaf_changed_while_it_copied_gives_its_frame_back(
    machine: pm.Machine, admin: pm.Task, app: pm.Task, page: pm.Region
) -> None:
    """Supporting-paths 2.4, point 5: a failed move took accessed and dirty from the leaf meanwhile.

    So the first copy is thrown away and the store faults again; in the end there is one copy.
    """
    child = app.fork()
    store = reach(machine, machine.start(pm.calls.touch(page), by=app), "SP2.4-5-install")
    assert counts(machine, 0) == (3, 2)
    call = pm.calls.move_pages([page.start], 1, target=child, scope=pm.MoveScope.SHARED)
    assert finish(machine, machine.start(call, by=admin)).result.tolist() == [-errno.EAGAIN]
    copies = machine.cost["cow_copies"]
    finish(machine, store)
    machine.drain()
    machine.check()
    assert machine.cost["cow_copies"] == copies + 1
    assert store.result.cow == 2
    assert machine.zone_counters(0)["nr_free_pages"] == 64 - 5
    assert pfn_at(app, page.start) != pfn_at(child, page.start) == 0


@pytest.mark.parametrize(
    ("protection", "loads", "stores"),
    [(pm.NONE, 1, 1), (pm.R, 0, 1), (pm.RX, 0, 1), (pm.RW, 0, 0), (pm.W, 0, 0), (pm.X, 0, 1)],
)
def test_accesses_that_an_area_does_not_permit_are_signals(
    app: pm.Task, protection: pm.Protection, loads: int, stores: int
) -> None:
    """Supporting-paths 2: SIGSEGV, nothing mapped; on x86 whatever may be written can be read."""
    region = app.mmap(pm.PAGE_SIZE, protection=protection)
    assert app.touch(region, write=False).sigsegv.size == loads
    assert app.touch(region).sigsegv.size == stores
    if loads and stores:
        assert app.entry_at(region.start).raw == 0


def test_addresses_outside_all_areas_are_signals(app: pm.Task) -> None:
    """Supporting-paths 2: the VMA lookup for a fault does check the start (unlike Q10)."""
    region = app.mmap(pm.PAGE_SIZE, at=0x20000)
    result = app.touch([0x1F000, region.start, region.end])
    assert result.sigsegv.tolist() == [0x1F000, region.end]
    assert result.minor == 1


def test_a_fault_without_memory_leaves_the_leaf_empty() -> None:
    """Supporting-paths 2.2: OOM; earlier pages stay."""
    machine = pm.Machine(nodes=[2 * pm.PAGE_SIZE], cpus=1)
    app = machine.spawn()
    region = app.mmap(3 * pm.PAGE_SIZE)
    with pytest.raises(pm.OutOfMemoryError):
        app.touch(region)
    machine.check()
    assert app.nodes_of(region).tolist() == [0, 0, -1]
    assert app.touch(region, write=False).hits == 2


def test_a_copy_without_memory_leaves_the_shared_page(machine: pm.Machine) -> None:
    """Supporting-paths 2.4, point 5: OOM; the old leaf and its counts stay."""
    small = pm.Machine(nodes=[pm.PAGE_SIZE], cpus=1)
    app = small.spawn()
    page = app.mmap(pm.PAGE_SIZE)
    app.touch(page)
    child = app.fork()
    small.drain()
    with pytest.raises(pm.OutOfMemoryError):
        child.touch(child.same(page))
    small.check()
    assert counts(small, 0) == (2, 2)


def test_a_fault_into_a_locked_area_is_unevictable_at_once(machine: pm.Machine, app: pm.Task) -> None:
    """Supporting-paths 2.2: PG_mlocked, NR_MLOCK +1, on the unevictable list with count 1."""
    region = app.mmap(pm.PAGE_SIZE, flags=pm.VmFlags.LOCKED)
    app.touch(region)
    page = app.page_at(region.start)
    assert (page.count, page.lru) == (1, pm.LruList.UNEVICTABLE)
    assert F.MLOCKED in page.flags
    zone = machine.zone_counters(0)
    assert (zone["nr_mlock"], zone["nr_unevictable"]) == (1, 1)
    assert waiting(machine) == {}
