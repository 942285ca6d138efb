"""What a child shares with its parent. Source: supporting-paths 3."""

from __future__ import annotations

import pytest

import pagemig as pm

from .stepping import area_flags, counts, delta, finish, free, pfns_in, run

WRITABLE, ACCESSED, DIRTY = 2, 1 << 5, 1 << 6


def test_present_leaves_are_shared_read_only(machine: pm.Machine, app: pm.Task, heap: pm.Region) -> None:
    """Supporting-paths 3: write bit cleared in both; accessed cleared in the copy; both counts +1."""
    before = machine.vmstat()
    old = app.entry_at(heap.start).raw
    child = run(machine, pm.calls.fork(), app)
    assert isinstance(child, pm.Task)
    assert app.entry_at(heap.start).raw == old & ~WRITABLE
    assert child.entry_at(heap.start).raw == old & ~(WRITABLE | ACCESSED)
    assert [counts(machine, pfn) for pfn in pfns_in(app, heap)] == [(2, 2)] * 4
    assert pfns_in(child, child.same(heap)) == pfns_in(app, heap)
    assert delta(before, machine.vmstat()) == {}
    assert (app.counters.anon, child.counters.anon) == (4, 4)


def test_an_area_that_was_only_read_is_faulted_again(machine: pm.Machine, app: pm.Task) -> None:
    """Supporting-paths 3: no anon_vma, so its tables are not copied, zero pages included."""
    region = app.mmap(pm.PAGE_SIZE)
    app.touch(region, write=False)
    child = app.fork()
    assert child.entry_at(region.start).raw == 0
    assert app.entry_at(region.start).special


def test_a_zero_page_in_a_written_area_is_copied_uncounted(machine: pm.Machine, app: pm.Task) -> None:
    """Supporting-paths 3: a special leaf has no page: no reference, no resident page."""
    region = app.mmap(2 * pm.PAGE_SIZE)
    app.touch(region[0])
    app.touch(region[1], write=False)
    child = app.fork()
    assert child.entry_at(region[1].start).special
    assert child.counters.anon == 1


def test_a_dontcopy_area_stays_with_the_parent(app: pm.Task) -> None:
    """Supporting-paths 3."""
    region = app.mmap(pm.PAGE_SIZE, flags=pm.VmFlags.DONTCOPY)
    app.touch(region)
    child = app.fork()
    assert child.touch(child.same(region)).sigsegv.size == 1
    assert len(child.regions) == len(app.regions) - 1
    assert app.entry_at(region.start).writable


def test_a_locked_area_is_unlocked_in_the_child(machine: pm.Machine, app: pm.Task, page: pm.Region) -> None:
    """Supporting-paths 3: VM_LOCKED cleared; the page itself stays locked for the parent."""
    app.mlock(page)
    child = app.fork()
    assert pm.VmFlags.LOCKED in area_flags(app, page.start)
    assert pm.VmFlags.LOCKED not in area_flags(child, page.start)
    assert machine.zone_counters(0)["nr_mlock"] == 1


def test_a_store_of_the_parent_to_a_locked_shared_page_moves_the_lock_to_the_copy(
    machine: pm.Machine, app: pm.Task, page: pm.Region
) -> None:
    """Supporting-paths 2.4, point 5: PG_mlocked is cleared on the old page; the copy is unevictable."""
    app.mlock(page)
    child = app.fork()
    run(machine, pm.calls.touch(page), app)
    copy, old = app.page_at(page.start), child.page_at(page.start)
    assert (copy.lru, copy.count) == (pm.LruList.UNEVICTABLE, 1)
    assert pm.PageFlags.MLOCKED not in old.flags
    assert machine.zone_counters(0)["nr_mlock"] == 1
    machine.drain()
    assert child.page_at(page.start).lru is pm.LruList.INACTIVE_ANON


def test_a_child_that_exits_leaves_the_parent_as_it_was(
    machine: pm.Machine, app: pm.Task, heap: pm.Region
) -> None:
    """Supporting-paths 6: counts back to 1 / 1; no frame lost."""
    before = (machine.vmstat(), pfns_in(app, heap))
    child = app.fork()
    run(machine, pm.calls.exit(), child)
    assert (machine.vmstat(), pfns_in(app, heap)) == before
    assert [counts(machine, pfn) for pfn in pfns_in(app, heap)] == [(1, 1)] * 4


@pytest.mark.parametrize("order", ["parent first", "child first"])
def test_the_last_of_the_family_frees_everything(
    machine: pm.Machine, app: pm.Task, heap: pm.Region, order: str
) -> None:
    """Supporting-paths 6: whichever ends last."""
    child = app.fork()
    child.touch(child.same(heap[0]))
    for task in (app, child) if order == "parent first" else (child, app):
        task.exit()
        machine.check()
    machine.drain()
    assert free(machine, 0) == 64
    assert machine.tasks == ()


def test_fork_stepped_is_fork_at_once(machine: pm.Machine, app: pm.Task, heap: pm.Region) -> None:
    """Architecture, "Steps": the same code, audited after every step."""
    twin = machine.clone()
    child = finish(machine, machine.start(pm.calls.fork("child"), by=app)).result
    other = twin.task(app.pid).fork("child")
    assert child.pid == other.pid
    assert [task.numa_maps() for task in machine.tasks] == [task.numa_maps() for task in twin.tasks]
    assert machine.vmstat() == twin.vmstat()
