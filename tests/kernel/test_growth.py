"""Cost grows with what has to be visited, and with nothing else: counted, not timed (issue of scale)."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

import pagemig as pm


def cost_of(machine: pm.Machine, work: object) -> dict[str, int]:
    """What the ledger says that ``work()`` did."""
    before = machine.cost
    work()  # type: ignore[operator]
    return {name: count - before[name] for name, count in machine.cost.items() if count != before[name]}


@pytest.mark.parametrize("tasks", [1, 30, 1000])
def test_moving_a_page_replaces_one_entry_for_each_task_that_maps_it(tasks: int) -> None:
    """UM-9, UM-12: a page of 1,000 tasks costs 1,000 entries each way, walked once each."""
    machine = pm.Machine(nodes=[64 * pm.MiB] * 2)
    task = machine.spawn()
    heap = task.mmap(4 * pm.PAGE_SIZE)
    task.touch(heap)
    for _ in range(tasks - 1):
        task.fork()
    machine.drain()
    cost = cost_of(machine, lambda: task.move_pages(heap, 1, scope=pm.MoveScope.SHARED))
    assert cost["moves"] == 4
    assert cost["unmaps"] == cost["restores"] == 4 * tasks
    assert cost["walks"] == 4 * (2 * tasks + 1)
    machine.check()


@pytest.mark.parametrize("areas", [10, 31, 32, 33, 500])
def test_moving_a_page_of_a_file_looks_only_at_areas_that_map_it(areas: int) -> None:
    """Data-model 7.2: of many areas over one file, two map the page; a walk looks at these, in list order."""
    machine = pm.Machine(nodes=[64 * pm.MiB] * 2)
    file = machine.create_file("file", areas * pm.PAGE_SIZE, filesystem=pm.filesystems.TMPFS)
    task = machine.spawn()
    mapped = [
        task.mmap(pm.PAGE_SIZE, file=file, offset=page * pm.PAGE_SIZE, shared=True) for page in range(areas)
    ]
    again = task.mmap(pm.PAGE_SIZE, file=file, offset=(areas // 2) * pm.PAGE_SIZE, shared=True)
    task.touch([area.start for area in (*mapped, again)])
    machine.drain()
    cost = cost_of(machine, lambda: task.move_pages(again, 1, scope=pm.MoveScope.SHARED))
    assert cost["moves"] == 1
    assert cost["unmaps"] == cost["restores"] == 2
    # One to find the page, and two on each way.
    assert cost["walks"] == 5
    assert task.move_pages([mapped[areas // 2].start, mapped[0].start]).tolist() == [1, 0]
    machine.check()


def test_a_long_list_of_areas_stays_right_through_splits_forks_and_unmapping() -> None:
    """Every way in which an area of a file changes pages or place; the audit compares index and list."""
    machine = pm.Machine(nodes=[64 * pm.MiB] * 2)
    file = machine.create_file("file", 64 * pm.PAGE_SIZE, filesystem=pm.filesystems.TMPFS)
    task = machine.spawn()
    regions = [
        task.mmap((8 + page) * pm.PAGE_SIZE, file=file, offset=page * pm.PAGE_SIZE, shared=True)
        for page in range(40)
    ]
    for number, region in enumerate(regions):
        task.touch(region[:8], write=False)
        if number % 3 == 0:
            task.mprotect(region[2:4], pm.Protection.READ)
        if number % 5 == 1:
            task.munmap(region[6:7])
        if number % 7 == 2:
            task.mprotect(region[:5], pm.Protection.READ)
            task.mprotect(region[:5], pm.Protection.READ | pm.Protection.WRITE)
    machine.check()
    children = [task.fork(), task.fork()]
    children.append(children[0].fork())
    machine.check()
    moved = task.move_pages(regions[30], 1, scope=pm.MoveScope.SHARED)
    assert set(moved[3:8].tolist()) == {1}
    machine.check()
    children[0].exit()
    task.mremap(regions[32], 5 * pm.PAGE_SIZE)
    machine.check()
    restored = pm.Machine.restore(machine.snapshot())
    twin = restored.task(task.pid)
    assert (twin.move_pages(regions[30], 0, scope=pm.MoveScope.SHARED)[3:8] == 0).all()
    restored.check()
    for left in (task, *children[1:]):
        left.exit()
    machine.check()


@pytest.mark.parametrize("pages", [40, 200, 20_000])
def test_a_heap_in_many_pieces_is_found_piece_by_piece_through_forks_and_unmapping(pages: int) -> None:
    """Data-model 7.1: all pieces are on one list; of thousands a walk looks at the one that maps the page.

    The audit compares the list with its index after everything that changes either.
    """
    machine = pm.Machine(nodes=[256 * pm.MiB] * 2)
    task = machine.spawn()
    heap = task.mmap(pages * pm.PAGE_SIZE)
    task.touch(heap)
    for page in range(0, pages, 2):
        task.mprotect(heap[page : page + 1], pm.Protection.READ)
    assert len(task.vmas) >= pages
    machine.drain()
    machine.check()
    cost = cost_of(machine, lambda: task.move_pages(heap, 1))
    assert (cost["moves"], cost["unmaps"], cost["walks"]) == (pages, pages, 3 * pages)
    child = task.fork()
    machine.check()
    few, own = heap[: min(pages, 500)], child.same(heap)
    assert (task.move_pages(few, 0, scope=pm.MoveScope.SHARED) == 0).all()
    assert (child.nodes_of(child.same(few)) == 0).all()
    task.munmap(heap[7:13])
    child.mprotect(own[20:31], pm.RW)
    child.mremap(own[31:32], 3 * pm.PAGE_SIZE)
    child.munmap(own[33:38])
    machine.check()
    twin = pm.Machine.restore(machine.snapshot())
    for each in (machine, twin):
        left = each.task(child.pid)
        assert (left.move_pages(left.same(few)[:20], 1, scope=pm.MoveScope.SHARED) == 1).all()
        each.task(task.pid).exit()
        each.check()
        left.exit()
        each.check()


def test_a_task_of_many_areas_pays_for_each_page_what_one_area_pays() -> None:
    """60,000 areas of one page: a fault, a walk and a move a page, as in one area of as many pages."""
    areas = 60_000
    costs = []
    for is_one in (True, False):
        machine = pm.Machine(nodes=[512 * pm.MiB] * 2)
        task = machine.spawn()
        if is_one:
            where = task.mmap(areas * pm.PAGE_SIZE).addresses.tolist()
        else:
            where = [task.mmap(pm.PAGE_SIZE).start for _ in range(areas)]
        machine.drain()
        touched = cost_of(machine, lambda t=task, w=where: t.touch(w))
        moved = cost_of(machine, lambda t=task, w=where: t.move_pages(w, 1))
        asked = cost_of(machine, lambda t=task, w=where: t.move_pages(w))
        costs.append((touched, moved, asked))
    assert costs[0] == costs[1]
    assert costs[1][1]["moves"] == areas


def test_thousands_of_pages_that_merge_apart_come_and_go_with_their_places_and_numbers() -> None:
    """Data-model 7.3: a pair of equal pages is one node; unmapping makes it stale, and a scan ends it."""
    pairs = 2000
    machine = pm.Machine(nodes=[64 * pm.MiB], contents=True)
    task = machine.spawn()
    heap = task.mmap(2 * pairs * pm.PAGE_SIZE)
    task.madvise(heap, pm.Advice.MERGEABLE)
    # In an order of contents that is neither that of addresses nor its reverse.
    contents = [(page * 1237 % pairs).to_bytes(4, "big") + bytes(pm.PAGE_SIZE - 4) for page in range(pairs)]
    task.write(heap.start, b"".join(contents * 2))
    machine.drain()
    assert machine.ksm.scan() == pairs
    assert (machine.ksm.pages_shared, machine.ksm.pages_sharing) == (pairs, pairs)
    assert [node.number for node in machine.ksm.nodes] == list(range(pairs)), "in the order of the merges"
    assert {len(node.places) for node in machine.ksm.nodes} == {2}
    machine.check()
    twin = pm.Machine.restore(machine.snapshot())
    for each in (machine, twin):
        owner = each.task(task.pid)
        owner.munmap(owner.same(heap)[: pairs // 2])
        owner.munmap(owner.same(heap)[pairs : pairs + pairs // 2])
        assert each.ksm.scan() == 0
        each.check()
        assert {page for node in each.ksm.nodes for page in [node.pfn]} <= set(range(each.frame_count))
        owner.write(heap[pairs // 2].start, b"".join(contents[: pairs // 2]))
        each.drain()
        each.ksm.scan()
        each.check()
    assert machine.ksm.nodes == twin.ksm.nodes
    assert machine.snapshot() == twin.snapshot()


def calls_of_python(work: Callable[[], object]) -> int:
    """How many functions ``work()`` calls, those of the extension among them."""
    made = 0

    def note(frame: object, event: str, what: object) -> None:
        nonlocal made
        made += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return made


def test_a_step_asks_nothing_of_other_calls_in_flight() -> None:
    """A handle takes the outcome of its own call; the others are not looked at (architecture "Steps")."""

    def step_beside(others: int) -> int:
        machine = pm.Machine(nodes=[8 * pm.MiB] * 2)
        calls = []
        for _ in range(1 + others):
            task = machine.spawn()
            heap = task.mmap(pm.PAGE_SIZE)
            task.touch(heap)
            calls.append(machine.start(pm.calls.move_pages(heap, 1), by=task))
        made = calls_of_python(calls[0].step)
        machine.run()
        assert [call.result.tolist() for call in calls] == [[1]] * len(calls)
        return made

    assert step_beside(200) == step_beside(0)
