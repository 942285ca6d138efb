"""Machines that break a rule on purpose."""

from __future__ import annotations

import pytest

import pagemig as pm
from pagemig import PAGE_SIZE

NODES = (32 * PAGE_SIZE, 32 * PAGE_SIZE)


def test_a_machine_knows_its_bugs_and_a_copy_has_them() -> None:
    """In the order of `Bug`, whatever the order was; normally none."""
    machine = pm.Machine(nodes=NODES, bugs=(pm.Bug.DROP_EARLY, pm.Bug.NO_FREEZE))
    assert machine.bugs == (pm.Bug.NO_FREEZE, pm.Bug.DROP_EARLY)
    assert machine.clone().bugs == machine.bugs
    assert pm.Machine(nodes=NODES).bugs == ()


@pytest.mark.parametrize("bugs", [("no-freeze",), "no-freeze", (1,), (None,)])
def test_what_is_no_bug_is_refused(bugs: object) -> None:
    """The message names what there is."""
    with pytest.raises(pm.UsageError, match=r"bugs has .*; each must be one of Bug\.NO_FREEZE, "):
        pm.Machine(nodes=NODES, bugs=bugs)  # type: ignore[arg-type]


@pytest.mark.parametrize("bug", list(pm.Bug))
def test_a_machine_with_a_bug_makes_every_call_step_by_step(bug: pm.Bug) -> None:
    """A machine without one runs straight through."""
    for bugs, is_stepped in (((), False), ((bug,), True)):
        machine = pm.Machine(nodes=NODES, bugs=bugs)
        app = machine.spawn()
        app.touch(app.mmap(PAGE_SIZE))
        assert (machine.steps > 0) is is_stepped


def test_every_bug_has_a_name_of_its_own_and_can_be_found_by_it() -> None:
    """As people type it."""
    assert all(pm.Bug(bug.value) is bug and bug.value == bug.name.lower().replace("_", "-") for bug in pm.Bug)
    assert len({bug.title for bug in pm.Bug}) == len(pm.Bug)


def test_a_late_copy_is_a_lost_store_also_for_a_verb() -> None:
    """The store through the restored entry is what the copy overwrites; here nobody stores, and all is
    well in the end (concurrency W8).
    """
    machine = pm.Machine(nodes=NODES, contents=True, bugs=(pm.Bug.COPY_LATE,))
    machine.watch_stores()
    app = machine.spawn()
    heap = app.mmap(PAGE_SIZE)
    app.write(heap.start, b"heap")
    machine.drain()
    mover = machine.start(pm.calls.move_pages(heap, 1), by=app)
    mover.run_until("MN-5")
    assert {finding.rule for finding in machine.audit()} == {"no_store_is_lost"}
    app.write(heap.start, b"lost")
    mover.run()
    assert app.read(heap.start, 4) == b"heap"
    assert "byte 0 is 0x68, stored was 0x6c" in str(machine.audit())
