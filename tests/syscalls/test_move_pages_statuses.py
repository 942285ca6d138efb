"""``move_pages``: what the status of each page says (syscalls 3.3, 3.4 and 4)."""

from __future__ import annotations

import errno

import numpy as np
import pytest

import pagemig as pm

ENOENT, EFAULT, EACCES, EBUSY, EAGAIN = (
    -errno.ENOENT,
    -errno.EFAULT,
    -errno.EACCES,
    -errno.EBUSY,
    -errno.EAGAIN,
)


def test_a_page_that_is_there_already_says_so(app: pm.Task, heap: pm.Region) -> None:
    """DM-2d: the node number, and the same frame as before."""
    before = app.page_at(heap.start)
    assert app.move_pages(heap[:2], [0, 3]).tolist() == [0, 3]
    after = app.page_at(heap.start)
    assert before is not None
    assert after is not None
    assert after.pfn == before.pfn


def test_q10_holes_below_an_area_are_enoent_and_above_all_areas_efault(machine: pm.Machine) -> None:
    """The lookup finds the area that ends above, wherever it starts; both modes."""
    task = machine.spawn(stack=False)
    region = task.mmap(pm.PAGE_SIZE, at=0x400000)
    task.touch(region)
    machine.drain()
    where = [0x100000, 0x400000, 0x401000, (1 << 64) - 1]
    assert task.move_pages(where).tolist() == [ENOENT, 0, EFAULT, EFAULT]
    assert task.move_pages(where, 1).tolist() == [ENOENT, 1, EFAULT, EFAULT]


def test_q11_untouched_memory_and_the_zero_page_are_enoent(machine: pm.Machine, app: pm.Task) -> None:
    """PG_reserved comes before "already there": node 0 does not help."""
    region = app.mmap(2 * pm.PAGE_SIZE)
    app.touch(region[0], write=False)
    assert app.move_pages(region).tolist() == [ENOENT, ENOENT]
    assert app.move_pages(region, 0).tolist() == [ENOENT, ENOENT]
    assert app.move_pages(region, 1).tolist() == [ENOENT, ENOENT]


@pytest.mark.parametrize("flag", [pm.VmFlags.IO, pm.VmFlags.PFNMAP, pm.VmFlags.RESERVED, pm.VmFlags.HUGETLB])
def test_q33_areas_that_cannot_be_migrated_are_efault_but_can_be_asked_for(
    machine: pm.Machine, app: pm.Task, flag: pm.VmFlags
) -> None:
    """Even where nothing is present: the area comes first in the precedence of 3.3."""
    region = app.mmap(2 * pm.PAGE_SIZE, flags=flag)
    app.touch(region[0])
    assert app.move_pages(region, 1).tolist() == [EFAULT, EFAULT]
    assert app.move_pages(region).tolist() == [0, ENOENT]


def test_a_page_that_a_child_maps_too_needs_move_all(
    machine: pm.Machine, app: pm.Task, heap: pm.Region
) -> None:
    """DM-2e: -EACCES before isolation; with the capability it moves for both."""
    child = app.fork()
    assert app.move_pages(heap[:2], [1, 0]).tolist() == [EACCES, 0]
    root = machine.spawn()
    shared = pm.MoveScope.SHARED
    assert root.move_pages(heap[:2], 1, target=app, scope=shared).tolist() == [1, 1]
    assert child.nodes_of(child.same(heap)[:2]).tolist() == [1, 1]
    mine, theirs = app.page_at(heap.start), child.page_at(heap.start)
    assert mine == theirs
    child.touch(child.same(heap)[5])
    assert app.move_pages(heap[5], 1).tolist() == [1]


def test_q04_a_pinned_page_is_eagain_and_the_call_still_returns_zero(
    machine: pm.Machine, app: pm.Task, heap: pm.Region
) -> None:
    """E4, Q05, Q32: ten frames of the destination wait in a pagevec for the next drain."""
    pfn = app.pin(heap.start + pm.PAGE_SIZE)
    free = machine.zone_counters(1)["nr_free_pages"]
    status = np.full(3, 99, np.int32)
    result = pm.syscalls.move_pages(app, 0, 3, heap[:3].addresses, np.full(3, 1, np.int32), status, 2)
    assert (result, status.tolist()) == (0, [1, EAGAIN, 1])
    assert machine.zone_counters(1)["nr_free_pages"] == free - 12
    assert app.page_at(heap.start + pm.PAGE_SIZE).pfn == pfn  # type: ignore[union-attr]
    machine.drain()
    assert machine.zone_counters(1)["nr_free_pages"] == free - 2


def test_q07_a_page_that_has_just_moved_is_busy_until_a_drain(
    machine: pm.Machine, app: pm.Task, heap: pm.Region
) -> None:
    """It sits in a pagevec; the next call drains, a later chunk of the same call does not."""
    filler = heap[1:169].addresses
    first, again = heap[0].addresses, heap[0].addresses
    pages = np.concatenate([filler, first, again, first])
    nodes = np.array([0] * 168 + [1, 3, 1], np.int32)
    assert app.move_pages(pages, nodes).tolist() == [0] * 168 + [1, EBUSY, 1]
    assert app.move_pages(heap[0], 3).tolist() == [3]


def test_q08_the_first_of_two_equal_entries_wins(app: pm.Task, heap: pm.Region) -> None:
    """The second finds the page isolated."""
    page = heap[0].addresses[0]
    assert app.move_pages([page, page + 5], [1, 3]).tolist() == [1, EBUSY]
    assert app.nodes_of(heap[0]).tolist() == [1]


def test_q09_an_entry_that_is_there_already_captures_the_next_ones_result(
    app: pm.Task, heap: pm.Region
) -> None:
    """Syscalls 3.4: the page moves to another frame of its own node; the second status stays 0."""
    page = heap[0].addresses[0]
    before = app.page_at(heap.start)
    app.move_pages(heap[300], 1)
    assert app.move_pages([page, page], [0, 1]).tolist() == [0, 0]
    after = app.page_at(heap.start)
    assert before is not None
    assert after is not None
    assert (after.node, after.pfn == before.pfn) == (0, False)


def test_addresses_need_not_be_aligned(app: pm.Task, heap: pm.Region) -> None:
    """The low 12 bits are ignored in effect."""
    assert app.move_pages([heap.start + 123, heap.start + 4096 + 4095], 1).tolist() == [1, 1]
    assert app.move_pages([heap.start + 1]).tolist() == [1]


def test_a_destination_without_frames_is_enomem_for_the_whole_call() -> None:
    """Q03 and syscalls 3.2: no status of the chunk is written, though some pages have moved."""
    machine = pm.Machine(nodes=[64 * pm.PAGE_SIZE, 2 * pm.PAGE_SIZE], cpus=1)
    app = machine.spawn()
    heap = app.mmap(4 * pm.PAGE_SIZE)
    app.touch(heap)
    status = np.full(4, 99, np.int32)
    result = pm.syscalls.move_pages(app, 0, 4, heap.addresses, np.full(4, 1, np.int32), status, 2)
    assert (result, status.tolist()) == (-errno.ENOMEM, [99] * 4)
    assert app.nodes_of(heap).tolist() == [1, 1, 0, 0]
    machine.check()
    with pytest.raises(OSError, match="Cannot allocate memory") as failed:
        app.move_pages(heap, 1)
    assert failed.value.statuses.tolist() == []  # type: ignore[attr-defined]


def test_pages_of_one_call_may_go_to_different_nodes(app: pm.Task, heap: pm.Region) -> None:
    """One node a page, 400 at once."""
    wanted = np.array([(0, 1, 3)[page % 3] for page in range(400)], np.int32)
    assert app.move_pages(heap, wanted).tolist() == wanted.tolist()
    assert app.nodes_of(heap).tolist() == wanted.tolist()
    assert app.move_pages(heap).tolist() == wanted.tolist()


def test_asking_changes_nothing(machine: pm.Machine, app: pm.Task, heap: pm.Region) -> None:
    """Query mode neither drains nor moves, whatever the flags (syscalls 4)."""
    app.touch(app.mmap(pm.PAGE_SIZE))
    before = (machine.vmstat(), app.page_at(heap.start))
    status = np.full(1, 99, np.int32)
    root = machine.spawn()
    assert pm.syscalls.move_pages(root, app.pid, 1, heap[0].addresses, None, status, 4) == 0
    assert status.tolist() == [0]
    assert (machine.vmstat(), app.page_at(heap.start)) == before


def test_nothing_asked_is_nothing_answered(app: pm.Task, heap: pm.Region) -> None:
    """Empty regions and lists, in both modes."""
    for where in (heap[:0], [], np.empty(0, np.uint64)):
        assert app.move_pages(where, 1).tolist() == []
        assert app.move_pages(where).tolist() == []


def test_statuses_come_as_a_read_only_int32_array(app: pm.Task, heap: pm.Region) -> None:
    """For both modes."""
    for statuses in (app.move_pages(heap, 1), app.move_pages(heap)):
        assert statuses.dtype == np.int32
        assert not statuses.flags.writeable


@pytest.mark.parametrize(
    "arguments",
    [
        {"nodes": [1, 1]},
        {"nodes": [1.0] * 400},
        {"nodes": "1"},
        {"nodes": 1 << 31},
        {"nodes": 1.5},
        {"nodes": True},
        {"nodes": 1, "scope": 4},
        {"nodes": 1, "target": "app"},
        {"nodes": 1, "target": 1 << 31},
    ],
)
def test_arguments_that_make_no_sense_are_refused(
    app: pm.Task, heap: pm.Region, arguments: dict[str, object]
) -> None:
    """UsageError; nothing has moved."""
    with pytest.raises(pm.UsageError):
        app.move_pages(heap, **arguments)  # type: ignore[arg-type]
    assert set(app.nodes_of(heap).tolist()) == {0}
