"""The steps of a fault that meets a migration entry: EW."""

from __future__ import annotations

import pytest

import pagemig as pm

from .stepping import block, counts, finish, reach, settle

OLD, NEW = 0, 64
F = pm.PageFlags


@pytest.fixture
def mover(machine: pm.Machine, admin: pm.Task, app: pm.Task, page: pm.Region) -> pm.Call:
    """A move of app's first page by another task, stopped when the entry is there (Y09)."""
    move = machine.start(pm.calls.move_pages([page.start], 1, target=app), by=admin)
    return reach(machine, move, "UM-10")


def test_a_fault_sleeps_on_the_old_page_with_a_reference(
    machine: pm.Machine, app: pm.Task, page: pm.Region, mover: pm.Call
) -> None:
    """EW-1, EW-3, EW-4, EW-5, EW-6: leaf looked at under its lock, count +1, asleep on the page lock."""
    reader = machine.start(pm.calls.read(page.start, 1), by=app)
    reach(machine, reader, "EW-1")
    assert counts(machine, OLD) == (1, 0)
    reach(machine, reader, "EW-6")
    assert counts(machine, OLD) == (2, 0)
    assert block(machine, reader) == pm.WaitFor("page_lock", OLD, mover.number)
    settle(machine)
    assert counts(machine, OLD)[1] == 0


@pytest.mark.parametrize("write", [False, True])
def test_loads_and_stores_wait_alike(
    machine: pm.Machine, app: pm.Task, page: pm.Region, mover: pm.Call, write: bool
) -> None:
    """EW-7: the wait reports nothing; the access is simply tried again and then succeeds."""
    reach(machine, mover, "MC-1")
    access = machine.start(pm.calls.touch(page, write=write), by=app)
    block(machine, access)
    finish(machine, mover)
    finish(machine, access)
    assert (access.result.hits, access.result.minor, access.result.spurious) == (0, 1, 1)
    assert mover.result.tolist() == [1]
    entry = app.entry_at(page.start)
    assert (entry.accessed, entry.dirty) == (True, write)


def test_an_entry_that_is_gone_when_the_waiter_looks_is_no_reason_to_wait(
    machine: pm.Machine, app: pm.Task, page: pm.Region, mover: pm.Call
) -> None:
    """EW-2: restored between the fault's peek and the lock: no reference, no sleep, tried again."""
    reader = machine.start(pm.calls.touch(page, write=False), by=app)
    reach(machine, reader, "EW-1")
    finish(machine, mover)
    before = counts(machine, NEW)
    reach(machine, reader, "SP2-access")
    assert counts(machine, NEW) == before
    finish(machine, reader)
    assert (reader.result.minor, reader.result.spurious) == (1, 1)


def test_several_waiters_are_woken_together(
    machine: pm.Machine, admin: pm.Task, app: pm.Task, page: pm.Region
) -> None:
    """EW-6: waiters are not exclusive; each holds a reference, all go on after UM-15."""
    child = app.fork()
    other = machine.spawn("other", stack=False)
    move = machine.start(
        pm.calls.move_pages([page.start], 1, target=app, scope=pm.MoveScope.SHARED), by=other
    )
    reach(machine, move, "MC-1")
    readers = [machine.start(pm.calls.touch(task.same(page), write=False), by=task) for task in (app, child)]
    for reader in readers:
        block(machine, reader)
    assert counts(machine, OLD) == (3, 0)
    reach(machine, move, "UM-16")
    for reader in readers:
        assert reader.step()
    settle(machine)
    assert move.result.tolist() == [1]
    assert admin.pid != other.pid
