"""Isolation and putback of pages, as another subsystem does them. Source: data-model 4.3."""

from __future__ import annotations

import errno

import pytest

import pagemig as pm

from .stepping import counts, free, lru, pagevec, waiting

F = pm.PageFlags
INACTIVE, ACTIVE, UNEVICTABLE = (
    pm.LruList.INACTIVE_ANON,
    pm.LruList.ACTIVE_ANON,
    pm.LruList.UNEVICTABLE,
)


def test_isolation_needs_a_page_on_a_list(machine: pm.Machine, app: pm.Task) -> None:
    """Data-model 4.3, step 1: a page in a pagevec, or isolated already, is busy."""
    app.touch(app.mmap(pm.PAGE_SIZE))
    with pytest.raises(OSError, match="isolate") as refused:
        machine.isolate(0)
    assert refused.value.errno == errno.EBUSY
    machine.drain()
    machine.isolate(0)
    with pytest.raises(OSError, match="isolate"):
        machine.isolate(0)
    machine.putback(0)


@pytest.mark.parametrize("locked", [False, True])
def test_isolation_takes_the_page_off_its_list_and_leaves_its_flags(
    machine: pm.Machine, app: pm.Task, page: pm.Region, locked: bool
) -> None:
    """Data-model 4.3, steps 2 and 3: PG_lru clear, counter -1, PG_active or PG_unevictable as before."""
    if locked:
        app.mlock(page)
    which = UNEVICTABLE if locked else ACTIVE
    assert 0 in lru(machine, 0, which)
    before = machine.frame(0).flags
    machine.isolate(0)
    machine.check()
    assert machine.frame(0).flags == before & ~F.LRU
    assert 0 not in lru(machine, 0, which)
    assert counts(machine, 0) == (2, 1)
    machine.putback(0)


def test_putback_of_an_active_page_keeps_it_active(machine: pm.Machine, page: pm.Region) -> None:
    """Data-model 4.3, steps 1 to 3, 7: through the active pagevec; the count is the same, 2."""
    machine.isolate(0)
    machine.putback(0)
    machine.check()
    assert waiting(machine) == {ACTIVE: [0]}
    assert F.ACTIVE not in machine.frame(0).flags
    assert counts(machine, 0) == (2, 1)
    machine.drain()
    assert lru(machine, 0, ACTIVE)[0] == 0


def test_putback_of_a_locked_page_goes_straight_to_the_unevictable_list(
    machine: pm.Machine, app: pm.Task, page: pm.Region
) -> None:
    """Data-model 4.3, step 4: no pagevec; at the head; count 1 at once."""
    app.mlock(page)
    machine.isolate(0)
    machine.putback(0)
    machine.check()
    assert waiting(machine) == {}
    assert lru(machine, 0, UNEVICTABLE) == [0]
    assert machine.zone_counters(0)["nr_unevictable"] == 1
    assert counts(machine, 0) == (1, 1)


def test_a_page_locked_while_isolated_is_put_back_as_unevictable(
    machine: pm.Machine, app: pm.Task, page: pm.Region
) -> None:
    """Data-model 4.3, S37: mlock cannot isolate it; the putback decides by PG_mlocked."""
    machine.isolate(0)
    app.mlock(page)
    assert F.MLOCKED in machine.frame(0).flags
    assert F.UNEVICTABLE not in machine.frame(0).flags
    machine.putback(0)
    assert lru(machine, 0, UNEVICTABLE) == [0]
    assert F.ACTIVE not in machine.frame(0).flags


def test_a_page_unlocked_while_isolated_is_put_back_as_evictable(
    machine: pm.Machine, app: pm.Task, page: pm.Region
) -> None:
    """Data-model 4.3, steps 2, 3: PG_unevictable goes; it comes to the inactive pagevec."""
    app.mlock(page)
    machine.isolate(0)
    app.munlock(page)
    machine.putback(0)
    machine.check()
    assert waiting(machine) == {INACTIVE: [0]}
    assert machine.frame(0).flags & (F.UNEVICTABLE | F.MLOCKED) == F(0)


def test_a_page_whose_users_left_stays_until_the_pagevec_drains(
    machine: pm.Machine, app: pm.Task, page: pm.Region
) -> None:
    """Data-model 4.3, consequence: count 1 in the pagevec, then listed, taken off and freed in one go."""
    machine.isolate(0)
    app.munmap(page)
    assert counts(machine, 0) == (1, 0)
    machine.putback(0)
    machine.check()
    assert counts(machine, 0) == (1, 0)
    assert free(machine, 0) == 60
    machine.drain()
    assert counts(machine, 0) == (0, 0)
    assert free(machine, 0) == 61


def test_a_putback_that_fills_the_pagevec_frees_the_page_directly(machine: pm.Machine, app: pm.Task) -> None:
    """Data-model 4.3, consequence: the fourteenth entry drains before the reference is dropped."""
    first, rest = app.mmap(pm.PAGE_SIZE), app.mmap(13 * pm.PAGE_SIZE)
    app.touch(first)
    machine.drain()
    machine.isolate(0)
    app.munmap(first)
    app.touch(rest)
    assert len(pagevec(machine, ACTIVE)) == 13
    machine.putback(0)
    machine.check()
    assert pagevec(machine, ACTIVE) == []
    assert counts(machine, 0) == (0, 0)
    assert lru(machine, 0, ACTIVE) == list(range(13, 0, -1))


def test_an_isolated_page_is_its_owners_until_it_is_put_back(
    machine: pm.Machine, app: pm.Task, page: pm.Region
) -> None:
    """S13: move_pages reports -EBUSY; afterwards the page moves."""
    machine.isolate(0)
    assert app.move_pages(page, 1).tolist() == [-errno.EBUSY]
    machine.putback(0)
    assert app.move_pages(page, 1).tolist() == [1]
