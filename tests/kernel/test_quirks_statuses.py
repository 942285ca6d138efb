"""Quirks that a caller of move_pages sees in its results: Q05, Q08 to Q11, Q28, Q33."""

from __future__ import annotations

import errno

import numpy as np
import pytest

import pagemig as pm

from .stepping import finish, free, pfn_at, waiting

MOVE = 2


@pytest.fixture
def machine() -> pm.Machine:
    """Three nodes of 512 frames, two CPUs."""
    return pm.Machine(nodes=[512 * pm.PAGE_SIZE] * 3, cpus=2)


def call(app: pm.Task, pages: object, nodes: object) -> tuple[int, list[int]]:
    """The raw call on addresses: (result, statuses)."""
    addresses = np.array(pages, np.uint64)
    wanted = None if nodes is None else np.array(nodes, np.int32)
    status = np.full(addresses.size, 99, np.int32)
    result = pm.syscalls.move_pages(app, 0, addresses.size, addresses, wanted, status, MOVE)
    return result, status.tolist()


def test_q05_pages_that_did_not_move_are_no_error(machine: pm.Machine, app: pm.Task, page: pm.Region) -> None:
    """Q05: the engine counts one page left behind; the call returns 0."""
    app.pin(page.start)
    assert call(app, page.addresses, [1]) == (0, [-errno.EAGAIN])


def test_q08_the_first_of_two_entries_wins_and_the_second_keeps_its_own_status(
    machine: pm.Machine, app: pm.Task, page: pm.Region
) -> None:
    """Q08: one chunk, one page, nodes 1 and 2: moved to 1; the second could not isolate it: -EBUSY."""
    move = machine.start(pm.calls.move_pages([page.start, page.start + 5], [1, 2]), by=app)
    assert finish(machine, move).result.tolist() == [1, -errno.EBUSY]
    assert app.nodes_of(page).tolist() == [1]


def test_q09_an_entry_that_is_there_already_captures_a_later_ones_destination(
    machine: pm.Machine, app: pm.Task, page: pm.Region
) -> None:
    """Q09: the page is on node 1; (page, 1) names it first, so (page, 2) moves it within node 1.

    The record that queued the page keeps its 0, which reads as node 0.
    """
    app.move_pages(page, 1)
    machine.drain()
    before = pfn_at(app, page.start)
    move = machine.start(pm.calls.move_pages([page.start, page.start], [1, 2]), by=app)
    assert finish(machine, move).result.tolist() == [1, 0]
    assert app.nodes_of(page).tolist() == [1]
    assert pfn_at(app, page.start) != before


def test_q09_a_failure_is_captured_too(machine: pm.Machine, app: pm.Task, page: pm.Region) -> None:
    """Q09: the attempt's -EAGAIN overwrites the status of the entry that was there already."""
    app.pin(page.start)
    assert call(app, [page.start, page.start], [0, 1]) == (0, [-errno.EAGAIN, 0])


def test_q09_page_slots_live_on_in_the_next_chunk(machine: pm.Machine, app: pm.Task) -> None:
    """Q09: chunk 1 leaves the page in slot 5; in chunk 2 slot 5 fails its lookup and captures slot 6.

    Slot 5 asks for node 2 at an address without a page, slot 6 for the page to node 1: the page
    goes to node 2, and the status of slot 5 says so instead of -ENOENT.
    """
    region = app.mmap(170 * pm.PAGE_SIZE)
    app.touch(region[5])
    machine.drain()
    gone = region[100].start
    pages = [*region[:169].addresses.tolist(), *[gone] * 6, region[5].start]
    nodes = [0] * 169 + [1, 1, 1, 1, 1, 2, 1]
    result, status = call(app, pages, nodes)
    assert result == 0
    assert status[:169] == [-errno.ENOENT] * 5 + [0] + [-errno.ENOENT] * 163
    assert status[169:] == [-errno.ENOENT] * 5 + [2, 0]
    assert app.nodes_of(region[5]).tolist() == [2]


def test_q09_a_slot_that_is_looked_up_anew_is_overwritten(machine: pm.Machine, app: pm.Task) -> None:
    """Q09: slot 0 of chunk 2 finds another page, so it captures nothing of the page it held."""
    region = app.mmap(170 * pm.PAGE_SIZE)
    app.touch(region[:2])
    machine.drain()
    pages = [*region[:169].addresses.tolist(), region[1].start, region[0].start]
    nodes = [0] * 169 + [0, 1]
    result, status = call(app, pages, nodes)
    assert (result, status[169:]) == (0, [0, 1])
    assert app.nodes_of(region[:2]).tolist() == [1, 0]


@pytest.mark.parametrize("mode", ["move", "query"])
def test_q10_a_hole_below_an_area_is_no_fault(machine: pm.Machine, mode: str) -> None:
    """Q10: -ENOENT below, between and at an untouched area; -EFAULT above the last one only."""
    app = machine.spawn(stack=False)
    low, high = app.mmap(pm.PAGE_SIZE, at=0x20000), app.mmap(pm.PAGE_SIZE, at=0x40000)
    asked = [0x1000, low.start, low.end, high.start - 1, high.start, high.end]
    expected = [-errno.ENOENT] * 5 + [-errno.EFAULT]
    assert call(app, asked, [1] * 6 if mode == "move" else None) == (0, expected)


def test_q10_the_area_above_the_hole_decides_whether_it_can_be_migrated(machine: pm.Machine) -> None:
    """Q10 with DM-2a: below an IO area the hole is a fault for a move, but not for a query."""
    app = machine.spawn(stack=False)
    app.mmap(pm.PAGE_SIZE, at=0x40000, flags=pm.VmFlags.IO)
    assert call(app, [0x1000], [1]) == (0, [-errno.EFAULT])
    assert call(app, [0x1000], None) == (0, [-errno.ENOENT])


def test_q10_the_stack_makes_every_hole_below_it_not_present(machine: pm.Machine, app: pm.Task) -> None:
    """Q10: a process with a stack at the top of user space has no address below that faults."""
    assert call(app, [0, 0x1000, 1 << 40], [1] * 3) == (0, [-errno.ENOENT] * 3)
    assert call(app, [(1 << 47) - 4096, 1 << 63], [1] * 2) == (0, [-errno.EFAULT] * 2)


@pytest.mark.parametrize("nodes", [[1], [0], None])
def test_q11_the_zero_page_is_not_present(machine: pm.Machine, app: pm.Task, nodes: list[int] | None) -> None:
    """Q11: to another node, to the node it is said to be on, or asked for: -ENOENT."""
    region = app.mmap(pm.PAGE_SIZE)
    app.touch(region, write=False)
    assert call(app, region.addresses, nodes) == (0, [-errno.ENOENT])


def test_q28_a_move_of_nothing_succeeds_and_drains_every_cpu(machine: pm.Machine) -> None:
    """Q28: count 0 with a node array."""
    tasks = [machine.spawn(cpu=cpu) for cpu in (0, 1)]
    for task in tasks:
        task.touch(task.mmap(pm.PAGE_SIZE))
    assert waiting(machine, 0) and waiting(machine, 1)
    nothing = np.empty(0, np.int32)
    assert pm.syscalls.move_pages(tasks[0], 0, 0, None, nothing, None, MOVE) == 0
    assert (waiting(machine, 0), waiting(machine, 1)) == ({}, {})


def test_q28_a_query_of_nothing_succeeds_and_drains_nothing(machine: pm.Machine, app: pm.Task) -> None:
    """Q28: without a node array the call is a query, which never drains."""
    app.touch(app.mmap(pm.PAGE_SIZE))
    assert pm.syscalls.move_pages(app, 0, 0, None, None, None, MOVE) == 0
    assert waiting(machine)


@pytest.mark.parametrize("flag", [pm.VmFlags.IO, pm.VmFlags.RESERVED])
def test_q33_a_query_reports_pages_that_a_move_refuses(
    machine: pm.Machine, app: pm.Task, flag: pm.VmFlags
) -> None:
    """Q33: an area that cannot be migrated: its node when asked, -EFAULT when moved."""
    region = app.mmap(pm.PAGE_SIZE, flags=flag)
    app.touch(region)
    before = free(machine, 1)
    assert call(app, region.addresses, None) == (0, [0])
    assert call(app, region.addresses, [1]) == (0, [-errno.EFAULT])
    assert call(app, region.addresses, [0]) == (0, [-errno.EFAULT])
    assert free(machine, 1) == before
