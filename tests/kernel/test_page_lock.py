"""Waiting for a page lock: who is woken, and in which order.

Source: data-model 12.
"""

from __future__ import annotations

import pytest

import pagemig as pm

from .stepping import block, counts, finish, pfn_at, reach, settle

OLD, NEW = 0, 64
F = pm.PageFlags


@pytest.fixture
def family(app: pm.Task, heap: pm.Region) -> list[pm.Task]:
    """Three children that share app's heap."""
    return [app.fork(f"child{number}") for number in range(3)]


@pytest.fixture
def mover(
    machine: pm.Machine, admin: pm.Task, app: pm.Task, family: list[pm.Task], page: pm.Region
) -> pm.Call:
    """A move of the shared page, stopped with the page locked and mapped."""
    call = pm.calls.move_pages([page.start], 1, target=app, scope=pm.MoveScope.SHARED)
    return reach(machine, machine.start(call, by=admin), "UM-9")


def test_unlocking_wakes_the_first_of_several_exclusive_waiters(
    machine: pm.Machine, family: list[pm.Task], mover: pm.Call, page: pm.Region
) -> None:
    """Data-model 12: exclusive waiters are FIFO, one is woken at a time; audited in between."""
    stores = [machine.start(pm.calls.touch(task.same(page)), by=task) for task in family]
    for store in stores:
        assert block(machine, store).pfn == OLD
    assert counts(machine, OLD)[0] == 4 + 1 + 3
    reach(machine, mover, "UM-15")
    mover.step()
    machine.check()
    assert [store.waiting_for is None for store in stores] == [True, False, False]
    settle(machine)
    assert mover.result.tolist() == [1]
    assert len({pfn_at(task, page.start) for task in family}) == 3


def test_whoever_comes_first_takes_a_lock_that_was_let_go(
    machine: pm.Machine, family: list[pm.Task], mover: pm.Call, page: pm.Region
) -> None:
    """Data-model 12: a woken waiter is not handed the lock: a later store may get it before."""
    first, second = (machine.start(pm.calls.touch(task.same(page)), by=task) for task in family[:2])
    block(machine, first)
    reach(machine, mover, "UM-16")
    assert first.waiting_for is None
    assert F.LOCKED not in machine.frame(OLD).flags
    finish(machine, second)
    assert second.result.cow == 1
    finish(machine, first)
    settle(machine)


def test_calls_that_wait_for_each_other_are_a_deadlock_with_its_graph(
    machine: pm.Machine, family: list[pm.Task], mover: pm.Call, page: pm.Region
) -> None:
    """Concurrency 6: a call run alone that waits for a stopped one can never go on, and says so."""
    child = family[0]
    store = machine.start(pm.calls.touch(child.same(page)), by=child)
    with pytest.raises(pm.DeadlockError, match=f"page_lock {OLD}"):
        store.run()
    machine.check()
    settle(machine)
    assert store.done
