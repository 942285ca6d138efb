"""mmap_sem: who waits for a mover, and for whom it waits.

Source: data-model 6.5 and 11, concurrency 2.
"""

from __future__ import annotations

import errno

import pytest

import pagemig as pm

from .stepping import block, finish, reach, settle

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
