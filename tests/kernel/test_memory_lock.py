"""mmap_sem and the anon_vma lock: who waits for a mover, and for whom it waits.

Source: data-model 6.5 and 11, concurrency 2, scenarios S19 to S22.
"""

from __future__ import annotations

import errno

import pytest

import pagemig as pm

from .stepping import block, counts, finish, pfn_at, reach, settle

SHARED = pm.MoveScope.SHARED


@pytest.fixture
def mover(machine: pm.Machine, admin: pm.Task, app: pm.Task, page: pm.Region) -> pm.Call:
    """A move of app's first page by another task, shared pages too; not begun."""
    return machine.start(pm.calls.move_pages([page.start], 1, target=app, scope=SHARED), by=admin)


@pytest.mark.parametrize("verb", ["munmap", "mprotect", "mlock", "munlock", "fork"])
def test_who_changes_the_address_space_waits_for_the_mover(
    machine: pm.Machine, app: pm.Task, page: pm.Region, mover: pm.Call, verb: str
) -> None:
    """Concurrency 5: they need mmap_sem for writing; all of them go on once it is free."""
    calls = {
        "munmap": pm.calls.munmap(page),
        "mprotect": pm.calls.mprotect(page, pm.R),
        "mlock": pm.calls.mlock(page),
        "munlock": pm.calls.munlock(page),
        "fork": pm.calls.fork(),
    }
    reach(machine, mover, "UM-10")
    other = machine.start(calls[verb], by=app)
    wait = block(machine, other)
    assert (wait.lock, wait.holder) == ("mmap_sem", mover.number)
    settle(machine)
    assert mover.result.tolist() == [1]
    machine.drain()
    machine.check()


def test_faults_and_queries_do_not_wait_for_a_readers_lock(
    machine: pm.Machine, app: pm.Task, heap: pm.Region, mover: pm.Call
) -> None:
    """Data-model 6.5: a fault on another page, a query: both read-lock too."""
    reach(machine, mover, "UM-10")
    region = pm.Region(app, heap[1].start, pm.PAGE_SIZE)
    assert app.touch(region).hits == 1
    assert app.move_pages(heap[1]).tolist() == [0]
    finish(machine, mover)


def test_a_waiting_writer_stops_later_readers(
    machine: pm.Machine, app: pm.Task, heap: pm.Region, mover: pm.Call
) -> None:
    """Data-model 6.5: mmap_sem is fair: a query that came after the munmap is answered after it."""
    reach(machine, mover, "UM-10")
    writer = machine.start(pm.calls.munmap(heap[1]), by=app)
    block(machine, writer)
    query = machine.start(pm.calls.move_pages(heap[1:3]), by=app)
    assert block(machine, query).lock == "mmap_sem"
    settle(machine)
    assert query.result.tolist() == [-errno.ENOENT, 0]
    assert app.entry_at(heap[1].start).raw == 0


def test_fork_of_another_mapper_waits_for_the_walk(
    machine: pm.Machine, app: pm.Task, page: pm.Region, mover: pm.Call
) -> None:
    """S21, Y07: linking the child needs the anon_vma lock; it then meets entries only."""
    child = app.fork()
    reach(machine, mover, "UM-9")
    while app.entry_at(page.start).kind is pm.EntryKind.PRESENT:
        mover.step()
        machine.check()
    forking = machine.start(pm.calls.fork(), by=child)
    wait = block(machine, forking)
    assert (wait.lock, wait.holder) == ("anon_vma_lock", mover.number)
    settle(machine)
    assert mover.result.tolist() == [1]
    grandchild = forking.result
    tasks = (app, child, grandchild)
    assert {pfn_at(task, page.start) for task in tasks} == {pfn_at(app, page.start)}
    assert counts(machine, pfn_at(app, page.start))[1] == 3


def test_a_child_that_was_linked_before_the_walk_is_walked_too(
    machine: pm.Machine, app: pm.Task, page: pm.Region, mover: pm.Call
) -> None:
    """S21: fork has linked the grandchild and not copied yet; whichever leaf it copies is found."""
    child = app.fork()
    forking = reach(machine, machine.start(pm.calls.fork(), by=child), "SP3-copy")
    reach(machine, mover, "UM-10")
    settle(machine)
    assert mover.result.tolist() == [1]
    grandchild = forking.result
    assert pfn_at(grandchild, page.start) == pfn_at(app, page.start)
    assert grandchild.page_at(page.start).mapcount == 3
    machine.drain()
    machine.check()


def test_a_mapper_that_exits_in_the_window_leaves_the_others(
    machine: pm.Machine, app: pm.Task, page: pm.Region, mover: pm.Call
) -> None:
    """S19: its entry is cleared; the other comes back; map count 1."""
    child = app.fork()
    reach(machine, mover, "MC-1")
    child.exit()
    finish(machine, mover)
    assert mover.result.tolist() == [1]
    assert counts(machine, pfn_at(app, page.start)) == (2, 1)


def test_the_only_mapper_that_exits_in_the_window_leaves_a_page_for_the_drain(
    machine: pm.Machine, app: pm.Task, page: pm.Region, mover: pm.Call
) -> None:
    """S18: nothing to restore; the new page has the pagevec's reference only, and is freed by the drain."""
    child = app.fork()
    reach(machine, mover, "MP-1")
    app.touch(page)
    reach(machine, mover, "MC-1")
    child.exit()
    finish(machine, mover)
    assert mover.result.tolist() == [1]
    assert counts(machine, 64) == (1, 0)
    machine.drain()
    assert counts(machine, 64) == (0, 0)
