"""What a person may not ask of a machine with calls in flight: refused, with nothing changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import pagemig as pm
from tests.races.stage import SHARED, Stage, finish, own_page, shared_page, statuses, until


def seen(machine: pm.Machine, tasks: tuple[pm.Task, ...], addresses: list[int]) -> list[Any]:
    """Everything that can be seen of a machine: frames, counters, entries, areas, calls, trace."""
    frames = [
        {name: np.asarray(column).tolist() for name, column in machine.frames(node).items()}
        for node in machine.nodes
    ]
    calls = [(call.number, call.at, call.waiting_for, call.history) for call in machine.calls]
    entries = [task.entry_at(address) for task in tasks for address in addresses]
    memory = [(task.regions, task.counters, task.status(), task.numa_maps()) for task in tasks]
    counters = [machine.zone_counters(node) for node in machine.nodes]
    past = [machine.cost, list(machine.trace), machine.now]
    return [frames, calls, entries, memory, counters, machine.tasks, past, machine.audit()]


def everything(stage: Stage) -> list[Any]:
    """The same for a stage."""
    tasks = tuple(task for task in (stage.parent, stage.child) if task in stage.machine.tasks)
    return seen(stage.machine, tasks, [page.start for page in stage.heap])


Verb = Callable[[Stage], object]

BEHIND_THE_ENTRY: dict[str, Verb] = {
    "touch": lambda stage: stage.child.touch(stage.of_child()),
    "load": lambda stage: stage.child.touch(stage.of_child(), write=False),
    "access": lambda stage: stage.child.access([stage.address], [True]),
    "read": lambda stage: stage.child.read(stage.address, 4),
    "write": lambda stage: stage.child.write(stage.address, b"PAGE"),
    "pin": lambda stage: stage.child.pin(stage.address),
    "mlock": lambda stage: stage.child.mlock(stage.of_child()),
}
BEHIND_MMAP_SEM: dict[str, Verb] = {
    "fork": lambda stage: stage.parent.fork(),
    "munmap": lambda stage: stage.parent.munmap(stage.heap),
    "mprotect": lambda stage: stage.parent.mprotect(stage.heap, pm.R),
    "mlock": lambda stage: stage.parent.mlock(stage.heap),
    "munlock": lambda stage: stage.parent.munlock(stage.heap),
    "mmap": lambda stage: stage.parent.mmap(pm.PAGE_SIZE),
    "mbind": lambda stage: stage.parent.mbind(stage.heap, pm.Policy(pm.PolicyMode.BIND, [1])),
}


@pytest.mark.parametrize("verb", BEHIND_THE_ENTRY)
@pytest.mark.parametrize("records", [False, True])
def test_a_verb_that_meets_an_entry_is_refused_and_changes_nothing(verb: str, records: bool) -> None:
    """It could never return: the mover does not go on by itself."""
    stage = shared_page()
    if records:
        stage.machine.record()
    mover = stage.mover()
    until(stage, mover, "MM-1")
    before = everything(stage)
    with pytest.raises(pm.UsageError, match="wait") as refused:
        BEHIND_THE_ENTRY[verb](stage)
    assert f"page_lock {stage.old}" in str(refused.value)
    assert everything(stage) == before
    finish(stage, mover)
    assert statuses(mover) == [1]
    BEHIND_THE_ENTRY[verb](stage)


@pytest.mark.parametrize("verb", BEHIND_MMAP_SEM)
def test_a_verb_that_changes_a_locked_address_space_is_refused_and_changes_nothing(verb: str) -> None:
    """The mover holds ``mmap_sem`` of the parent for reading."""
    stage = own_page()
    stage.machine.record()
    mover = stage.mover()
    until(stage, mover, "UM-3")
    before = everything(stage)
    with pytest.raises(pm.UsageError, match="mmap_sem"):
        BEHIND_MMAP_SEM[verb](stage)
    assert everything(stage) == before
    finish(stage, mover)
    assert statuses(mover) == [1]
    BEHIND_MMAP_SEM[verb](stage)
    stage.machine.check()


def test_a_verb_that_would_wait_in_its_middle_is_undone_as_a_whole() -> None:
    """The first page is faulted in and the second waits: the first is as it was."""
    stage = shared_page(pages=3)
    mover = stage.machine.start(pm.calls.move_pages(stage.heap[1], 1, scope=SHARED), by=stage.parent)
    until(stage, mover, "MM-1")
    before = everything(stage)
    with pytest.raises(pm.UsageError, match="wait"):
        stage.child.touch(stage.of_child())
    assert everything(stage) == before
    numbers = [stage.machine.start(pm.calls.drain(), by=stage.child).number for _ in range(2)]
    assert numbers == [mover.number + 1, mover.number + 2]
    stage.machine.run()


def test_a_move_that_would_wait_is_refused_and_changes_nothing() -> None:
    """A second mover, behind a writer that waits for the first: neither a status nor a drain remains."""
    stage = own_page()
    mover = stage.mover()
    until(stage, mover, "UM-3")
    writer = stage.machine.start(pm.calls.mprotect(stage.heap, pm.R), by=stage.parent)
    assert not writer.step()
    before = everything(stage)
    with pytest.raises(pm.UsageError, match="mmap_sem"):
        stage.parent.move_pages(stage.heap)
    assert everything(stage) == before
    stage.machine.run()


def test_verbs_that_need_not_wait_run_among_paused_calls() -> None:
    """The child's memory is its own, and its other pages are in nobody's way."""
    stage = shared_page(pages=2)
    mover = stage.mover()
    until(stage, mover, "MM-1")
    stage.child.write(stage.heap[1].start, b"CHILD")
    grandchild = stage.child.fork()
    stage.machine.check()
    assert grandchild.read(stage.heap[1].start, 5) == b"CHILD"
    grandchild.exit()
    stage.machine.check()
    finish(stage, mover)
    assert statuses(mover) == [1]


@pytest.mark.parametrize("label", ["", "UM-13", "um-9", "UM-9 ", "end", "nowhere"])
def test_a_label_that_names_no_step_is_refused(label: str) -> None:
    """There is no UM-13; the call stays where it is."""
    stage = own_page()
    mover = stage.mover()
    until(stage, mover, "UM-3")
    before = everything(stage)
    with pytest.raises(pm.UsageError):
        mover.run_until(label)
    assert everything(stage) == before


def test_a_label_that_a_call_never_comes_to_runs_it_to_its_end() -> None:
    """``run_until`` answers False, and the call is done."""
    stage = own_page()
    mover = stage.mover()
    assert not mover.run_until("SP2.4-5")
    assert mover.done
    assert statuses(mover) == [1]


def test_a_label_behind_a_wait_is_not_reached() -> None:
    """``run_until`` answers False, and the call waits there."""
    stage = own_page()
    mover = stage.mover()
    until(stage, mover, "MM-1")
    reader = stage.machine.start(pm.calls.read(stage.address, 4), by=stage.parent)
    assert not reader.run_until("SP2.4-1")
    assert not reader.done
    assert reader.waiting_for is not None
    assert reader.waiting_for.pfn == stage.old
    stage.machine.run()
    assert reader.result == b"page"


def test_a_call_that_is_done_makes_no_further_step() -> None:
    """Neither ``step`` nor ``run_until``; ``run`` has nothing to do."""
    stage = own_page()
    mover = stage.mover()
    mover.run()
    before = everything(stage)
    with pytest.raises(pm.UsageError, match="done"):
        mover.step()
    with pytest.raises(pm.UsageError, match="done"):
        mover.run_until("UM-9")
    mover.run()
    assert everything(stage) == before


def test_a_task_that_exits_starts_nothing_more() -> None:
    """Its exit is in flight; verbs and calls are refused, and others are not disturbed."""
    stage = shared_page()
    gone = stage.machine.start(pm.calls.exit(), by=stage.child)
    for steps in range(3):
        before = seen(stage.machine, (stage.parent,), [stage.address])
        for call in (pm.calls.touch(stage.of_child()), pm.calls.exit(), pm.calls.fork()):
            with pytest.raises(pm.UsageError):
                stage.machine.start(call, by=stage.child)
        with pytest.raises(pm.UsageError):
            stage.child.touch(stage.of_child())
        assert seen(stage.machine, (stage.parent,), [stage.address]) == before, f"after {steps} steps"
        assert gone.step()
        stage.machine.check()
    finish(stage, gone)
    with pytest.raises(pm.UsageError, match="no task"):
        stage.machine.start(pm.calls.fork(), by=stage.child)
    assert stage.machine.tasks == (stage.parent,)


def test_a_task_with_a_call_in_flight_does_not_exit() -> None:
    """Neither by verb nor by call; the message names the call."""
    stage = own_page()
    mover = stage.mover()
    until(stage, mover, "UM-3")
    before = everything(stage)
    for attempt in (stage.parent.exit, lambda: stage.machine.start(pm.calls.exit(), by=stage.parent)):
        with pytest.raises(pm.UsageError, match=f"call {mover.number}"):
            attempt()
    assert everything(stage) == before
    finish(stage, mover)
    stage.parent.exit()


def test_a_pin_is_not_dropped_twice() -> None:
    """An ``unpin`` is checked when it is started, and one in flight has the reference already."""
    stage = own_page()
    pfn = stage.parent.pin(stage.address)
    assert pfn is not None
    stage.machine.start(pm.calls.unpin(pfn), by=stage.parent)
    with pytest.raises(pm.UsageError):
        stage.machine.start(pm.calls.unpin(pfn), by=stage.parent)
    stage.machine.run()
    stage.machine.check()
    assert stage.frame(stage.parent).count == 1
