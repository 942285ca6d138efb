"""The life of a page's counts and counters: data-model 2.5 and 3.4, anonymous rows."""

from __future__ import annotations

import pytest

import pagemig as pm

from .stepping import counts, delta, finish, pfn_at, reach

F = pm.PageFlags


@pytest.fixture
def fresh(app: pm.Task) -> pm.Region:
    """A page right after its first write fault."""
    region = app.mmap(pm.PAGE_SIZE)
    app.touch(region)
    return region


def test_a_fresh_page_has_a_reference_of_its_entry_and_one_of_the_pagevec(
    machine: pm.Machine, app: pm.Task, fresh: pm.Region
) -> None:
    """Data-model 2.5, row 1: 2 / 1."""
    assert counts(machine, pfn_at(app, fresh.start)) == (2, 1)


def test_a_drained_page_has_the_reference_of_its_entry(
    machine: pm.Machine, app: pm.Task, fresh: pm.Region
) -> None:
    """Data-model 2.5, row 2: 1 / 1: a list takes no reference."""
    machine.drain()
    assert counts(machine, pfn_at(app, fresh.start)) == (1, 1)


def test_isolation_takes_a_reference(machine: pm.Machine, app: pm.Task, fresh: pm.Region) -> None:
    """Data-model 2.5, row 3: 2 / 1."""
    machine.drain()
    pfn = pfn_at(app, fresh.start)
    machine.isolate(pfn)
    assert counts(machine, pfn) == (2, 1)
    machine.putback(pfn)


def test_a_migration_entry_takes_neither_reference_nor_map_count(
    machine: pm.Machine, app: pm.Task, fresh: pm.Region
) -> None:
    """Data-model 2.5, row 4: 1 / 0, the reference being isolation's."""
    pfn = pfn_at(app, fresh.start)
    move = reach(machine, machine.start(pm.calls.move_pages(fresh, 1), by=app), "UM-10")
    assert counts(machine, pfn) == (1, 0)
    finish(machine, move)


def test_the_zero_page_is_mapped_without_being_counted(
    machine: pm.Machine, app: pm.Task, fresh: pm.Region
) -> None:
    """Data-model 2.4, 2.5, last row: no frame, no resident page, no counter."""
    before = machine.vmstat()
    region = app.mmap(3 * pm.PAGE_SIZE)
    assert app.touch(region, write=False).minor == 3
    assert machine.vmstat() == before
    assert app.rss == 1
    entry = app.entry_at(region.start)
    assert (entry.kind, entry.special, entry.writable) == (pm.EntryKind.PRESENT, True, False)
    assert app.page_at(region.start) is None


@pytest.mark.parametrize("mappers", [1, 2, 3])
def test_every_entry_is_a_reference_and_a_map_count(
    machine: pm.Machine, app: pm.Task, page: pm.Region, mappers: int
) -> None:
    """Data-model 2.3, 2.4: and ANON_PAGES counts the page once."""
    for _ in range(mappers - 1):
        app.fork()
    assert counts(machine, 0) == (mappers, mappers)
    assert machine.zone_counters(0)["nr_anon_pages"] == 4


def test_allocation_leaves_nothing_of_the_frames_former_life(
    machine: pm.Machine, app: pm.Task, page: pm.Region
) -> None:
    """Data-model 1.4, 2.2: flags clear, `private` 0, `mapping` null when a frame comes back."""
    app.pin(page.start)
    app.mlock(page)
    app.unpin(0)
    app.exit()
    free = machine.frame(0)
    assert (free.count, free.mapcount, free.owner, free.private) == (0, 0, None, 0)
    assert free.flags & ~F.BUDDY == F(0)
    assert machine.vmstat()["nr_mlock"] == 0


# 3.4 ---------------------------------------------------------------------------------------


def cycle(machine: pm.Machine, app: pm.Task, page: pm.Region) -> tuple[dict[str, int], dict[str, int]]:
    """The counters of both zones over isolate, migrate, drain."""
    machine.drain()
    before = [machine.zone_counters(node) for node in (0, 1)]
    finish(machine, machine.start(pm.calls.move_pages(page, 1), by=app))
    machine.drain()
    first, second = (delta(old, machine.zone_counters(node)) for node, old in enumerate(before))
    return first, second


def mirror(changes: dict[str, int]) -> dict[str, int]:
    """The same changes the other way round."""
    return {name: -change for name, change in changes.items()}


def test_an_anonymous_page_takes_its_counters_along(
    machine: pm.Machine, app: pm.Task, page: pm.Region
) -> None:
    """Data-model 3.4, row 1: LRU -1, ANON_PAGES -1, FREE +1, and the mirror of it."""
    here, there = cycle(machine, app, page)
    assert here == {"nr_active_anon": -1, "nr_anon_pages": -1, "nr_free_pages": 1}
    assert there == mirror(here)


def test_an_inactive_page_goes_to_the_inactive_list(
    machine: pm.Machine, app: pm.Task, page: pm.Region
) -> None:
    """Data-model 3.4: same family, active if the old page was active, otherwise inactive."""
    app.mlock(page)
    app.munlock(page)
    here, there = cycle(machine, app, page)
    assert here == {"nr_inactive_anon": -1, "nr_anon_pages": -1, "nr_free_pages": 1}
    assert there == mirror(here)


def test_a_locked_page_takes_its_lock_along(machine: pm.Machine, app: pm.Task, page: pm.Region) -> None:
    """Data-model 3.4, row "mlocked": NR_MLOCK -1, UNEVICTABLE -1, mirror."""
    app.mlock(page)
    here, there = cycle(machine, app, page)
    assert here == {"nr_mlock": -1, "nr_unevictable": -1, "nr_anon_pages": -1, "nr_free_pages": 1}
    assert there == mirror(here)


def test_migration_changes_no_resident_counter(machine: pm.Machine, app: pm.Task, heap: pm.Region) -> None:
    """Data-model 3.2, I-92: at no step of the move."""
    before = app.counters
    move = machine.start(pm.calls.move_pages(heap, 1), by=app)
    while not move.done:
        move.step()
        assert app.counters == before


def test_global_counters_are_sums_over_zones(machine: pm.Machine, app: pm.Task, heap: pm.Region) -> None:
    """Data-model 3.1: at every step of a move."""
    move = machine.start(pm.calls.move_pages(heap[:2], 1), by=app)
    while not move.done:
        move.step()
        total = machine.vmstat()
        zones = [machine.zone_counters(node) for node in (0, 1)]
        assert {name: sum(zone[name] for zone in zones) for name in zones[0]} == {
            name: total[name] for name in zones[0]
        }
