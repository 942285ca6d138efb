"""Q21: a mapping that moves can carry a migration entry past the walk that is to find it (S34)."""

from __future__ import annotations

import pytest

import pagemig as pm
from tests.kernel.stepping import block, cached, finish, reach, settle

EXACT, REPAIRED = pm.Profile.EXACT, pm.Profile.REPAIRED
MIGRATION, PRESENT = pm.EntryKind.MIGRATION, pm.EntryKind.PRESENT
OLD, NEW = 0, 64
HERE, THERE = 0x400000, 0x800000


def a_machine(profile: pm.Profile) -> tuple[pm.Machine, pm.Task, pm.Task]:
    """A machine of a profile, a task with memory, and one that moves frames."""
    machine = pm.Machine(nodes=[64 * pm.PAGE_SIZE] * 2, cpus=1, contents=True, profile=profile)
    return machine, machine.spawn("app"), machine.spawn("mover", stack=False)


def a_move(machine: pm.Machine, by: pm.Task, pfn: int = OLD) -> pm.Call:
    """A move of a frame by somebody who holds no ``mmap_sem``."""
    return machine.start(pm.calls.migrate_frames([pfn], pm.ToNode(1)), by=by)


def found_by_the_audit(machine: pm.Machine) -> set[str]:
    """The invariants that do not hold."""
    return {invariant for finding in machine.audit() for invariant in finding.invariants.split()}


def to_the_end(call: pm.Call) -> None:
    """Step a call to its end without audits: an invariant is broken on purpose."""
    while not call.done:
        assert call.step(), f"{call!r} waits for {call.waiting_for}"


def page_at(machine: pm.Machine, app: pm.Task) -> pm.Region:
    """A page of anonymous memory on frame 0."""
    page = app.mmap(pm.PAGE_SIZE, at=HERE)
    app.write(page.start, b"bytes")
    machine.drain()
    return page


def test_s34_both_looks_can_fall_into_the_instant_between_two_tables() -> None:
    """Q21, S34, RP-2, I-20: cleared here, not stored there yet; both peeks see nothing; the entry stays."""
    machine, app, mover = a_machine(EXACT)
    page = page_at(machine, app)
    move = reach(machine, a_move(machine, mover), "MN-4")
    remap = reach(machine, machine.start(pm.calls.mremap(page, to=THERE), by=app), "SP6-carry")
    assert [app.entry_at(at).kind for at in (HERE, THERE)] == [pm.EntryKind.NONE] * 2
    to_the_end(move)
    to_the_end(remap)
    assert move.result.statuses.tolist() == [1]
    entry = app.entry_at(THERE)
    assert (entry.kind, entry.pfn) == (MIGRATION, OLD)
    assert "I-20" in found_by_the_audit(machine)
    assert (machine.frame(NEW).mapcount, app.counters.anon) == (0, 1)


def test_s34_in_repaired_the_walk_waits_for_the_tables() -> None:
    """S34, Q21 off: the mover of tables owns the list of areas; the walk of MN-4 begins when it is done."""
    machine, app, mover = a_machine(REPAIRED)
    page = page_at(machine, app)
    move = reach(machine, a_move(machine, mover), "MN-4")
    remap = reach(machine, machine.start(pm.calls.mremap(page, to=THERE), by=app), "SP6-carry")
    wait = block(machine, move)
    assert (wait.lock, wait.holder) == ("anon_vma_lock", remap.number)
    settle(machine)
    assert move.result.statuses.tolist() == [1]
    assert (app.entry_at(THERE).kind, app.entry_at(THERE).pfn) == (PRESENT, NEW)
    assert app.read(THERE, 5) == b"bytes"
    assert machine.drift == ()


def merging(profile: pm.Profile) -> tuple[pm.Machine, pm.Task, pm.Call, pm.Region]:
    """A page that is to go back to where it came from, into an area that every list has before its own.

    Method: of two pages the second is moved away, which makes an area behind the first on their list;
    then it is moved back, and merges. Frame 1 is on its way when that begins.
    """
    machine, app, mover = a_machine(profile)
    pair = app.mmap(2 * pm.PAGE_SIZE, at=HERE)
    for page in pair:
        app.write(page.start, b"bytes")
    away = app.mremap(pair[1], to=THERE)
    machine.drain()
    return machine, app, reach(machine, a_move(machine, mover, 1), "UM-10"), away


def test_s34_into_an_area_earlier_on_the_list_the_whole_walk_is_the_window() -> None:
    """Q21, S34, I-20: the walk looks there before the entry comes, and here after it has gone."""
    machine, app, move, away = merging(EXACT)
    remap = machine.start(pm.calls.mremap(away, to=HERE + pm.PAGE_SIZE), by=app)
    reach(machine, remap, "SP6-move")
    reach(machine, move, "RP-1")
    assert move.step()
    while app.entry_at(HERE + pm.PAGE_SIZE).kind is not MIGRATION:
        assert remap.step()
    to_the_end(move)
    to_the_end(remap)
    entry = app.entry_at(HERE + pm.PAGE_SIZE)
    assert (entry.kind, entry.pfn, move.result.statuses.tolist()) == (MIGRATION, 1, [1])
    assert "I-20" in found_by_the_audit(machine)


def test_s34_in_repaired_the_tables_wait_for_the_walk() -> None:
    """S34, Q21 off: once the walk has begun no entry is carried away from it."""
    machine, app, move, away = merging(REPAIRED)
    remap = machine.start(pm.calls.mremap(away, to=HERE + pm.PAGE_SIZE), by=app)
    reach(machine, remap, "SP6-move")
    reach(machine, move, "RP-1")
    assert move.step()
    wait = block(machine, remap)
    assert (wait.lock, wait.holder) == ("anon_vma_lock", move.number)
    settle(machine)
    assert app.entry_at(HERE + pm.PAGE_SIZE).pfn == NEW
    assert app.read(HERE + pm.PAGE_SIZE, 5) == b"bytes"


@pytest.mark.parametrize("profile", [EXACT, REPAIRED], ids=["exact", "repaired"])
def test_s34_files_are_safe_in_either_profile(profile: pm.Profile) -> None:
    """S34: ``i_mmap_lock`` is held around each table, and the walk needs it."""
    machine, app, mover = a_machine(profile)
    _, area = cached(machine, app, pm.FileSystem("plain"))
    move = reach(machine, a_move(machine, mover), "MN-4")
    remap = reach(machine, machine.start(pm.calls.mremap(area, to=THERE), by=app), "SP6-carry")
    wait = block(machine, move)
    assert (wait.lock, wait.holder) == ("i_mmap_lock", remap.number)
    settle(machine)
    assert (app.entry_at(THERE).pfn, move.result.statuses.tolist()) == (NEW, [1])


@pytest.mark.parametrize("profile", [EXACT, REPAIRED], ids=["exact", "repaired"])
def test_s34_a_task_whose_memory_is_locked_by_the_mover_cannot_do_it(profile: pm.Profile) -> None:
    """S34: ``move_pages`` holds ``mmap_sem``, so that mremap of that memory waits for the end."""
    machine, app, _ = a_machine(profile)
    page = page_at(machine, app)
    move = reach(machine, machine.start(pm.calls.move_pages(page, 1), by=app), "MN-4")
    remap = machine.start(pm.calls.mremap(page, to=THERE), by=app)
    wait = block(machine, remap)
    assert (wait.lock, wait.holder) == ("mmap_sem", move.number)
    finish(machine, move)
    finish(machine, remap)
    assert app.entry_at(THERE).pfn == NEW


@pytest.mark.parametrize("profile", [EXACT, REPAIRED], ids=["exact", "repaired"])
def test_s34_without_the_instant_a_plain_move_strands_nothing(profile: pm.Profile) -> None:
    """S34: the area at the destination is behind the source, so a mover that does not stop is harmless.

    Method: at every step of the restoring walk, on a clone, the whole mremap at once.
    """
    machine, app, mover = a_machine(profile)
    page = page_at(machine, app)
    move = reach(machine, a_move(machine, mover), "UM-10")
    while not move.done:
        twin = machine.clone()
        remap = twin.start(pm.calls.mremap(page, to=THERE), by=app.pid, granularity=pm.Granularity.COARSE)
        settle(twin)
        assert remap.result.start == THERE
        assert twin.task(app.pid).entry_at(THERE).kind is PRESENT
        move.step()
        machine.check()
