"""Moving pages that nothing else is using, and pages that will not move.

One call a sample: a heap that has moved is a different input. The ``track_*`` benchmarks count where
the others time; they are the same on every machine, so any change is ours.
"""

from __future__ import annotations

import pagemig as pm

from .machines import PAGES, machine_with_heap, shuffled

LEDGER = ("walks", "allocations", "isolations", "unmaps", "copies", "restores")


class MoveHeap:
    """The engine's straight road: every page goes to the other node."""

    params = (PAGES, ("address", "random"))
    param_names = ("pages", "order")
    number = 1
    rounds = 3
    repeat = (1, 5, 10.0)
    timeout = 300
    contents = False

    def setup(self, pages: int, order: str) -> None:
        """A fresh machine."""
        self.machine, self.task, heap = machine_with_heap(pages, contents=self.contents)
        self.where = heap.addresses if order == "address" else shuffled(heap)

    def time_to_other_node(self, pages: int, order: str) -> None:
        """One call, all pages."""
        self.task.move_pages(self.where, 1)

    def peakmem_to_other_node(self, pages: int, order: str) -> None:
        """The same, by memory."""
        self.task.move_pages(self.where, 1)


class MoveBytes(MoveHeap):
    """The same road with luggage: 4096 bytes a page are copied too."""

    params = (PAGES[:3], ("address", "random"))
    contents = True


class MoveNothing:
    """Pages that stay: they are where they should be, or somebody holds on to them."""

    params = (PAGES,)
    param_names = ("pages",)
    number = 1
    rounds = 3
    timeout = 300

    def setup(self, pages: int) -> None:
        """One machine whose heap is free to go, one whose every page is pinned."""
        _, self.task, self.heap = machine_with_heap(pages)
        _, self.pinner, self.pinned = machine_with_heap(pages)
        for address in self.pinned.addresses.tolist():
            self.pinner.pin(address)

    def time_already_there(self, pages: int) -> None:
        """Node 0 to node 0."""
        self.task.move_pages(self.heap, 0)

    def time_pinned_ten_passes(self, pages: int) -> None:
        """Every page is tried ten times, in vain."""
        self.pinner.move_pages(self.pinned, 1)


class MoveLedger:
    """How many of each elementary operation a page costs."""

    params = (PAGES, LEDGER)
    param_names = ("pages", "operation")
    unit = "operations/page"

    def track_moved(self, pages: int, operation: str) -> float:
        """A page that moves."""
        machine, task, heap = machine_with_heap(pages)
        before = machine.cost[operation]
        task.move_pages(heap, 1)
        return (machine.cost[operation] - before) / pages

    def track_pinned(self, pages: int, operation: str) -> float:
        """A page that is tried ten times."""
        machine, task, heap = machine_with_heap(min(pages, 10_000))
        for address in heap.addresses.tolist():
            task.pin(address)
        before = machine.cost[operation]
        task.move_pages(heap, 1)
        return (machine.cost[operation] - before) / len(heap)


class MoveDescriptors:
    """Descriptors that a page's migration reads or writes: old frame, new frame, neighbours on lists.

    The ledger does not count them: nothing on the fast path is paid for that. They follow from what it
    counts: every isolation and every putting back touches a page and two neighbours, every allocation,
    unmapping, copy and restoration the frames that it is about.
    """

    params = (PAGES,)
    param_names = ("pages",)
    unit = "descriptors/page"

    def track_descriptors(self, pages: int) -> float:
        """Derived from the counters of one call."""
        machine, task, heap = machine_with_heap(pages)
        before = machine.cost
        task.move_pages(heap, 1)
        done = {name: count - before[name] for name, count in machine.cost.items()}
        lists = 3 * (done["isolations"] + done["moves"])
        frames = done["allocations"] + done["unmaps"] + 2 * done["copies"] + done["restores"]
        return (lists + frames) / pages


class MoveSteps:
    """How many yield points a page costs when the call is stepped."""

    params = ((100, 1_000),)
    param_names = ("pages",)
    unit = "steps/page"

    def track_steps(self, pages: int) -> float:
        """Step the call to its end and count."""
        machine, task, heap = machine_with_heap(pages)
        call = machine.start(pm.calls.move_pages(heap, 1), by=task)
        call.run()
        return len(call.history) / pages
