"""Quirks of entries that migration replaced: Q13, Q14, Q16, Q27."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import pagemig as pm

from .stepping import attempts, counts, finish, links, pfn_at, reach, settle

SHARED = pm.MoveScope.SHARED
OLD, NEW = 0, 64
EXACT, REPAIRED = pm.Profile.EXACT, pm.Profile.REPAIRED


@pytest.fixture(params=[EXACT], ids=lambda profile: profile.name)
def profile(request: pytest.FixtureRequest) -> pm.Profile:
    """EXACT, unless a test asks for both."""
    return request.param


@pytest.fixture
def machine(profile: pm.Profile) -> Iterator[pm.Machine]:
    """Two nodes of 64 frames, one CPU, of the profile that the test wants."""
    made = pm.Machine(nodes=[64 * pm.PAGE_SIZE] * 2, cpus=1, profile=profile)
    yield made
    made.check()


def shared_move(machine: pm.Machine, admin: pm.Task, app: pm.Task, page: pm.Region) -> pm.Call:
    """A move of app's page, which others map too."""
    return machine.start(pm.calls.move_pages([page.start], 1, target=app, scope=SHARED), by=admin)


both = pytest.mark.parametrize("profile", [EXACT, REPAIRED], indirect=True, ids=["exact", "repaired"])


def test_q13_a_restored_entry_is_never_dirty_and_never_accessed(
    machine: pm.Machine, app: pm.Task, page: pm.Region
) -> None:
    """Q13: after a move, and after an attempt that failed."""
    pfn = app.pin(page.start)
    assert pfn is not None
    move = machine.start(pm.calls.move_pages(page, 1), by=app)
    attempts(machine, move, 1)
    entry = app.entry_at(page.start)
    assert (entry.pfn, entry.writable, entry.dirty, entry.accessed) == (OLD, True, False, False)
    app.unpin(pfn)
    finish(machine, move)
    entry = app.entry_at(page.start)
    assert (entry.writable, entry.dirty, entry.accessed) == (True, False, False)


def test_q13_only_the_write_flavour_comes_back_writable(
    machine: pm.Machine, app: pm.Task, heap: pm.Region
) -> None:
    """Q13: an area that was made read-only and writable again has read-only leaves, and keeps them."""
    app.mprotect(heap[0], pm.R)
    app.mprotect(heap[0], pm.RW)
    assert not app.entry_at(heap.start).writable
    app.move_pages(heap[:2], 1)
    assert [app.entry_at(page.start).writable for page in heap[:2]] == [False, True]


def test_q14_a_restore_names_the_oldest_anon_vma_on_success(
    machine: pm.Machine, app: pm.Task, page: pm.Region
) -> None:
    """Q14: a grandchild's own page is found through the grandparent's anon_vma afterwards."""
    child = app.fork().fork()
    view = child.same(page)
    child.touch(view)
    machine.drain()
    chain = links(child, page.start)
    assert len(chain) == 3
    assert child.page_at(page.start).owner == pm.Owner(pm.OwnerKind.ANON, chain[0])
    assert child.move_pages(view, 1).tolist() == [1]
    assert child.page_at(page.start).owner == pm.Owner(pm.OwnerKind.ANON, chain[-1])


def test_q14_a_restore_names_the_oldest_anon_vma_on_failure_as_well(
    machine: pm.Machine, app: pm.Task, page: pm.Region
) -> None:
    """Q14: pinned, ten attempts, still on its frame, and yet re-pointed."""
    child = app.fork()
    child.touch(child.same(page))
    machine.drain()
    own, oldest = links(child, page.start)
    pfn = child.pin(page.start)
    move = machine.start(pm.calls.move_pages(child.same(page), 1), by=child)
    attempts(machine, move, 1)
    assert machine.frame(pfn).owner.id == oldest
    finish(machine, move)
    assert (own, oldest) == links(child, page.start)


def test_q14_a_page_in_an_area_with_one_link_keeps_its_anon_vma(
    machine: pm.Machine, app: pm.Task, page: pm.Region
) -> None:
    """Q14: own and oldest are the same."""
    owner = app.page_at(page.start).owner
    app.move_pages(page, 1)
    assert app.page_at(page.start).owner == owner


@both
def test_q16_unmapping_a_migration_entry_leaks_one_resident_page(
    machine: pm.Machine, admin: pm.Task, app: pm.Task, page: pm.Region, profile: pm.Profile
) -> None:
    """Q16, S19: a child unmaps its entry: counted still in EXACT, not in REPAIRED."""
    child = app.fork()
    move = reach(machine, shared_move(machine, admin, app, page), "UM-10")
    assert (child.rss, app.rss) == (4, 4)
    child.munmap(pm.Region(child, page.start, 4 * pm.PAGE_SIZE))
    machine.check()
    leaked = 1 if profile is EXACT else 0
    assert (child.counters.anon, child.rss) == (leaked, leaked)
    finish(machine, move)
    assert counts(machine, NEW) == (2, 1)
    assert child.counters.anon == leaked


@both
def test_q16_forking_over_a_migration_entry_makes_the_childs_rss_one_too_small(
    machine: pm.Machine, admin: pm.Task, app: pm.Task, page: pm.Region, profile: pm.Profile
) -> None:
    """Q16, S20: three leaves and an entry are copied: 3 in EXACT, 4 in REPAIRED; the entry comes back."""
    child = app.fork()
    move = reach(machine, shared_move(machine, admin, app, page), "UM-10")
    grandchild = child.fork()
    machine.check()
    assert grandchild.entry_at(page.start).kind is pm.EntryKind.MIGRATION
    missing = 1 if profile is EXACT else 0
    assert grandchild.counters.anon == 4 - missing
    finish(machine, move)
    assert counts(machine, NEW) == (4, 3)
    assert grandchild.counters.anon == 4 - missing
    grandchild.munmap(grandchild.same(page))
    assert grandchild.counters.anon == 3 - missing


@both
def test_q16_a_counter_below_the_truth_can_go_negative_and_reads_zero(
    machine: pm.Machine, admin: pm.Task, app: pm.Task, profile: pm.Profile
) -> None:
    """Q16, data-model 3.2: the only page of the grandchild was an entry when it was born."""
    page = app.mmap(pm.PAGE_SIZE)
    app.touch(page)
    machine.drain()
    child = app.fork()
    move = reach(machine, shared_move(machine, admin, app, page), "UM-10")
    grandchild = child.fork()
    finish(machine, move)
    grandchild.munmap(grandchild.same(page))
    machine.check()
    assert grandchild.counters.anon == (-1 if profile is EXACT else 0)
    assert grandchild.rss == 0
    assert "VmRSS:\t       0 kB" in grandchild.status()


@both
def test_q16_is_the_only_difference_between_the_profiles_here(
    machine: pm.Machine, app: pm.Task, heap: pm.Region, profile: pm.Profile
) -> None:
    """Spec README 5: an ordinary move, fork and unmap count alike in both."""
    child = app.fork()
    app.move_pages(heap, 1, scope=SHARED)
    child.munmap(child.same(heap[:2]))
    assert (app.counters.anon, child.counters.anon) == (4, 2)


@pytest.fixture
def writable(machine: pm.Machine, app: pm.Task, admin: pm.Task, page: pm.Region) -> tuple[pm.Call, pm.Task]:
    """A page that only a child still maps, writable, on its way while the mover locks the parent's memory.

    Method: shared after fork; once it is isolated the parent copies, and the child takes it over.
    """
    child = app.fork()
    move = reach(machine, shared_move(machine, admin, app, page), "MP-1")
    app.touch(page)
    child.touch(child.same(page))
    assert pfn_at(child, page.start) == OLD
    assert child.entry_at(page.start).writable
    return reach(machine, move, "UM-10"), child


def test_q27_a_write_entry_comes_back_writable(
    machine: pm.Machine, page: pm.Region, writable: tuple[pm.Call, pm.Task]
) -> None:
    """Q27: the write bit is the entry's."""
    move, child = writable
    assert child.entry_at(page.start).raw == OLD * 512 + 62
    finish(machine, move)
    assert move.result.tolist() == [1]
    assert child.entry_at(page.start).writable


@pytest.mark.parametrize("protection", [pm.R, pm.RWX, pm.NONE])
def test_q27_mprotect_makes_write_entries_read_entries_whatever_it_permits(
    machine: pm.Machine, page: pm.Region, writable: tuple[pm.Call, pm.Task], protection: pm.Protection
) -> None:
    """Q27, S22: also where the new protection permits stores; nothing comes back writable."""
    move, child = writable
    child.mprotect(child.same(page), protection)
    machine.check()
    assert child.entry_at(page.start).raw == OLD * 512 + 60
    finish(machine, move)
    assert not child.entry_at(page.start).writable
    result = child.touch(child.same(page))
    assert result.sigsegv.size == (protection is not pm.RWX)
    assert result.cow == (protection is pm.RWX)
    assert pfn_at(child, page.start) == NEW


def test_q27_mprotect_to_what_it_was_leaves_the_entry(
    machine: pm.Machine, page: pm.Region, writable: tuple[pm.Call, pm.Task]
) -> None:
    """Q27, supporting-paths 6: nothing at all happens if the flags stay the same."""
    move, child = writable
    child.mprotect(child.same(page), pm.RW)
    assert child.entry_at(page.start).raw == OLD * 512 + 62
    finish(machine, move)
    assert child.entry_at(page.start).writable


def test_fork_makes_write_entries_read_entries_in_parent_and_child(
    machine: pm.Machine, page: pm.Region, writable: tuple[pm.Call, pm.Task]
) -> None:
    """S20: both get the read flavour; a later store copies in one and reuses in the other."""
    move, child = writable
    grandchild = child.fork()
    machine.check()
    for task in (child, grandchild):
        assert task.entry_at(page.start).raw == OLD * 512 + 60
    settle(machine)
    assert move.result.tolist() == [1]
    assert counts(machine, NEW) == (3, 2)
    assert child.touch(child.same(page)).cow == 1
    assert pfn_at(child, page.start) != NEW
    assert grandchild.touch(grandchild.same(page)).cow == 1
    assert pfn_at(grandchild, page.start) == NEW
