"""Quirks of the batch and of its frames: Q01, Q02, Q03, Q04, Q06, Q07, Q32."""

from __future__ import annotations

import errno

import numpy as np
import pytest

import pagemig as pm

from .stepping import attempts, counts, finish, free, lru, pfn_at, pfns_in, reach, settle, waiting

F = pm.PageFlags
INACTIVE, ACTIVE, FILE = pm.LruList.INACTIVE_ANON, pm.LruList.ACTIVE_ANON, pm.LruList.INACTIVE_FILE
NEW = 64


def test_q01_ten_passes_are_made_for_a_page_that_stays_busy(
    machine: pm.Machine, app: pm.Task, page: pm.Region
) -> None:
    """Q01: no more, no fewer."""
    app.pin(page.start)
    result = machine.migrate_pages(pfns_in(app, page), pm.ToNode(1))
    assert result.passes == 10
    assert result.attempts.tolist() == [10]


def test_q01_the_first_three_passes_do_not_sleep_for_a_page_and_the_fourth_does(
    machine: pm.Machine, admin: pm.Task, app: pm.Task, page: pm.Region
) -> None:
    """Q01: passes 0, 1, 2 give a locked page up; pass 3 waits for the lock."""
    child = app.fork()
    call = pm.calls.move_pages([page.start], 1, target=app, scope=pm.MoveScope.SHARED)
    move = reach(machine, machine.start(call, by=admin), "UM-9")
    store = machine.start(pm.calls.touch(child.same(page)), by=child)
    while store.step():
        pass
    reach(machine, move, "UM-16")
    store.step()
    attempts(machine, move, 3)
    assert move.history.count("UM-3") == 3
    while move.step():
        machine.check()
    assert move.waiting_for == pm.WaitFor("page_lock", 0, store.number)
    settle(machine)


def test_q02_a_freed_page_stays_on_the_list_and_costs_a_frame_in_every_further_pass(
    machine: pm.Machine, admin: pm.Task, app: pm.Task, heap: pm.Region
) -> None:
    """Q02: one page is freed while isolated, another keeps the passes going."""
    child = app.fork()
    app.pin(heap[1].start)
    addresses = [heap[0].start, heap[1].start]
    call = pm.calls.move_pages(addresses, 1, target=app, scope=pm.MoveScope.SHARED)
    move = reach(machine, machine.start(call, by=admin), "MP-1")
    app.touch(heap[0])
    child.exit()
    taken = free(machine, 1)
    attempts(machine, move, 20)
    assert taken - free(machine, 1) == 20
    assert waiting(machine)[FILE] == [NEW + 2 * at for at in range(10)]
    assert waiting(machine)[INACTIVE] == [NEW + 1 + 2 * at for at in range(10)]
    reach(machine, move, "MP-5")
    assert machine.zone_counters(0)["nr_isolated_anon"] == 2
    assert counts(machine, 0) == (1, 0)
    finish(machine, move)
    assert move.result.tolist() == [1, -errno.EAGAIN]


def test_q03_one_failed_allocation_ends_the_whole_batch(
    machine: pm.Machine, app: pm.Task, heap: pm.Region
) -> None:
    """Q03: two frames for four pages: two move, the third gets none, the fourth is not tried."""
    hog = machine.spawn("hog")
    hog.set_mempolicy(pm.Policy(pm.PolicyMode.BIND, [1]))
    hog.touch(hog.mmap(62 * pm.PAGE_SIZE))
    machine.drain()
    machine.record()
    with pytest.raises(OSError, match="move_pages") as refused:
        app.move_pages(heap, 1)
    assert refused.value.errno == errno.ENOMEM
    assert app.nodes_of(heap).tolist() == [1, 1, 0, 0]
    assert [event.pfn for event in machine.trace if event.event == "attempt"] == [0, 1]
    assert machine.zone_counters(0)["nr_isolated_anon"] == 0


def test_q04_the_last_attempt_gives_the_result(machine: pm.Machine, app: pm.Task, page: pm.Region) -> None:
    """Q04: -EAGAIN (-11) is left by a page that stayed busy, a node by one that moved at last."""
    pfn = app.pin(page.start)
    assert pfn is not None
    assert app.move_pages(page, 1).tolist() == [-11]
    machine.drain()
    move = machine.start(pm.calls.move_pages(page, 1), by=app)
    attempts(machine, move, 9)
    app.unpin(pfn)
    assert finish(machine, move).result.tolist() == [1]


def test_q04_a_failed_allocation_does_not_write_the_result(
    machine: pm.Machine, app: pm.Task, page: pm.Region
) -> None:
    """Q04: three frames: three attempts say -EAGAIN, the fourth finds no frame and says nothing."""
    hog = machine.spawn("hog")
    hog.set_mempolicy(pm.Policy(pm.PolicyMode.BIND, [1]))
    hog.touch(hog.mmap(61 * pm.PAGE_SIZE))
    app.pin(page.start)
    machine.drain()
    result = machine.migrate_pages([0], pm.ByPage({0: 1}))
    assert result.error == errno.ENOMEM
    assert result.statuses.tolist() == [-errno.EAGAIN]


def test_q06_the_old_frame_is_free_only_after_a_drain(
    machine: pm.Machine, app: pm.Task, page: pm.Region
) -> None:
    """Q06: it sits in a pagevec with one reference until then."""
    app.move_pages(page, 1)
    assert counts(machine, 0) == (1, 0)
    assert waiting(machine)[INACTIVE] == [0]
    assert free(machine, 0) == 60
    machine.drain()
    assert counts(machine, 0) == (0, 0)
    assert free(machine, 0) == 61


def test_q07_a_moved_page_cannot_be_isolated_before_a_drain(
    machine: pm.Machine, app: pm.Task, page: pm.Region
) -> None:
    """Q07: it is in a pagevec, not on a list; another call drains first and can."""
    app.move_pages(page, 1)
    with pytest.raises(OSError, match="isolate"):
        machine.isolate(NEW)
    assert app.move_pages(page, 0).tolist() == [0]


def test_q07_a_later_chunk_of_the_same_call_finds_the_page_busy() -> None:
    """Q07: the page is in chunk 1 and, for another node, in chunk 2, which drains nothing."""
    machine = pm.Machine(nodes=[512 * pm.PAGE_SIZE] * 3, cpus=1)
    app = machine.spawn()
    region = app.mmap(169 * pm.PAGE_SIZE)
    app.touch(region[0])
    pages = [*region.addresses.tolist(), region.start, region.start]
    nodes = [1] * 169 + [2, 1]
    statuses = app.move_pages(pages, nodes)
    assert statuses[[0, 169, 170]].tolist() == [1, -errno.EBUSY, 1]
    assert app.nodes_of(region[0]).tolist() == [1]


def test_q32_frames_of_failed_attempts_wait_where_the_attempt_got_to(
    machine: pm.Machine, admin: pm.Task, app: pm.Task, page: pm.Region
) -> None:
    """Q32: INACTIVE_ANON after a failure inside MN, INACTIVE_FILE after one before; free after a drain."""
    child = app.fork()
    call = pm.calls.move_pages([page.start], 1, target=app, scope=pm.MoveScope.SHARED)
    move = reach(machine, machine.start(call, by=admin), "UM-9")
    store = machine.start(pm.calls.touch(child.same(page)), by=child)
    while store.step():
        pass
    reach(machine, move, "UM-16")
    store.step()
    attempts(machine, move, 2)
    assert (waiting(machine)[INACTIVE], waiting(machine)[FILE]) == ([NEW], [NEW + 1])
    assert machine.frame(NEW).flags == F.SWAPBACKED
    assert machine.frame(NEW + 1).flags == F(0)
    machine.drain()
    machine.check()
    assert (counts(machine, NEW), counts(machine, NEW + 1)) == ((0, 0), (0, 0))
    settle(machine)


def test_q32_a_batch_can_exhaust_a_small_node_by_itself() -> None:
    """Q32, S40: nine frames, one pinned page: the tenth attempt ends the batch with -ENOMEM."""
    machine = pm.Machine(nodes=[64 * pm.PAGE_SIZE, 9 * pm.PAGE_SIZE], cpus=1)
    app = machine.spawn()
    page = app.mmap(pm.PAGE_SIZE)
    app.touch(page)
    machine.drain()
    app.pin(page.start)
    status = np.full(1, 99, np.int32)
    nodes = np.ones(1, np.int32)
    assert pm.syscalls.move_pages(app, 0, 1, page.addresses, nodes, status, 2) == -errno.ENOMEM
    assert status.tolist() == [99]
    assert free(machine, 1) == 0
    machine.drain()
    assert free(machine, 1) == 9
    assert pfn_at(app, page.start) == 0
    assert lru(machine, 0, ACTIVE) == [0]
    machine.check()


def test_q32_fourteen_wasted_frames_drain_themselves(
    machine: pm.Machine, app: pm.Task, heap: pm.Region
) -> None:
    """Q32, data-model 4.2: two pinned pages waste 20 frames; the 14th fills the pagevec and all are freed."""
    for at in (0, 1):
        app.pin(heap[at].start)
    app.move_pages(heap[:2], 1)
    assert len(waiting(machine)[INACTIVE]) == 20 - 14
    assert free(machine, 1) == 64 - 6
