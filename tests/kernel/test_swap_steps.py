"""Pages of the swap cache: where they differ from all others (Q12, Q14, Q15)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import pagemig as pm

from .stepping import (
    attempts,
    cached,
    counters,
    counts,
    finish,
    links,
    moved_between,
    reach,
)

F = pm.PageFlags
SWAP, PRESENT = pm.EntryKind.SWAP, pm.EntryKind.PRESENT
EXACT, REPAIRED = pm.Profile.EXACT, pm.Profile.REPAIRED
SHARED = pm.MoveScope.SHARED
NEW = 64
SLOT = pm.SwapEntry(0, 1)


@pytest.fixture(params=[EXACT], ids=lambda profile: profile.name)
def profile(request: pytest.FixtureRequest) -> pm.Profile:
    """EXACT, unless a test asks for both."""
    return request.param


@pytest.fixture
def machine(profile: pm.Profile) -> Iterator[pm.Machine]:
    """Two nodes of 64 frames, one CPU, real bytes, 16 slots of swap."""
    made = pm.Machine(
        nodes=[64 * pm.PAGE_SIZE] * 2, cpus=1, contents=True, profile=profile, swap=16 * pm.PAGE_SIZE
    )
    yield made
    made.check()


both = pytest.mark.parametrize("profile", [EXACT, REPAIRED], indirect=True, ids=["exact", "repaired"])


@pytest.fixture
def page(machine: pm.Machine, app: pm.Task) -> pm.Region:
    """One anonymous page, written and drained."""
    region = app.mmap(pm.PAGE_SIZE)
    app.write(region.start, b"bytes")
    machine.drain()
    return region


@pytest.fixture
def cached_page(machine: pm.Machine, app: pm.Task, page: pm.Region) -> pm.Region:
    """The same, swapped out and read back for a load: mapped, and in the swap cache."""
    assert app.swap_out(page) == 1
    assert app.touch(page, write=False).major == 1
    machine.drain()
    found = app.page_at(page.start)
    assert F.SWAPCACHE in found.flags
    assert (found.count, found.mapcount) == (2, 1)
    return page


def frame_of(app: pm.Task, page: pm.Region) -> int:
    """The frame that it maps."""
    found = app.page_at(page.start)
    assert found is not None
    return found.pfn


def a_move(machine: pm.Machine, by: pm.Task, pfn: int) -> pm.Call:
    """A move of a frame, through nobody's address space."""
    return machine.start(pm.calls.migrate_frames([pfn], pm.ToNode(1)), by=by)


# Q12 ---------------------------------------------------------------------------------------


def test_q12_unmapping_leaves_swap_entries(machine: pm.Machine, app: pm.Task, cached_page: pm.Region) -> None:
    """Q12, UM-9, E3: a user of the slot more, ANONPAGES - 1, SWAPENTS + 1; nothing is there to restore."""
    old = frame_of(app, cached_page)
    assert machine.swap_slot(SLOT) == pm.SwapSlot(uses=0, is_cached=True, is_shmem=False)
    move = reach(machine, a_move(machine, app, old), "UM-10")
    assert app.entry_at(cached_page.start).swap == SLOT
    assert machine.swap_slot(SLOT).uses == 1
    assert app.counters == pm.MemoryCounters(file=0, anon=0, swap=1)
    assert counts(machine, old) == (2, 0)
    restores = machine.cost["restores"]
    finish(machine, move)
    assert machine.cost["restores"] == restores
    assert (counts(machine, NEW), app.entry_at(cached_page.start).kind) == ((2, 0), SWAP)


def test_q12_a_failed_attempt_does_not_map_it_again_either(
    machine: pm.Machine, app: pm.Task, cached_page: pm.Region
) -> None:
    """Q12, UM-11: the swap entry stays, on failure as well; the next touch is a minor fault."""
    old = app.pin(cached_page.start)
    move = a_move(machine, app, old)
    attempts(machine, move, 1)
    assert (app.entry_at(cached_page.start).swap, counts(machine, old)) == (SLOT, (3, 0))
    app.unpin(old)
    touched = app.touch(cached_page, write=False)
    assert (touched.minor, touched.major, frame_of(app, cached_page)) == (1, 0, old)
    finish(machine, move)
    assert move.result.statuses.tolist() == [1]
    assert app.read(cached_page.start, 5) == b"bytes"


def test_q12_every_mapper_gets_a_swap_entry(
    machine: pm.Machine, app: pm.Task, cached_page: pm.Region
) -> None:
    """Q12, I-82: one use of the slot for each; the next touches take them back."""
    child = app.fork("child")
    move = a_move(machine, app, frame_of(app, cached_page))
    finish(machine, move)
    for task in (app, child):
        assert task.entry_at(cached_page.start).swap == SLOT
    assert machine.swap_slot(SLOT).uses == 2
    machine.drain()
    assert app.touch(cached_page, write=False).minor == 1
    assert (machine.swap_slot(SLOT).uses, counts(machine, NEW)) == (1, (2, 1))


def test_q14_a_page_that_is_mapped_again_from_the_swap_cache_names_the_oldest_anon_vma(
    machine: pm.Machine, app: pm.Task, page: pm.Region
) -> None:
    """Q14, supporting-paths 2.5: a child's own page, moved in the swap cache, ends with its parent's list."""
    child = app.fork("child")
    view = child.same(page)
    child.touch(view)
    machine.drain()
    own, oldest = links(child, page.start)
    assert child.page_at(page.start).owner.id == own
    child.swap_out(view)
    child.touch(view, write=False)
    machine.drain()
    assert child.page_at(page.start).owner.id == oldest
    finish(machine, a_move(machine, app, child.page_at(page.start).pfn))
    assert machine.frame(NEW).owner.id == oldest
    assert child.read(page.start, 5) == b"bytes"


# Q15 ---------------------------------------------------------------------------------------


@both
def test_q15_shmem_is_moved_for_an_anonymous_page_that_was_never_counted_in_it(
    machine: pm.Machine, app: pm.Task, cached_page: pm.Region, profile: pm.Profile
) -> None:
    """Q15, MM-10, I-53: -1 in the old zone, +1 in the new, and the ledger says so; 0 in REPAIRED."""
    move = reach(machine, a_move(machine, app, frame_of(app, cached_page)), "MM-7")
    before = counters(machine)
    move.step()
    machine.check()
    moved = {"nr_file_pages": 1} | ({"nr_shmem": 1} if profile is EXACT else {})
    assert moved_between(before, counters(machine)) == moved
    finish(machine, move)
    shown = [machine.zone_counters(node)["nr_shmem"] for node in (0, 1)]
    assert (shown, machine.vmstat()["nr_shmem"]) == ([-1, 1] if profile is EXACT else [0, 0], 0)
    drift = (pm.Drift("nr_shmem", 0, -1), pm.Drift("nr_shmem", 1, 1))
    assert machine.drift == (drift if profile is EXACT else ())


@both
def test_q15_and_for_a_page_of_shmem_that_was_taken_out_of_it(
    machine: pm.Machine, app: pm.Task, profile: pm.Profile
) -> None:
    """Q15, MM-10: reclaim lowered NR_SHMEM when it moved the page to the swap cache; back in its file, +1."""
    area = shmem_in_swap(machine, app)
    assert machine.vmstat()["nr_shmem"] == 0
    finish(machine, a_move(machine, app, 0))
    is_exact = profile is EXACT
    shown = [machine.zone_counters(node)["nr_shmem"] for node in (0, 1)]
    assert shown == ([-1, 1] if is_exact else [0, 0])
    assert app.touch(area, write=False).minor == 1
    shown = [machine.zone_counters(node)["nr_shmem"] for node in (0, 1)]
    assert shown == ([-1, 2] if is_exact else [0, 1])
    drift = (pm.Drift("nr_shmem", 0, -1), pm.Drift("nr_shmem", 1, 1))
    assert machine.drift == (drift if is_exact else ())


def shmem_in_swap(machine: pm.Machine, app: pm.Task) -> pm.Region:
    """A page of shmem on frame 0 that reclaim moved to the swap cache and that was written there.

    A pin keeps it from being written when its entry goes, so that it comes to the inactive list.
    """
    _, area = cached(machine, app, pm.filesystems.TMPFS, write=True)
    app.pin(area.start)
    assert app.swap_out(area) == 0
    app.unpin(0)
    for _ in range(2):
        machine.drain()
        machine.reclaim(0)
    assert machine.complete_io()
    machine.drain()
    assert machine.swap_slot(SLOT) == pm.SwapSlot(uses=1, is_cached=True, is_shmem=True)
    return area


def test_a_page_of_shmem_in_its_file_is_no_case_of_q15(machine: pm.Machine, app: pm.Task) -> None:
    """Q15, MM-10: counted, and moved rightly: no drift."""
    cached(machine, app, pm.filesystems.TMPFS)
    finish(machine, a_move(machine, app, 0))
    assert [machine.zone_counters(node)["nr_shmem"] for node in (0, 1)] == [0, 1]
    assert machine.drift == ()


def test_a_store_that_brings_a_page_back_keeps_the_leaf_until_it_has_tried_the_page_lock(
    machine: pm.Machine, app: pm.Task, page: pm.Region
) -> None:
    """2.5-8 and 2.4-2 are one step: who moves the page then finds one reference too many."""
    machine.set_swap_device(io_ticks=0)
    child = app.fork()
    app.swap_out(page.start)
    child.swap_out(page.start)
    store = machine.start(pm.calls.touch(page), by=app)
    assert store.run_until("SP2.5-6")
    assert store.labels[-2:] == ("SP2.4-1", "SP2.4-2")
    store.step()
    pfn = app.page_at(page.start).pfn  # type: ignore[union-attr]
    assert store.at == "SP2.4-5"
    assert machine.frame(pfn).count == 3
    moved = machine.start(pm.calls.migrate_frames([pfn], pm.ToNode(1)), by=child)
    moved.run()
    assert moved.result.statuses.tolist() == [-11]
    machine.run()
    assert store.result.cow == 1
