"""The steps that put entries back: RP, for anonymous memory."""

from __future__ import annotations

import errno

import pytest

import pagemig as pm

from .stepping import block, counts, finish, links, pfn_at, reach, settle

F = pm.PageFlags
OLD, NEW = 0, 64
SHARED = pm.MoveScope.SHARED
TABLE = 512 * pm.PAGE_SIZE


def test_an_area_without_page_tables_is_passed_over(machine: pm.Machine, admin: pm.Task) -> None:
    """RP-1: a child linked to the list of a page that it never mapped, in a table that it does not have."""
    app = machine.spawn("app")
    region = app.mmap(2 * TABLE, at=TABLE)
    first, second = region[0], region[512]
    app.touch(first)
    child = app.fork()
    app.touch(second)
    machine.drain()
    pfn = pfn_at(app, second.start)
    assert links(child, second.start)[-1] == machine.frame(pfn).owner.id
    move = machine.start(pm.calls.move_pages([second.start], 1, target=app), by=admin)
    assert finish(machine, move).result.tolist() == [1]
    assert child.entry_at(second.start).kind is pm.EntryKind.NONE
    assert counts(machine, pfn_at(app, second.start)) == (2, 1)


def test_an_entry_that_is_not_swap_type_is_passed_over(
    machine: pm.Machine, admin: pm.Task, app: pm.Task, page: pm.Region
) -> None:
    """RP-2: a child that has a copy of its own keeps it."""
    child = app.fork()
    view = child.same(page)
    child.touch(view)
    machine.drain()
    before = child.entry_at(view.start)
    move = machine.start(pm.calls.move_pages([page.start], 1, target=app), by=admin)
    assert finish(machine, move).result.tolist() == [1]
    assert child.entry_at(view.start) == before


def test_an_entry_that_goes_before_the_walk_is_passed_over(
    machine: pm.Machine, admin: pm.Task, app: pm.Task, page: pm.Region
) -> None:
    """RP-2, S19: a child unmaps in the window; only the parent's entry comes back."""
    child = app.fork()
    move = machine.start(pm.calls.move_pages([page.start], 1, target=app, scope=SHARED), by=admin)
    reach(machine, move, "MC-1")
    child.munmap(child.same(page))
    finish(machine, move)
    assert move.result.tolist() == [1]
    assert counts(machine, NEW) == (2, 1)
    assert child.entry_at(page.start).kind is pm.EntryKind.NONE


def test_an_entry_that_goes_while_the_walk_waits_for_its_table_is_passed_over(
    machine: pm.Machine, admin: pm.Task, app: pm.Task
) -> None:
    """RP-3: Method: a second mover holds the child's table; the child's munmap gets it before the first.

    So the first mover has seen the entry without the lock, and finds nothing once it has it.
    """
    other = machine.spawn("other", stack=False)
    first, second = (app.mmap(pm.PAGE_SIZE, at=at) for at in (0x10000, 0x20000))
    for region in (first, second):
        app.touch(region)
    child = app.fork()
    movers = [
        machine.start(pm.calls.move_pages([region.start], 1, target=app, scope=SHARED), by=task)
        for region, task in ((first, admin), (second, other))
    ]
    for mover in movers:
        reach(machine, mover, "RP-1")
    while machine.cost["restores"] == 0:
        movers[1].step()
    reach(machine, movers[1], "RP-4")
    wait = block(machine, movers[0])
    assert (wait.lock, wait.holder) == ("leaf_lock", movers[1].number)
    unmapping = machine.start(pm.calls.munmap(child.same(first)), by=child)
    reach(machine, unmapping, "SP6-zap")
    movers[1].step()
    assert unmapping.step()
    assert child.entry_at(first.start).kind is pm.EntryKind.NONE
    settle(machine)
    assert [mover.result.tolist() for mover in movers] == [[1], [1]]
    assert machine.frame(pfn_at(app, first.start)).mapcount == 1


def test_an_entry_that_names_another_page_is_passed_over(
    machine: pm.Machine, admin: pm.Task, app: pm.Task, page: pm.Region
) -> None:
    """RP-4: parent and child have different pages at the address, both on their way at once."""
    other = machine.spawn("other", stack=False)
    child = app.fork()
    child.touch(child.same(page))
    machine.drain()
    mine, theirs = pfn_at(app, page.start), pfn_at(child, page.start)
    assert mine != theirs
    first = machine.start(pm.calls.move_pages([page.start], 1, target=app), by=admin)
    second = machine.start(pm.calls.move_pages([page.start], 1, target=child), by=other)
    reach(machine, first, "UM-10")
    reach(machine, second, "UM-10")
    finish(machine, first)
    entry = child.entry_at(page.start)
    assert (entry.kind, entry.pfn) == (pm.EntryKind.MIGRATION, theirs)
    finish(machine, second)
    assert (first.result.tolist(), second.result.tolist()) == ([1], [1])
    assert child.page_at(page.start).node == 1


def test_a_restored_entry_takes_a_reference_and_a_map_count(
    machine: pm.Machine, admin: pm.Task, app: pm.Task, page: pm.Region
) -> None:
    """RP-5, RP-7, RP-8, RP-9: one each for every mapper; ANON_PAGES counts the first only."""
    app.fork()
    move = machine.start(pm.calls.move_pages([page.start], 1, target=app, scope=SHARED), by=admin)
    reach(machine, move, "RP-1")
    seen = [counts(machine, NEW)]
    while move.at != "MN-5":
        move.step()
        machine.check()
        if counts(machine, NEW) != seen[-1]:
            seen.append(counts(machine, NEW))
            assert machine.zone_counters(1)["nr_anon_pages"] == 1
    assert seen == [(1, 0), (2, 1), (3, 2)]
    finish(machine, move)


def test_a_read_entry_comes_back_read_only(
    machine: pm.Machine, admin: pm.Task, app: pm.Task, page: pm.Region
) -> None:
    """RP-6, Q13: copy-on-write leaves had no write bit; dirty and accessed are gone in any case."""
    child = app.fork()
    app.touch(page, write=False)
    move = machine.start(pm.calls.move_pages([page.start], 1, target=app, scope=SHARED), by=admin)
    reach(machine, move, "UM-10")
    assert {task.entry_at(page.start).raw for task in (app, child)} == {OLD * 512 + 60}
    finish(machine, move)
    for task in (app, child):
        entry = task.entry_at(page.start)
        assert (entry.pfn, entry.writable, entry.dirty, entry.accessed) == (NEW, False, False, False)
        assert entry.raw == (1 << 63) | NEW << 12 | 0b101


@pytest.mark.parametrize(
    ("protection", "bits"), [(pm.RW, 1 << 63 | 0b101), (pm.RX, 0b101), (pm.NONE, 1 << 8)]
)
def test_protection_is_that_of_the_area_at_the_time_of_restoring(
    machine: pm.Machine,
    admin: pm.Task,
    app: pm.Task,
    page: pm.Region,
    protection: pm.Protection,
    bits: int,
) -> None:
    """RP-6, S22: the child changes its protection while the entry is there."""
    child = app.fork()
    move = machine.start(pm.calls.move_pages([page.start], 1, target=app, scope=SHARED), by=admin)
    reach(machine, move, "UM-10")
    child.mprotect(child.same(page), protection)
    finish(machine, move)
    assert child.entry_at(page.start).raw == bits | NEW << 12
    assert app.entry_at(page.start).raw == (1 << 63) | NEW << 12 | 0b101


def test_the_first_restored_entry_names_the_oldest_anon_vma(
    machine: pm.Machine, admin: pm.Task, app: pm.Task, page: pm.Region
) -> None:
    """RP-8, Q14: a page born in a child's own anon_vma afterwards names the parent's."""
    child = app.fork()
    child.touch(child.same(page))
    machine.drain()
    own, oldest = links(child, page.start)
    assert child.page_at(page.start).owner.id == own
    move = machine.start(pm.calls.move_pages([page.start], 1, target=child), by=admin)
    finish(machine, move)
    moved = child.page_at(page.start)
    assert (moved.node, moved.owner.id, moved.index) == (1, oldest, page.start // pm.PAGE_SIZE)
    assert oldest == links(app, page.start)[-1]


def test_the_leaf_lock_is_let_go_after_each_entry(
    machine: pm.Machine, admin: pm.Task, app: pm.Task, page: pm.Region
) -> None:
    """RP-3, RP-10: a fault on the same table waits while the leaf is being replaced, and no longer."""
    move = machine.start(pm.calls.move_pages([page.start], 1, target=app), by=admin)
    reach(machine, move, "RP-4")
    fault = machine.start(pm.calls.touch(page, write=False), by=app)
    assert block(machine, fault).lock == "leaf_lock"
    move.step()
    machine.check()
    assert fault.step()
    settle(machine)
    assert move.result.tolist() == [1]
    assert fault.result.hits + fault.result.minor == 1


def test_entries_come_back_to_the_old_page_when_the_move_fails(
    machine: pm.Machine, app: pm.Task, page: pm.Region
) -> None:
    """RP-5 to RP-8 with new = old: same frame, one map count, and nothing of it on the other node."""
    app.pin(page.start)
    assert app.move_pages(page, 1).tolist() == [-errno.EAGAIN]
    assert pfn_at(app, page.start) == OLD
    assert counts(machine, OLD) == (3, 1)
    assert machine.zone_counters(1)["nr_anon_pages"] == 0
