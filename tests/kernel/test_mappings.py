"""Changing mappings: find_vma, munmap, exit, mprotect. Source: data-model 6.1, supporting-paths 6."""

from __future__ import annotations

import errno

import pytest

import pagemig as pm

from .stepping import area_flags, counts, delta, finish, free, pfn_at, run

PAGE = pm.PAGE_SIZE


def spans(task: pm.Task) -> list[tuple[int, int]]:
    """(start, end) of all areas."""
    return [(region.start, region.end) for region in task.regions]


@pytest.fixture
def bare(machine: pm.Machine) -> pm.Task:
    """A task with an empty memory."""
    return machine.spawn("bare", stack=False)


@pytest.fixture
def six(machine: pm.Machine, bare: pm.Task) -> pm.Region:
    """Six written pages at 0x10000."""
    region = bare.mmap(6 * PAGE, at=0x10000)
    bare.touch(region)
    machine.drain()
    return region


def test_the_area_of_an_address_is_the_first_that_ends_above_it(bare: pm.Task) -> None:
    """Data-model 6.1, Q10: start inclusive, end exclusive; below an area the answer is that area."""
    bare.mmap(PAGE, at=0x10000)
    bare.mmap(PAGE, at=0x11000, flags=pm.VmFlags.IO)
    bare.mmap(PAGE, at=0x20000)
    asked = [0x0, 0x10000, 0x10FFF, 0x11000, 0x11FFF, 0x12000, 0x20FFF, 0x21000]
    no_entry, fault = -errno.ENOENT, -errno.EFAULT
    expected = [no_entry, no_entry, no_entry, fault, fault, no_entry, no_entry, fault]
    assert bare.move_pages(asked, 1).tolist() == expected


def test_areas_are_never_merged_when_they_are_mapped(bare: pm.Task) -> None:
    """The api: two equal areas that touch stay two."""
    bare.mmap(PAGE, at=0x10000)
    bare.mmap(PAGE, at=0x11000)
    assert len(bare.regions) == 2


def test_munmap_frees_pages_and_counters(machine: pm.Machine, bare: pm.Task, six: pm.Region) -> None:
    """Supporting-paths 6: leaf cleared, ANONPAGES -1, ANON_PAGES -1, page freed."""
    before = machine.zone_counters(0)
    run(machine, pm.calls.munmap(six[1:3]), bare)
    assert delta(before, machine.zone_counters(0)) == {
        "nr_free_pages": 2,
        "nr_active_anon": -2,
        "nr_anon_pages": -2,
    }
    assert bare.counters.anon == 4
    assert bare.nodes_of(six).tolist() == [0, -1, -1, 0, 0, 0]


@pytest.mark.parametrize(
    ("cut", "left"),
    [
        (slice(0, 6), []),
        (slice(0, 2), [(0x12000, 0x16000)]),
        (slice(4, 6), [(0x10000, 0x14000)]),
        (slice(2, 4), [(0x10000, 0x12000), (0x14000, 0x16000)]),
    ],
)
def test_munmap_splits_at_the_edges(
    machine: pm.Machine, bare: pm.Task, six: pm.Region, cut: slice, left: list[tuple[int, int]]
) -> None:
    """Supporting-paths 6: what remains is still writable memory with its pages, which still move."""
    bare.munmap(six[cut])
    machine.check()
    assert spans(bare) == left
    rest = [page.start for page in six if any(low <= page.start < high for low, high in left)]
    if rest:
        assert bare.touch(rest).hits == len(rest)
        assert bare.move_pages(rest, 1).tolist() == [1] * len(rest)


def test_munmap_across_areas_and_holes_takes_all_of_them(machine: pm.Machine, bare: pm.Task) -> None:
    """Supporting-paths 6: parts of two areas and the hole between them."""
    low, high = bare.mmap(2 * PAGE, at=0x10000), bare.mmap(2 * PAGE, at=0x20000)
    bare.touch(low)
    bare.touch(high)
    bare.munmap(pm.Region(bare, low.start + PAGE, high.start - low.start))
    machine.check()
    assert spans(bare) == [(0x10000, 0x11000), (0x21000, 0x22000)]
    assert bare.rss == 2


def test_munmap_of_a_zero_page_counts_nothing(machine: pm.Machine, bare: pm.Task) -> None:
    """Supporting-paths 6, point 3: no page: leaf cleared, that is all."""
    region = bare.mmap(PAGE)
    bare.touch(region, write=False)
    before = machine.vmstat()
    bare.munmap(region)
    assert machine.vmstat() == before
    assert bare.counters.anon == 0


def test_a_pinned_page_outlives_its_mapping(machine: pm.Machine, bare: pm.Task, six: pm.Region) -> None:
    """Data-model 2.3: the pin's reference keeps the frame, on its list, until it is dropped."""
    pfn = bare.pin(six.start)
    assert pfn is not None
    bare.munmap(six)
    machine.check()
    assert counts(machine, pfn) == (1, 0)
    assert machine.frame(pfn).lru is pm.LruList.ACTIVE_ANON
    bare.unpin(pfn)
    assert counts(machine, pfn) == (0, 0)
    assert machine.zone_counters(0)["nr_active_anon"] == 0


def test_exit_frees_the_whole_memory(machine: pm.Machine, bare: pm.Task, six: pm.Region) -> None:
    """Supporting-paths 6: exit_mmap; the pid names nobody afterwards."""
    bare.mlock(six[2])
    run(machine, pm.calls.exit(), bare)
    machine.drain()
    assert free(machine, 0) == 64
    assert machine.vmstat()["nr_mlock"] == 0
    with pytest.raises(pm.UsageError):
        machine.task(bare.pid)


# mprotect --------------------------------------------------------------------------------------


def test_mprotect_replaces_protection_and_keeps_the_rest(
    machine: pm.Machine, bare: pm.Task, six: pm.Region
) -> None:
    """Supporting-paths 6: frame, accessed and dirty stay; the write bit goes, whatever is permitted."""
    before = bare.entry_at(six.start).raw
    run(machine, pm.calls.mprotect(six, pm.R), bare)
    assert bare.entry_at(six.start).raw == before & ~2
    bare.mprotect(six, pm.RX)
    assert bare.entry_at(six.start).raw == before & ~2 & ~(1 << 63)
    bare.mprotect(six, pm.RW)
    assert bare.entry_at(six.start).raw == before & ~2


def test_a_store_after_protection_came_back_reuses_the_page(
    machine: pm.Machine, bare: pm.Task, six: pm.Region
) -> None:
    """Data-model 6.1: private leaves come back read-only; the next store takes the page over."""
    pfn = pfn_at(bare, six.start)
    bare.mprotect(six, pm.R)
    assert bare.touch(six[0]).sigsegv.tolist() == [six.start]
    bare.mprotect(six, pm.RW)
    result = bare.touch(six[0])
    assert (result.minor, result.cow) == (1, 1)
    assert pfn_at(bare, six.start) == pfn
    assert bare.entry_at(six.start).writable


def test_mprotect_to_the_same_does_nothing(bare: pm.Task, six: pm.Region) -> None:
    """Supporting-paths 6: the leaf stays writable."""
    bare.mprotect(six, pm.RW)
    assert bare.entry_at(six.start).writable


def test_mprotect_splits_and_merges(machine: pm.Machine, bare: pm.Task, six: pm.Region) -> None:
    """Supporting-paths 6: a part becomes an area; alike again, the three are one."""
    bare.mprotect(six[2:4], pm.R)
    machine.check()
    assert spans(bare) == [(0x10000, 0x12000), (0x12000, 0x14000), (0x14000, 0x16000)]
    assert pm.VmFlags.WRITE not in area_flags(bare, 0x12000)
    bare.mprotect(six[2:4], pm.RW)
    machine.check()
    assert spans(bare) == [(0x10000, 0x16000)]


def test_mprotect_moves_a_boundary_between_neighbours(
    machine: pm.Machine, bare: pm.Task, six: pm.Region
) -> None:
    """Supporting-paths 6: what became like its neighbour joins it, up and down; all pages still move."""
    bare.mprotect(six[3:], pm.R)
    bare.mprotect(six[2], pm.R)
    machine.check()
    assert spans(bare) == [(0x10000, 0x12000), (0x12000, 0x16000)]
    bare.mprotect(six[2:4], pm.RW)
    machine.check()
    assert spans(bare) == [(0x10000, 0x14000), (0x14000, 0x16000)]
    assert bare.move_pages(six, 1).tolist() == [1] * 6
    machine.check()


def test_mprotect_of_a_hole_is_refused_where_the_hole_begins(bare: pm.Task) -> None:
    """-ENOMEM; what comes before the hole is changed."""
    low, high = bare.mmap(PAGE, at=0x10000), bare.mmap(PAGE, at=0x12000)
    with pytest.raises(OSError, match="mprotect") as refused:
        bare.mprotect(pm.Region(bare, 0x10000, 3 * PAGE), pm.R)
    assert refused.value.errno == errno.ENOMEM
    assert pm.VmFlags.WRITE not in area_flags(bare, low.start)
    assert pm.VmFlags.WRITE in area_flags(bare, high.start)


def test_memory_without_access_keeps_its_pages(machine: pm.Machine, bare: pm.Task, six: pm.Region) -> None:
    """Data-model 6.3: PROT_NONE and back: same frames, same bytes."""
    bare.write(six.start, b"kept")
    pfn = pfn_at(bare, six.start)
    bare.mprotect(six, pm.NONE)
    machine.check()
    with pytest.raises(OSError, match="SIGSEGV"):
        bare.read(six.start, 4)
    assert bare.rss == 6
    bare.mprotect(six, pm.R)
    assert (bare.read(six.start, 4), pfn_at(bare, six.start)) == (b"kept", pfn)


def test_calls_stepped_and_at_once_leave_the_same_machine(
    machine: pm.Machine, bare: pm.Task, six: pm.Region
) -> None:
    """Architecture, "Steps": one implementation."""
    twin = machine.clone()
    other = twin.task(bare.pid)
    for call, verb in (
        (pm.calls.mprotect(six[1:3], pm.R), lambda: other.mprotect(six[1:3], pm.R)),
        (pm.calls.munmap(six[2:5]), lambda: other.munmap(six[2:5])),
    ):
        finish(machine, machine.start(call, by=bare))
        verb()
        assert machine.vmstat() == twin.vmstat()
        assert spans(bare) == spans(other)
        assert [bare.entry_at(page.start) for page in six] == [other.entry_at(page.start) for page in six]
