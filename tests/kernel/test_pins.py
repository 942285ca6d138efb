"""References that a user takes on pages. Source: supporting-paths 1, 12, 17."""

from __future__ import annotations

import errno

import pytest

import pagemig as pm

from .stepping import counts, lru, pfn_at, run

F = pm.PageFlags
ACTIVE, INACTIVE = pm.LruList.ACTIVE_ANON, pm.LruList.INACTIVE_ANON


def test_a_pin_is_one_reference_until_it_is_dropped(
    machine: pm.Machine, app: pm.Task, page: pm.Region
) -> None:
    """Supporting-paths 17: as often as it is taken."""
    assert run(machine, pm.calls.pin(page.start), app) == 0
    assert run(machine, pm.calls.pin(page.start, write=True), app) == 0
    assert counts(machine, 0) == (3, 1)
    for left in (2, 1):
        run(machine, pm.calls.unpin(0), app)
        assert counts(machine, 0) == (left, 1)


def test_a_pin_faults_the_page_in(machine: pm.Machine, app: pm.Task) -> None:
    """Supporting-paths 17: for writing a frame; counted by entry, pagevec and pin."""
    region = app.mmap(pm.PAGE_SIZE)
    pfn = run(machine, pm.calls.pin(region.start, write=True), app)
    assert pfn == pfn_at(app, region.start)
    assert counts(machine, pfn) == (3, 1)


def test_a_pin_for_writing_breaks_copy_on_write(machine: pm.Machine, app: pm.Task, page: pm.Region) -> None:
    """Supporting-paths 17: a read-only leaf is no page for it; a reader pins what is shared."""
    child = app.fork()
    assert app.pin(page.start) == 0
    assert child.pin(page.start, write=True) == child.page_at(page.start).pfn != 0
    assert app.page_at(page.start).mapcount == 1


@pytest.mark.parametrize(
    ("protection", "flags", "write"),
    [
        (pm.R, (), True),
        (pm.NONE, (), False),
        (pm.X, (), False),
        (pm.RW, pm.VmFlags.IO, False),
        (pm.RW, pm.VmFlags.PFNMAP, True),
    ],
)
def test_what_may_not_be_pinned_is_not(
    app: pm.Task, protection: pm.Protection, flags: pm.VmFlags, write: bool
) -> None:
    """Supporting-paths 17: VM_WRITE or VM_READ is needed; IO and PFNMAP areas never."""
    region = app.mmap(pm.PAGE_SIZE, protection=protection, flags=flags)
    assert app.pin(region.start, write=write) is None
    assert app.pin(region.end + (1 << 30)) is None


def test_a_pin_ages_the_page(machine: pm.Machine, app: pm.Task, page: pm.Region) -> None:
    """Supporting-paths 12, 17: PG_referenced first; an inactive page that has it becomes active."""
    app.mprotect(page, pm.R)
    app.mprotect(page, pm.RW)
    app.pin(page.start)
    assert F.REFERENCED in machine.frame(0).flags
    assert lru(machine, 0, ACTIVE)[-1] == 0
    app.mlock(page)
    app.munlock(page)
    machine.drain()
    assert lru(machine, 0, INACTIVE) == [0]
    app.pin(page.start)
    machine.check()
    assert lru(machine, 0, ACTIVE)[0] == 0
    assert machine.frame(0).flags & (F.ACTIVE | F.REFERENCED) == F.ACTIVE


def test_a_pin_for_writing_dirties_a_page_whose_leaf_is_clean(
    machine: pm.Machine, app: pm.Task, page: pm.Region
) -> None:
    """Supporting-paths 1, point 5: only if neither leaf nor page is dirty already."""
    assert F.DIRTY not in machine.frame(0).flags
    app.pin(page.start, write=True)
    assert F.DIRTY not in machine.frame(0).flags
    assert app.entry_at(page.start).dirty


@pytest.mark.parametrize("write", [False, True])
def test_a_pinned_page_does_not_move(machine: pm.Machine, app: pm.Task, page: pm.Region, write: bool) -> None:
    """Supporting-paths 17, E4: -EAGAIN while the pin is held, moved afterwards."""
    app.pin(page.start, write=write)
    assert app.move_pages(page, 1).tolist() == [-errno.EAGAIN]
    app.unpin(0)
    assert app.move_pages(page, 1).tolist() == [1]


def test_a_pin_of_the_zero_page_counts_the_zero_page(machine: pm.Machine, app: pm.Task) -> None:
    """Supporting-paths 1, point 4, data-model 2.5: reserved, on the lowest node, +1 until it is dropped."""
    region = app.mmap(pm.PAGE_SIZE)
    app.touch(region, write=False)
    pfn = app.pin(region.start)
    assert pfn is not None
    zero = machine.frame(pfn)
    assert F.RESERVED in zero.flags
    assert (zero.node, zero.mapcount, pfn >= machine.frame_count) == (0, 0, True)
    app.pin(region.start)
    assert machine.frame(pfn).count == zero.count + 1
    for _ in range(2):
        app.unpin(pfn)
    assert machine.frame(pfn).count == zero.count - 1
