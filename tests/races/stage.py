"""The stage of a race that is driven by hand: two nodes, two tasks that share a page, every step audited.

Start with :func:`shared_page`. :func:`step`, :func:`until` and :func:`finish` move one call and run
``machine.check()`` after every single step.

The pages of the requested mm are locked by ``move_pages`` (its ``mmap_sem``), those of other mms are
not. So a race with ``munmap``, ``fork`` or ``mprotect`` is played by a child that shares the page, and
:func:`only_the_child_maps_it` leaves it as the only mapper of a page that the parent's call has
already isolated.

Neighbours: ``situation`` and ``race``, where the order is thrown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

import pagemig as pm

PAGE = pm.PAGE_SIZE
SHARED = pm.MoveScope.SHARED


class HasMachine(Protocol):
    """Any stage: what is played on it is audited."""

    @property
    def machine(self) -> pm.Machine: ...


@dataclass(frozen=True)
class Stage:
    """A page on node 0 that a parent has written, and perhaps a child that shares it."""

    machine: pm.Machine
    parent: pm.Task
    child: pm.Task
    heap: pm.Region
    """In the parent's memory."""
    old: int
    """The frame that the first page is in before the race."""

    @property
    def address(self) -> int:
        """Of the first page, in everybody's memory."""
        return self.heap.start

    def of_child(self) -> pm.Region:
        """The heap in the child's memory."""
        return self.child.same(self.heap)

    def mover(self, *, target: int = 1, pages: int = 1, by: pm.Task | None = None) -> pm.Call:
        """Start a ``move_pages`` of the parent's heap, shared pages too."""
        call = pm.calls.move_pages(self.heap[:pages], target, scope=SHARED, target=self.parent)
        return self.machine.start(call, by=by or self.parent)

    def frame(self, task: pm.Task) -> pm.FrameInfo:
        """The frame that a task's first page is in; it must be present."""
        page = task.page_at(self.address)
        assert page is not None
        return page

    def old_frame(self) -> tuple[int, int]:
        """Count and map count of the frame it was in at first."""
        frame = self.machine.frame(self.old)
        return frame.count, frame.mapcount


def shared_page(
    *,
    pages: int = 1,
    nodes: tuple[int, ...] = (64, 64),
    cpus: int = 2,
    pageblock_frames: int = 512,
    profile: pm.Profile = pm.Profile.EXACT,
) -> Stage:
    """A parent with a heap on node 0 that says ``page``, and a child that shares it copy-on-write."""
    machine = pm.Machine(
        nodes=[frames * PAGE for frames in nodes],
        cpus=cpus,
        contents=True,
        pageblock_frames=pageblock_frames,
        profile=profile,
    )
    parent = machine.spawn("parent", stack=False)
    heap = parent.mmap(pages * PAGE)
    for each in heap:
        parent.write(each.start, b"page")
    machine.drain()
    child = parent.fork("child")
    page = parent.page_at(heap.start)
    assert page is not None
    return Stage(machine, parent, child, heap, page.pfn)


def own_page(
    *, pages: int = 1, nodes: tuple[int, ...] = (64, 64), cpus: int = 2, pageblock_frames: int = 512
) -> Stage:
    """The same without sharing: the child is gone, and the parent's entry is writable again."""
    stage = shared_page(pages=pages, nodes=nodes, cpus=cpus, pageblock_frames=pageblock_frames)
    stage.child.exit()
    stage.parent.touch(stage.heap)
    stage.machine.drain()
    assert stage.parent.entry_at(stage.address).writable
    assert stage.frame(stage.parent).pfn == stage.old
    return stage


def step(stage: HasMachine, call: pm.Call, times: int = 1) -> bool:
    """Make steps of a call, each audited; tell whether the last one could be made."""
    could = True
    for _ in range(times):
        could = call.step()
        stage.machine.check()
    return could


def until(stage: HasMachine, call: pm.Call, label: str) -> None:
    """Go on until just before a step of the specification, audited after every step.

    Where that is, a clone tells: ``run_until`` and stepping must meet there.
    """
    twin = stage.machine.clone()
    shadow = next(other for other in twin.calls if other.number == call.number)
    assert shadow.run_until(label), f"{call} never came to {label}"
    twin.check()
    while call.history != shadow.history:
        assert step(stage, call), f"{call} waits for {call.waiting_for}"
        assert len(call.history) <= len(shadow.history)


def waits(stage: HasMachine, call: pm.Call) -> pm.WaitFor:
    """Go on until the call sleeps, audited after every step; return what it waits for."""
    while step(stage, call):
        assert not call.done, f"{call} never slept"
    wait = call.waiting_for
    assert wait is not None
    return wait


def finish(stage: HasMachine, *calls: pm.Call) -> None:
    """Go on with these calls, in this order, until each is done; audited after every step."""
    for call in calls:
        while not call.done:
            assert step(stage, call), f"{call} waits for {call.waiting_for}"


def in_turn(stage: HasMachine) -> None:
    """Go on with all calls in flight, one step each in turn, until all are done."""
    while calls := stage.machine.calls:
        moved = [step(stage, call) for call in calls if call.waiting_for is None and not call.done]
        assert any(moved), f"nobody can go on: {[call.waiting_for for call in calls]}"


def only_the_child_maps_it(stage: Stage, *, writable: bool = False) -> None:
    """The parent stores and so gets a page of its own; if ``writable``, the child then stores, too.

    Neither needs ``mmap_sem`` for writing, so a ``move_pages`` of the parent does not stop it.
    """
    calls = [(stage.parent, pm.calls.write(stage.address + 8, b"parent"))]
    if writable:
        calls.append((stage.child, pm.calls.write(stage.address + 8, b"child")))
    for task, call in calls:
        finish(stage, stage.machine.start(call, by=task))
    assert stage.frame(stage.parent).pfn != stage.old
    assert stage.frame(stage.child).pfn == stage.old
    assert stage.child.entry_at(stage.address).writable is writable


def free_frames(stage: HasMachine, node: int) -> int:
    """Free frames of a node."""
    return stage.machine.zone_counters(node)["nr_free_pages"]


def unused_frames(stage: HasMachine, node: int) -> list[pm.FrameInfo]:
    """Frames of a node that only a pagevec keeps: thrown away, and free after the next drain."""
    frames = stage.machine.frames(node)
    unused = (frames["mapcount"] == 0) & (frames["count"] == 1)
    return [stage.machine.frame(pfn) for pfn in frames["pfn"][np.flatnonzero(unused)].tolist()]


def statuses(call: pm.Call) -> list[int]:
    """What a ``move_pages`` reported."""
    answer: list[int] = call.result.tolist()
    return answer
