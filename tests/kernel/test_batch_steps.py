"""The steps of the batch: MP and PB."""

from __future__ import annotations

import errno

import pytest

import pagemig as pm

from .stepping import attempts, counts, finish, free, never_reaches, pfns_in, reach, settle, waiting

INACTIVE, ACTIVE, FILE = pm.LruList.INACTIVE_ANON, pm.LruList.ACTIVE_ANON, pm.LruList.INACTIVE_FILE
NEW = 64


def test_a_pass_walks_the_list_from_head_to_tail(machine: pm.Machine, app: pm.Task, heap: pm.Region) -> None:
    """MP-2: pages are tried in the order in which they were listed; others may run in between."""
    backwards = heap.addresses[::-1]
    move = machine.start(pm.calls.move_pages(backwards, 1), by=app)
    for moved in range(1, 5):
        attempts(machine, move, 1)
        assert app.nodes_of(heap).tolist() == [0] * (4 - moved) + [1] * moved
    finish(machine, move)
    assert waiting(machine)[INACTIVE] == [3, 2, 1, 0]


def test_a_pass_goes_over_what_is_left_of_the_list(
    machine: pm.Machine, app: pm.Task, heap: pm.Region
) -> None:
    """MP-2: the second pass tries the pinned pages only, again in order; tolerant of removals."""
    for at in (1, 3):
        app.pin(heap[at].start)
    machine.record()
    move = machine.start(pm.calls.move_pages(heap, 1), by=app)
    finish(machine, move)
    tried = [event.pfn for event in machine.trace if event.event == "attempt"]
    assert tried == [0, 1, 2, 3] + [1, 3] * 9
    assert move.result.tolist() == [1, -errno.EAGAIN, 1, -errno.EAGAIN]


def test_passes_end_when_nobody_asks_for_another(machine: pm.Machine, app: pm.Task, heap: pm.Region) -> None:
    """MP-2, MP-3, MP-6: one pass, no error, nothing left: 0."""
    result = machine.migrate_pages(pfns_in(app, heap), pm.ToNode(1))
    assert (result.not_migrated, result.error, result.passes) == (0, None, 1)
    assert result.attempts.tolist() == [1] * 4


def test_a_page_that_is_let_go_in_time_moves_in_a_later_pass(
    machine: pm.Machine, app: pm.Task, page: pm.Region
) -> None:
    """MP-2, Q01: seven failures and then success is success."""
    pfn = app.pin(page.start)
    assert pfn is not None
    move = machine.start(pm.calls.move_pages(page, 1), by=app)
    attempts(machine, move, 7)
    app.unpin(pfn)
    finish(machine, move)
    assert move.result.tolist() == [1]
    assert move.history.count("UM-3") == 8


def test_the_count_is_of_pages_that_stayed(machine: pm.Machine, app: pm.Task, heap: pm.Region) -> None:
    """MP-6: permanent failures and those still retryable in the last pass."""
    for at in (0, 2):
        app.pin(heap[at].start)
    result = machine.migrate_pages(pfns_in(app, heap), pm.ToNode(1))
    assert (result.not_migrated, result.error, result.passes) == (2, None, 10)
    assert result.statuses.tolist() == [-errno.EAGAIN, 1, -errno.EAGAIN, 1]


def test_lack_of_frames_ends_the_batch_in_any_pass(
    machine: pm.Machine, app: pm.Task, heap: pm.Region
) -> None:
    """MP-2, MP-3, MP-6, Q03: -ENOMEM instead of the count; everything goes back (MP-5)."""
    hog = machine.spawn("hog")
    hog.set_mempolicy(pm.Policy(pm.PolicyMode.BIND, [1]))
    hog.touch(hog.mmap(58 * pm.PAGE_SIZE))
    app.pin(heap.start)
    machine.drain()
    pfns = pfns_in(app, heap)
    result = machine.migrate_pages(pfns, pm.ByPage(dict.fromkeys(pfns, 1)))
    assert (result.not_migrated, result.error) == (None, errno.ENOMEM)
    assert (result.passes, result.frames_discarded) == (4, 3)
    assert result.attempts.tolist() == [3, 1, 1, 1]
    assert result.statuses.tolist() == [-errno.EAGAIN, 1, 1, 1]
    assert machine.zone_counters(0)["nr_isolated_anon"] == 0
    assert free(machine, 1) == 0


def test_what_is_left_is_put_back_page_by_page(machine: pm.Machine, app: pm.Task, heap: pm.Region) -> None:
    """MP-5, PB-1, PB-2, PB-3: head to tail; each leaves the list, lowers the counter, goes to its pagevec."""
    for part in heap:
        app.pin(part.start)
    move = machine.start(pm.calls.move_pages(heap[:3], 1), by=app)
    reach(machine, move, "MP-5")
    for done in range(4):
        assert machine.zone_counters(0)["nr_isolated_anon"] == 3 - done
        assert waiting(machine).get(ACTIVE, []) == [0, 1, 2][:done]
        assert [counts(machine, pfn) for pfn in (0, 1, 2)] == [(3, 1)] * 3
        if done < 3:
            move.step()
            machine.check()
    finish(machine, move)


def test_a_freed_page_is_freed_by_the_drain_after_it_was_put_back(
    machine: pm.Machine, admin: pm.Task, app: pm.Task, page: pm.Region
) -> None:
    """PB-3, S16: the isolation reference becomes the pagevec's, and that was the last."""
    child = app.fork()
    move = machine.start(
        pm.calls.move_pages([page.start], 1, target=app, scope=pm.MoveScope.SHARED), by=admin
    )
    reach(machine, move, "MP-1")
    app.touch(page)
    child.exit()
    finish(machine, move)
    assert counts(machine, 0) == (1, 0)
    assert 0 in waiting(machine)[ACTIVE]
    machine.drain()
    assert counts(machine, 0) == (0, 0)


def test_the_list_is_empty_afterwards_whatever_happened(
    machine: pm.Machine, app: pm.Task, heap: pm.Region
) -> None:
    """MP-5, I-120, I-122: nothing isolated; every page is in a pagevec, on a list, or free."""
    app.pin(heap.start)
    app.mlock(heap[1])
    app.move_pages(heap, 1)
    for node in (0, 1):
        zone = machine.zone_counters(node)
        assert (zone["nr_isolated_anon"], zone["nr_isolated_file"]) == (0, 0)
    machine.drain()
    machine.check()
    assert all(machine.frame(pfn).lru is not None for pfn in pfns_in(app, heap))


@pytest.mark.parametrize("patient", [0, 1, 2])
def test_patient_passes_do_not_wait(
    machine: pm.Machine, admin: pm.Task, app: pm.Task, page: pm.Region, patient: int
) -> None:
    """MP-2, Q01: force is pass > 2: passes 0, 1, 2 go on past a locked page; pass 3 sleeps."""
    child = app.fork()
    move = machine.start(
        pm.calls.move_pages([page.start], 1, target=app, scope=pm.MoveScope.SHARED), by=admin
    )
    reach(machine, move, "UM-9")
    store = machine.start(pm.calls.touch(child.same(page)), by=child)
    while store.step():
        pass
    reach(machine, move, "UM-16")
    store.step()
    attempts(machine, move, patient + 1)
    assert never_reaches(machine, move, "UM-4") or patient < 2
    settle(machine)
    assert move.result.tolist() == [1]
    assert (FILE in waiting(machine)) == (patient > 0)
