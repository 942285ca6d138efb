"""The steps of one page's move: UM, MN, MM-1 and MG, for anonymous memory; MC has a file of its own."""

from __future__ import annotations

import errno

import pytest

import pagemig as pm

from .stepping import (
    attempts,
    block,
    counts,
    finish,
    free,
    lru,
    never_reaches,
    pfn_at,
    reach,
    settle,
    waiting,
)

F = pm.PageFlags
OLD, NEW = 0, 64
SHARED = pm.MoveScope.SHARED
INACTIVE, ACTIVE, FILE = pm.LruList.INACTIVE_ANON, pm.LruList.ACTIVE_ANON, pm.LruList.INACTIVE_FILE


@pytest.fixture
def child(app: pm.Task, heap: pm.Region) -> pm.Task:
    """A child that shares the heap copy-on-write, and whose memory no mover here locks."""
    return app.fork("child")


@pytest.fixture
def mover(machine: pm.Machine, admin: pm.Task, app: pm.Task, child: pm.Task, page: pm.Region) -> pm.Call:
    """A move of app's first page, which the child maps too, by a third task."""
    return machine.start(pm.calls.move_pages([page.start], 1, target=app, scope=SHARED), by=admin)


def let_go(app: pm.Task, child: pm.Task, page: pm.Region) -> None:
    """Let all users of the page drop it: the parent by copying, the child by unmapping."""
    app.touch(page)
    child.munmap(child.same(page))


def hold_page_lock(machine: pm.Machine, mover: pm.Call, child: pm.Task, page: pm.Region) -> pm.Call:
    """Let a store of the child own the page lock after the first attempt; it stops there (S12)."""
    reach(machine, mover, "UM-9")
    store = machine.start(pm.calls.touch(child.same(page)), by=child)
    assert block(machine, store) == pm.WaitFor("page_lock", OLD, mover.number)
    reach(machine, mover, "UM-16")
    assert store.step()
    assert F.LOCKED in machine.frame(OLD).flags
    return store


# UM ----------------------------------------------------------------------------------------


def test_without_a_frame_the_page_stays_isolated_until_the_batch_ends(
    machine: pm.Machine, app: pm.Task
) -> None:
    """UM-1: -ENOMEM at once: page not locked, not unmapped, still on the list; PB puts it back."""
    region = app.mmap(pm.PAGE_SIZE)
    app.touch(region)
    app.set_mempolicy(pm.Policy(pm.PolicyMode.BIND, [1]))
    app.touch(app.mmap(64 * pm.PAGE_SIZE))
    machine.drain()
    move = machine.start(pm.calls.move_pages(region, 1), by=app)
    assert never_reaches(machine, move, "UM-3")
    reach(machine, move, "MP-5")
    assert machine.zone_counters(0)["nr_isolated_anon"] == 1
    assert machine.frame(OLD).flags == F.UPTODATE | F.SWAPBACKED | F.ACTIVE
    assert counts(machine, OLD) == (2, 1)
    finish(machine, move)
    assert waiting(machine) == {ACTIVE: [OLD]}


def test_a_frame_is_taken_even_for_a_page_that_turns_out_to_be_free(
    machine: pm.Machine, app: pm.Task, child: pm.Task, mover: pm.Call, page: pm.Region
) -> None:
    """UM-2, S16: count 1: neither locked nor put back; frame to INACTIVE_FILE; status its node."""
    reach(machine, mover, "MP-1")
    let_go(app, child, page)
    assert counts(machine, OLD) == (1, 0)
    assert never_reaches(machine, mover, "UM-3")
    reach(machine, mover, "UM-17")
    assert free(machine, 1) == 63
    reach(machine, mover, "MP-5")
    assert waiting(machine)[FILE] == [NEW]
    assert machine.zone_counters(0)["nr_isolated_anon"] == 1
    finish(machine, mover)
    assert mover.result.tolist() == [1]
    assert machine.zone_counters(0)["nr_isolated_anon"] == 0
    machine.drain()
    assert free(machine, 1) == 64


def test_a_locked_page_is_left_alone_in_the_first_three_passes(
    machine: pm.Machine, child: pm.Task, mover: pm.Call, page: pm.Region
) -> None:
    """UM-3, S11, Q32: the try-lock fails, no entry is touched, the frame goes to INACTIVE_FILE."""
    store = hold_page_lock(machine, mover, child, page)
    attempts(machine, mover, 3)
    assert waiting(machine)[FILE] == [NEW + 1, NEW + 2]
    assert waiting(machine)[INACTIVE] == [NEW]
    assert child.entry_at(page.start).kind is pm.EntryKind.PRESENT
    wait = block(machine, mover)
    assert (mover.at, wait) == ("UM-3", pm.WaitFor("page_lock", OLD, store.number))
    settle(machine)
    assert mover.result.tolist() == [1]


def test_a_page_without_a_mapping_skips_unmapping(
    machine: pm.Machine, admin: pm.Task, child: pm.Task, mover: pm.Call, page: pm.Region
) -> None:
    """UM-8: the shell of a moved page that a waiter still holds, isolated again: UM-9 does not happen.

    Method: a reader sleeps on the old page through the whole move (S08), so that a drain puts
    the shell on a list with `mapping` null. With the reader's reference MM-1 says -EAGAIN.
    """
    reach(machine, mover, "MC-1")
    reader = machine.start(pm.calls.touch(child.same(page), write=False), by=child)
    block(machine, reader)
    finish(machine, mover)
    machine.drain()
    shell = machine.frame(OLD)
    assert (shell.count, shell.mapcount, shell.owner, shell.lru) == (1, 0, None, INACTIVE)
    before = machine.cost["unmaps"]
    result = machine.migrate_pages([OLD], pm.ToNode(1))
    assert (result.not_migrated, result.statuses.tolist()) == (1, [-errno.EAGAIN])
    assert machine.cost["unmaps"] == before
    settle(machine)
    machine.drain()
    assert counts(machine, OLD) == (0, 0)


def test_every_mapper_gets_a_migration_entry_one_after_the_other(
    machine: pm.Machine, app: pm.Task, child: pm.Task, mover: pm.Call, page: pm.Region
) -> None:
    """UM-9: parent before child; each entry replaced takes a reference and a map count with it."""
    reach(machine, mover, "UM-9")
    seen = [counts(machine, OLD)]
    while mover.at == "UM-9":
        mover.step()
        machine.check()
        kinds = tuple(task.entry_at(page.start).kind.name for task in (app, child))
        if (counts(machine, OLD), kinds) != seen[-1]:
            seen.append((counts(machine, OLD), kinds))
    assert [state for state in seen if len(state) == 2 and isinstance(state[1], tuple)] == [
        ((3, 2), ("PRESENT", "PRESENT")),
        ((2, 1), ("MIGRATION", "PRESENT")),
        ((1, 0), ("MIGRATION", "MIGRATION")),
    ]
    settle(machine)


def test_unmapping_ignores_mlock_and_recent_use(machine: pm.Machine, app: pm.Task, page: pm.Region) -> None:
    """UM-9: both IGNORE flags: a locked, recently used page is unmapped like any other."""
    app.mlock(page)
    assert app.entry_at(page.start).accessed
    assert app.move_pages(page, 1).tolist() == [1]


def test_a_page_that_lost_its_users_under_the_lock_moves_without_entries(
    machine: pm.Machine, app: pm.Task, child: pm.Task, mover: pm.Call, page: pm.Region
) -> None:
    """UM-7, UM-10, UM-12, S17: freed between UM-2 and UM-9: nothing to unmap, copied all the same, 0."""
    reach(machine, mover, "UM-3")
    let_go(app, child, page)
    assert counts(machine, OLD) == (1, 0)
    before = machine.cost["unmaps"]
    reach(machine, mover, "MC-1")
    assert machine.cost["unmaps"] == before
    reach(machine, mover, "UM-17")
    assert waiting(machine)[INACTIVE] == [OLD]
    finish(machine, mover)
    assert mover.result.tolist() == [1]
    assert counts(machine, NEW) == (1, 0)
    machine.drain()
    assert (counts(machine, OLD), counts(machine, NEW)) == ((0, 0), (0, 0))
    assert free(machine, 1) == 64


def test_a_failed_attempt_gives_the_entries_back_before_it_unlocks(
    machine: pm.Machine, app: pm.Task, page: pm.Region
) -> None:
    """UM-11, UM-15: entries present again while the page is still locked; then it is unlocked."""
    app.pin(page.start)
    move = machine.start(pm.calls.move_pages(page, 1), by=app)
    reach(machine, move, "UM-15")
    assert app.entry_at(page.start).kind is pm.EntryKind.PRESENT
    assert F.LOCKED in machine.frame(OLD).flags
    reach(machine, move, "UM-16")
    assert F.LOCKED not in machine.frame(OLD).flags
    finish(machine, move)


def test_only_a_page_that_may_be_retried_stays_on_the_list(
    machine: pm.Machine, app: pm.Task, heap: pm.Region
) -> None:
    """UM-16: -EAGAIN stays isolated; a moved page leaves: counter -1, inactive pagevec, one reference."""
    app.pin(heap.start)
    move = machine.start(pm.calls.move_pages(heap[:2], 1), by=app)
    attempts(machine, move, 1)
    assert (machine.zone_counters(0)["nr_isolated_anon"], counts(machine, 0)) == (2, (3, 1))
    attempts(machine, move, 1)
    assert (machine.zone_counters(0)["nr_isolated_anon"], counts(machine, 1)) == (1, (1, 0))
    assert waiting(machine)[INACTIVE] == [NEW, 1]
    finish(machine, move)


def test_the_isolated_counter_is_the_old_zones(machine: pm.Machine, app: pm.Task, page: pm.Region) -> None:
    """UM-16: the counter of node 1 is never touched."""
    move = machine.start(pm.calls.move_pages(page, 1), by=app)
    while not move.done:
        assert machine.zone_counters(1)["nr_isolated_anon"] == 0
        assert machine.zone_counters(0)["nr_isolated_file"] == 0
        move.step()


def test_a_locked_page_goes_straight_to_the_unevictable_list(
    machine: pm.Machine, app: pm.Task, page: pm.Region
) -> None:
    """UM-17: PG_mlocked came over with MC-6, so no pagevec is involved; count 1."""
    app.mlock(page)
    move = machine.start(pm.calls.move_pages(page, 1), by=app)
    reach(machine, move, "MP-3")
    assert lru(machine, 1, pm.LruList.UNEVICTABLE) == [NEW]
    assert counts(machine, NEW) == (1, 1)
    assert waiting(machine) == {INACTIVE: [OLD]}
    finish(machine, move)


def test_the_result_of_an_attempt_overwrites_the_one_before(
    machine: pm.Machine, app: pm.Task, page: pm.Region
) -> None:
    """UM-18, Q04: -EAGAIN of the first attempt, then the node of the second."""
    pfn = app.pin(page.start)
    assert pfn is not None
    move = machine.start(pm.calls.move_pages(page, 1), by=app)
    attempts(machine, move, 1)
    app.unpin(pfn)
    finish(machine, move)
    assert move.result.tolist() == [1]


# MN, MM-1, MG ------------------------------------------------------------------------------


def test_the_new_page_takes_the_old_ones_name_under_lock(
    machine: pm.Machine, app: pm.Task, page: pm.Region
) -> None:
    """MN-1, MN-2, MN-3, MG-2: locked; `mapping`, `index` and PG_swapbacked as the old page has them."""
    move = machine.start(pm.calls.move_pages(page, 1), by=app)
    reach(machine, move, "MN-1")
    assert machine.frame(NEW).owner is None
    reach(machine, move, "MC-1")
    old, new = machine.frame(OLD), machine.frame(NEW)
    assert (new.owner, new.index, new.flags) == (old.owner, old.index, F.LOCKED | F.SWAPBACKED)
    finish(machine, move)


def test_a_page_with_another_holder_does_not_move(machine: pm.Machine, app: pm.Task, page: pm.Region) -> None:
    """MM-1: the count must be exactly 1; with a pin it is 2: -EAGAIN, and MC never runs."""
    app.pin(page.start)
    move = machine.start(pm.calls.move_pages(page, 1), by=app)
    reach(machine, move, "MM-1")
    assert counts(machine, OLD) == (2, 0)
    assert never_reaches(machine, move, "MC-1")
    finish(machine, move)
    assert move.result.tolist() == [-errno.EAGAIN]


def test_a_failed_move_leaves_the_new_page_half_named(
    machine: pm.Machine, app: pm.Task, page: pm.Region
) -> None:
    """MN-4, MN-5: `mapping` null again, PG_swapbacked and `index` stay, unlocked."""
    app.pin(page.start)
    move = machine.start(pm.calls.move_pages(page, 1), by=app)
    attempts(machine, move, 1)
    new = machine.frame(NEW)
    assert (new.owner, new.index, new.flags) == (None, page.start // pm.PAGE_SIZE, F.SWAPBACKED)
    assert waiting(machine) == {INACTIVE: [NEW]}
    finish(machine, move)


def test_the_new_page_is_mapped_before_it_is_unlocked(
    machine: pm.Machine, app: pm.Task, child: pm.Task, mover: pm.Call, page: pm.Region
) -> None:
    """MN-4, MN-5, S09: a store through a restored read-only entry waits for the new page, then copies."""
    reach(machine, mover, "MN-5")
    assert counts(machine, NEW) == (3, 2)
    store = machine.start(pm.calls.touch(child.same(page)), by=child)
    assert block(machine, store) == pm.WaitFor("page_lock", NEW, mover.number)
    mover.step()
    assert store.step()
    settle(machine)
    assert mover.result.tolist() == [1]
    assert counts(machine, NEW) == (2, 1)
    assert pfn_at(child, page.start) != NEW
