"""Invariants 10, counters of address spaces: I-90 to I-93, with the ledger of Q16 exact."""

from __future__ import annotations

from collections import Counter

import pytest

import pagemig as pm
from tests.invariants.follow import Follower
from tests.invariants.recount import SWAP, Recount
from tests.invariants.situations import EXACT, KINDS, PAGE, REPAIRED, SHARED, fill, steps

every_kind = pytest.mark.parametrize("kind", KINDS)
profiles = pytest.mark.parametrize("profile", [EXACT, REPAIRED], ids=["exact", "repaired"])

Ledger = Counter[tuple[str, int]]
"""What the counter of a task shows too much, by sort and pid."""
NONE: Ledger = Counter()


def assert_resident(now: Recount, ledger: Ledger = NONE) -> None:
    """I-90, I-91: present leaves by sort, plus leak minus deficit; swap leaves exactly."""
    for pid, counters in now.counters.items():
        mine = [leaf for leaf in now.mapped if leaf.pid == pid]
        anon = sum(now.is_anon(leaf.entry.pfn or 0) for leaf in mine)
        assert counters.anon == anon + ledger["anon", pid]
        assert counters.file == len(mine) - anon + ledger["file", pid]
        assert counters.swap == sum(leaf.pid == pid for leaf in now.swapped)


@every_kind
def test_counters_are_those_of_the_leaves_at_rest(kind: str) -> None:
    """I-90, I-91: before and after; nobody zapped or copied an entry, so there is no drift."""
    for now in (steps(kind)[0], *steps(kind)[-2:]):
        assert_resident(now)
        assert not {ledger for ledger, _ in now.drift} & {"anon", "file"}


@every_kind
def test_migration_changes_counters_of_the_swap_cache_only(kind: str) -> None:
    """I-92: at every step; there each leaf that becomes a swap entry is ANONPAGES - 1, SWAPENTS + 1."""
    first = steps(kind)[0]
    before = {leaf.key for leaf in first.swapped}
    for now in steps(kind):
        new = Counter(leaf.pid for leaf in now.swapped if leaf.key not in before)
        if kind != "swap cache":
            assert not new
        for pid, counters in now.counters.items():
            was = first.counters[pid]
            assert counters == pm.MemoryCounters(was.file, was.anon - new[pid], was.swap + new[pid])


@every_kind
def test_leaves_lie_inside_areas(kind: str) -> None:
    """I-93: what is present is where an area is: pages just outside of each area are empty."""
    for now in (steps(kind)[0], steps(kind)[-1]):
        for leaf in now.leaves:
            assert leaf.area.start <= leaf.address < leaf.area.end
            if leaf.entry.special:
                assert leaf.area.file is None


def test_nothing_is_present_where_an_area_was(machine: pm.Machine, app: pm.Task) -> None:
    """I-93: munmap, mremap and a truncated file leave no leaf behind; the zero page stays where it may."""
    file = machine.create_file("data", 2 * PAGE)
    heap = app.mmap(4 * PAGE, at=0x400000)
    view = app.mmap(2 * PAGE, at=0x500000, file=file, shared=True)
    app.touch(heap[:2])
    app.touch(heap[2:], write=False)
    app.touch(view)
    app.munmap(heap[1:3])
    app.mremap(heap[0], to=0x600000)
    file.truncate(PAGE)
    spots = (*heap, *view, pm.Region(app, 0x600000, PAGE)[0])
    present = {page.start for page in spots if app.entry_at(page.start).kind is pm.EntryKind.PRESENT}
    assert present == {heap[3].start, view.start, 0x600000}
    assert app.entry_at(heap[3].start).special
    now = Recount(machine)
    assert {leaf.address for leaf in now.leaves} == present
    assert_resident(now)


def test_counters_follow_faults_swap_and_copies(machine: pm.Machine, app: pm.Task) -> None:
    """I-90, I-91: at the end of each of the calls that change them."""
    file = machine.create_file("data", 2 * PAGE)
    view = app.mmap(2 * PAGE, file=file)
    heap = app.mmap(2 * PAGE)
    app.touch(view, write=False)
    assert_resident(Recount(machine))
    app.touch(view[0])
    fill(machine, app, heap)
    assert (app.counters.file, app.counters.anon) == (1, 3)
    app.swap_out(heap)
    assert_resident(Recount(machine))
    assert app.counters.swap == 2
    child = app.fork("child")
    assert_resident(Recount(machine))
    child.touch(child.same(heap))
    app.madvise(heap, pm.Advice.DONTNEED)
    machine.drain()
    now = Recount(machine)
    assert_resident(now)
    assert {leaf.entry.kind for leaf in now.leaves if leaf.pid == app.pid} & {SWAP} == set()


# Q16 --------------------------------------------------------------------------------------


def in_the_window(machine: pm.Machine, sort: str) -> tuple[Follower, pm.Task, pm.Region]:
    """A move of a page that somebody else maps, too, while all map it by entries; his view of it."""
    app = machine.spawn("app", stack=False)
    file = machine.create_file("data", PAGE)
    if sort == "anon":
        area = app.mmap(PAGE)
        fill(machine, app, area)
        other = app.fork("other")
        view = other.same(area)
    else:
        area = app.mmap(PAGE, file=file, shared=True)
        other = machine.spawn("other", stack=False)
        view = other.mmap(PAGE, file=file, shared=True)
        fill(machine, app, area)
        other.touch(view)
    machine.drain()
    call = machine.start(pm.calls.move_pages(area, 1, scope=SHARED), by=app)
    mover = Follower(machine, call).run_until("MN-4")
    assert len(Recount(machine).entries) == 2
    return mover, other, view


def assert_ledger(machine: pm.Machine, ledger: Ledger) -> None:
    """The machine keeps the same ledger, one row for each address space that drifted."""
    now = Recount(machine)
    assert_resident(now, ledger)
    kept = {(name, by) for (name, _), by in now.drift.items() if name in ("anon", "file")}
    assert kept == {(name, by) for (name, _), by in ledger.items() if by}


@profiles
@pytest.mark.parametrize("sort", ["anon", "file"])
def test_an_entry_that_is_zapped_is_counted_for_ever(
    machine: pm.Machine, profile: pm.Profile, sort: str
) -> None:
    """I-90, Q16, S18, S19: leak of one in EXACT, none in REPAIRED."""
    mover, other, view = in_the_window(machine, sort)
    other.munmap(view)
    mover.finish()
    assert_ledger(machine, Counter({(sort, other.pid): 1} if profile is EXACT else {}))
    assert other.rss == (profile is EXACT)


@profiles
def test_an_entry_that_is_copied_is_missing_in_the_child(machine: pm.Machine, profile: pm.Profile) -> None:
    """I-90, Q16, S20: deficit of one in EXACT; after the child has unmapped it the counter is -1."""
    mover, other, view = in_the_window(machine, "anon")
    child = other.fork("child")
    mover.finish()
    ledger: Ledger = Counter({("anon", child.pid): -1} if profile is EXACT else {})
    assert_ledger(machine, ledger)
    child.munmap(child.same(view))
    assert_ledger(machine, ledger)
    assert (child.counters.anon, child.rss) == (-1 if profile is EXACT else 0, 0)


@profiles
def test_leaks_and_deficits_add_up(machine: pm.Machine, profile: pm.Profile) -> None:
    """I-90, Q16: a child that was one short and then has an entry zapped is exact again, in total."""
    mover, other, view = in_the_window(machine, "anon")
    child = other.fork("child")
    child.munmap(child.same(view))
    mover.finish()
    now = Recount(machine)
    assert_resident(now)
    assert child.counters.anon == 0
    assert not now.drift
    assert now.profile is profile
