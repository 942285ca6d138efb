"""The steps that copy contents and flags: MC, for anonymous memory."""

from __future__ import annotations

import numpy as np
import pytest

import pagemig as pm

from .stepping import finish, reach

F = pm.PageFlags
OLD, NEW = 0, 64
INACTIVE = pm.LruList.INACTIVE_ANON


@pytest.fixture
def moved(machine: pm.Machine, app: pm.Task, page: pm.Region) -> pm.Call:
    """A move of app's first page."""
    return machine.start(pm.calls.move_pages(page, 1), by=app)


def test_the_bytes_are_copied_before_anything_maps_the_new_page(
    machine: pm.Machine, app: pm.Task, page: pm.Region, moved: pm.Call
) -> None:
    """MC-1, MG-3, MG-4: all 4096 of them; the old page keeps its own."""
    data = bytes(range(256)) * 16
    app.write(page.start, data)
    reach(machine, moved, "RP-1")
    assert app._system.core.frame_bytes(NEW) == data
    assert app._system.core.frame_bytes(OLD) == data
    finish(machine, moved)
    assert app.read(page.start, 4096) == data


def test_referenced_and_uptodate_are_copied_and_not_cleared(
    machine: pm.Machine, app: pm.Task, page: pm.Region, moved: pm.Call
) -> None:
    """MC-2: set on the new page, still set on the old one."""
    pfn = app.pin(page.start)
    assert pfn is not None
    app.unpin(pfn)
    assert F.REFERENCED in machine.frame(OLD).flags
    reach(machine, moved, "RP-1")
    for frame in (OLD, NEW):
        assert F.REFERENCED | F.UPTODATE in machine.frame(frame).flags
    finish(machine, moved)


@pytest.mark.parametrize("locked", [False, True])
def test_active_or_unevictable_moves_over(
    machine: pm.Machine, app: pm.Task, page: pm.Region, locked: bool
) -> None:
    """MC-3: the one that is set is cleared on the old page and set on the new; never both."""
    if locked:
        app.mlock(page)
    flag = F.UNEVICTABLE if locked else F.ACTIVE
    move = machine.start(pm.calls.move_pages(page, 1), by=app)
    reach(machine, move, "RP-1")
    both = F.ACTIVE | F.UNEVICTABLE
    assert (machine.frame(OLD).flags & both, machine.frame(NEW).flags & both) == (F(0), flag)
    finish(machine, move)


def test_an_inactive_page_stays_inactive(machine: pm.Machine, app: pm.Task, page: pm.Region) -> None:
    """MC-3: neither flag set: neither comes over."""
    app.mlock(page)
    app.munlock(page)
    machine.drain()
    assert machine.frame(OLD).lru is INACTIVE
    app.move_pages(page, 1)
    machine.drain()
    assert machine.frame(NEW).lru is INACTIVE


def test_dirty_moves_over(machine: pm.Machine, moved: pm.Call) -> None:
    """MC-5: set by UM-9 on the old page; cleared there, set on the new one; not counted."""
    reach(machine, moved, "MC-1")
    assert F.DIRTY in machine.frame(OLD).flags
    reach(machine, moved, "RP-1")
    assert F.DIRTY not in machine.frame(OLD).flags
    assert F.DIRTY in machine.frame(NEW).flags
    assert machine.vmstat()["nr_dirty"] == 0
    finish(machine, moved)


def test_mlocked_moves_over_with_its_counter(machine: pm.Machine, app: pm.Task, page: pm.Region) -> None:
    """MC-6: PG_mlocked and NR_MLOCK go from one zone to the other."""
    app.mlock(page)
    move = machine.start(pm.calls.move_pages(page, 1), by=app)
    reach(machine, move, "MC-1")
    assert [machine.zone_counters(node)["nr_mlock"] for node in (0, 1)] == [1, 0]
    reach(machine, move, "RP-1")
    assert [machine.zone_counters(node)["nr_mlock"] for node in (0, 1)] == [0, 1]
    assert F.MLOCKED not in machine.frame(OLD).flags
    assert F.MLOCKED in machine.frame(NEW).flags
    finish(machine, move)


def test_the_old_page_ends_as_an_empty_shell(machine: pm.Machine, moved: pm.Call) -> None:
    """MC-8, MC-9: `private` 0, `mapping` null; PG_swapbacked, PG_uptodate and `index` stay."""
    reach(machine, moved, "MC-1")
    index = machine.frame(OLD).index
    reach(machine, moved, "UM-16")
    old = machine.frame(OLD)
    assert (old.owner, old.private, old.index) == (None, 0, index)
    assert old.flags == F.UPTODATE | F.SWAPBACKED
    finish(machine, moved)


@pytest.mark.parametrize("seed", range(8))
def test_pages_that_change_places_within_one_call_keep_their_bytes(seed: int) -> None:
    """MC-1: a frame that one page has left, and another one is given, is read before it is written."""
    random = np.random.default_rng(seed)
    machine = pm.Machine(nodes=[66 * pm.PAGE_SIZE] * 2, contents=True)
    app = machine.spawn("app")
    pages = app.mmap(40 * pm.PAGE_SIZE)
    bytes_of = [bytes([number + 1]) * pm.PAGE_SIZE for number in range(len(pages))]
    for page, data in zip(pages, bytes_of, strict=True):
        app.write(page.start, data)
    app.move_pages(pages, random.integers(0, 2, len(pages)))
    order = random.permutation(len(pages)) if seed % 2 else np.arange(len(pages))
    for _ in range(3):
        app.move_pages(pages.addresses[order], 1 - app.move_pages(pages)[order])
        machine.check()
        assert [app.read(page.start, pm.PAGE_SIZE) for page in pages] == bytes_of


def test_every_byte_of_pages_from_far_apart_arrives() -> None:
    """MC-1, for more pages than a cache of the host holds, in any order, there and back; one page is odd.

    Such copies go past the host's caches. On a page of its own each has its number, and some more at
    its end and where pieces of a copy meet.
    """
    pages = 20_000
    machine = pm.Machine(nodes=[2 * pages * pm.PAGE_SIZE] * 2, contents=True)
    app = machine.spawn("app")
    heap = app.mmap(pages * pm.PAGE_SIZE)
    expected = np.zeros((pages, 512), np.uint64)
    expected[:, [0, 15, 16, 31, 32, 500, 511]] = np.arange(pages, dtype=np.uint64)[:, None]
    app.write(heap.start, expected.tobytes())
    generator = np.random.default_rng(20_261_123)
    for node, count in ((1, pages), (0, 12_345), (1, 7)):
        order = generator.permutation(pages)[:count]
        assert (app.move_pages(heap.addresses[order], node) == node).all()
        assert app.read(heap.start, len(heap) * pm.PAGE_SIZE) == expected.tobytes()
    copy = machine.clone()
    (twin,) = (task for task in copy.tasks if task.name == "app")
    assert (twin.move_pages(heap.addresses[generator.permutation(pages)], 0) == 0).all()
    assert twin.read(heap.start, len(heap) * pm.PAGE_SIZE) == expected.tobytes()
    machine.check()
