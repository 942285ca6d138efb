"""A captured process is put on a machine: what it had in memory, of its own and of files, and in swap."""

from __future__ import annotations

import dataclasses
import mmap
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pagemig as pm
from pagemig.flags import USER_END
from pagemig.inputs import AddressSpace, Area, Reason, capture, load, load_report, shipped_capture
from pagemig.inputs.mapped_files import file_of
from tests.inputs.conftest import DATA

HEAP = Area(0x20000, 0x30000, "rw-", name="[heap]", resident=((0, 4), (8, 2)), anonymous=((0, 4), (8, 2)))
CLOSED = Area(0x40000, 0x48000, "---", resident=((1, 2),), anonymous=((1, 2),))
READ_ONLY = Area(0x50000, 0x54000, "r--", name="/lib/x", resident=((0, 4),), anonymous=((3, 1),))
SPACE = AddressSpace(7, "app", (HEAP, CLOSED, READ_ONLY))


@pytest.fixture
def machine() -> pm.Machine:
    """Two nodes of 1 MiB."""
    return pm.Machine(nodes=[pm.MiB, pm.MiB], cpus=2)


def present(task: pm.Task) -> dict[int, list[int]]:
    """The pages that are there, by the start of the area, counted from it."""
    pages = {region.start: np.flatnonzero(task.nodes_of(region) >= 0).tolist() for region in task.regions}
    return {start: there for start, there in pages.items() if there}


def state(machine: pm.Machine) -> tuple[object, ...]:
    """What a refused call must not change."""
    counters = tuple(tuple(machine.zone_counters(node).items()) for node in machine.nodes)
    return (machine.tasks, machine.now, counters)


def test_every_area_is_mapped_where_it_was_with_its_pages(machine: pm.Machine) -> None:
    """Method: three areas, one of them closed, one of a file with one page copied on write."""
    task = load(machine, SPACE)
    assert task.name == "app"
    areas = [(region.start, region.length) for region in task.regions]
    assert areas == [(area.start, area.length) for area in SPACE.areas]
    assert present(task) == {0x20000: [0, 1, 2, 3, 8, 9], 0x40000: [1, 2], 0x50000: [0, 1, 2, 3]}
    assert (task.counters.anon, task.counters.file) == (9, 3)
    assert machine.audit() == []


def test_areas_permit_what_they_permitted(machine: pm.Machine) -> None:
    """Goal: loading pages of an area that forbids stores leaves no way to store.

    Method: touch a loaded page of each area; where that is forbidden, the program gets SIGSEGV. The
    entries of such pages are there and not writable, as ``mprotect`` leaves them (Q27).
    """
    task = load(machine, SPACE)
    addresses = [HEAP.start, CLOSED.start + pm.PAGE_SIZE, READ_ONLY.start + 3 * pm.PAGE_SIZE]
    assert task.touch(addresses).sigsegv.tolist() == addresses[1:]
    assert task.touch(addresses, write=False).sigsegv.tolist() == addresses[1:2]
    assert [task.entry_at(address).writable for address in addresses] == [True, False, False]
    assert task.touch(addresses[:1]).hits == 1


def test_an_area_is_not_joined_to_a_neighbour_that_only_its_file_told_apart(machine: pm.Machine) -> None:
    """Method: the parts of a library as a linker lays them out, one of them closed after it was written."""
    ends = range(0x12000, 0x1A000, 0x2000)
    protections = ("r-x", "r--", "r--", "rw-")
    areas = tuple(
        Area(end - 0x2000, end, protection, name="/lib/x", resident=((0, 1),), anonymous=((0, 1),) * (at > 1))
        for at, (end, protection) in enumerate(zip(ends, protections, strict=True))
    )
    task = load(machine, AddressSpace(7, "app", areas))
    assert [(region.start, region.length) for region in task.regions] == [
        (area.start, area.length) for area in areas
    ]
    assert present(task) == {0x10000: [0], 0x12000: [0], 0x14000: [0], 0x16000: [0]}
    assert (task.counters.file, task.counters.anon) == (2, 2)


def test_pages_of_its_own_are_mapped_once_and_copies_have_their_origin_in_the_page_cache(
    machine: pm.Machine,
) -> None:
    """Method: look at every frame; the one copied page of the file stands on a fourth cached page."""
    task = load(machine, SPACE)
    kinds = []
    for region in task.regions:
        for page in region:
            info = task.page_at(page.start)
            if info is not None and info.owner is not None:
                assert info.mapcount == 1
                kinds.append(info.owner.kind)
    assert kinds == [pm.OwnerKind.ANON] * 8 + [pm.OwnerKind.FILE] * 3 + [pm.OwnerKind.ANON]
    assert machine.file("/lib/x").pages["offset"].tolist() == [0, 1, 2, 3]
    assert machine.zone_counters(0)["nr_free_pages"] == 256 - 13 == 256 - load_report(SPACE).frames


@pytest.mark.parametrize("node", [0, 1])
def test_pages_go_to_the_node_that_was_asked_for(machine: pm.Machine, node: int) -> None:
    """And the task's policy is the default afterwards: a new page is local to its CPU."""
    task = load(machine, SPACE, node=node, cpu=1 - node)
    nodes = np.concatenate([task.nodes_of(region) for region in task.regions])
    assert set(nodes.tolist()) == {-1, node}
    fresh = task.mmap(pm.PAGE_SIZE)
    task.touch(fresh)
    assert task.nodes_of(fresh).tolist() == [1 - node]


def test_a_machine_loads_a_space_itself(machine: pm.Machine) -> None:
    """`Machine.load` and `AddressSpace.place` are the same verb; options are those of ``spawn``."""
    first = machine.load(SPACE)
    second = SPACE.place(machine, name="other", uid=1000)
    assert present(first) == present(second)
    assert (second.name, second.uid) == ("other", 1000)
    assert first.pid != second.pid


def test_loading_twice_gives_the_same_machine() -> None:
    """Addresses ascend, so frames are given out in one order."""
    once, again = (pm.Machine(nodes=[pm.GiB] * 2) for _ in range(2))
    tasks = [machine.load(shipped_capture()) for machine in (once, again)]
    for mine, other in zip(tasks[0].regions, tasks[1].regions, strict=True):
        assert np.array_equal(tasks[0].nodes_of(mine), tasks[1].nodes_of(other))
    for mine, other in zip(once.frames(0).values(), again.frames(0).values(), strict=True):
        assert np.array_equal(mine, other)


def test_the_shipped_capture_is_loaded_page_by_page() -> None:
    """Goal: a real program, exactly. Method: compare every area with the capture."""
    space = shipped_capture()
    machine = pm.Machine(nodes=[pm.GiB] * 2)
    task = machine.load(space)
    report = load_report(space)
    assert [region.start for region in task.regions] == [area.start for area in report.areas]
    for area, region in zip(report.areas, task.regions, strict=True):
        expected = [page for first, pages in area.resident for page in range(first, first + pages)]
        assert np.flatnonzero(task.nodes_of(region) >= 0).tolist() == expected
    assert (task.counters.anon, task.counters.file) == (report.anonymous, report.of_files)
    assert report.of_files > 1000
    assert machine.audit() == []


def test_this_very_process_can_be_loaded() -> None:
    """Whatever areas a running interpreter has."""
    space = capture(os.getpid())
    machine = pm.Machine(nodes=[2 * pm.GiB] * 2, swap=pm.GiB)
    task = machine.load(space)
    report = load_report(space, machine)
    assert (task.counters.anon, task.counters.file) == (report.anonymous, report.of_files)
    assert set(report.pages_left_out) <= {Reason.KERNELS_OWN, Reason.DEVICE}


def test_a_file_that_this_process_maps_is_a_file_of_the_machine(tmp_path: Path) -> None:
    """Method: map a file twice, change one page of the private mapping, read three of the shared one."""
    path = tmp_path / "mapped"
    path.write_bytes(bytes(8 * pm.PAGE_SIZE))
    with path.open("r+b") as file:
        shared = mmap.mmap(file.fileno(), 8 * pm.PAGE_SIZE)
        private = mmap.mmap(file.fileno(), 8 * pm.PAGE_SIZE, flags=mmap.MAP_PRIVATE)
    private[5 * pm.PAGE_SIZE] = 1
    assert shared[3 * pm.PAGE_SIZE] == 0
    space = capture(os.getpid())
    mine = [area for area in space.areas if area.name == str(path)]
    assert sorted((area.shared, bool(area.anonymous)) for area in mine) == [(False, True), (True, False)]
    machine = pm.Machine(nodes=[2 * pm.GiB] * 2)
    task = machine.load(space)
    for area in mine:
        page = task.page_at(area.start + pm.PAGE_SIZE * (area.anonymous or area.resident)[0][0])
        assert page is not None and page.owner is not None
        assert page.owner.kind is (pm.OwnerKind.FILE if area.shared else pm.OwnerKind.ANON)
    (name,) = {file_of(area) for area in mine}
    assert name is not None and name.startswith(f"{path}@")
    assert machine.file(name).size == 8 * pm.PAGE_SIZE
    shared.close()
    private.close()


def test_two_programs_share_the_files_that_they_both_map(machine: pm.Machine) -> None:
    """The second finds the pages in the page cache, and lets the file grow to where it maps it."""
    load(machine, SPACE)
    longer = dataclasses.replace(READ_ONLY, end=0x58000, resident=((2, 4),), anonymous=())
    free = machine.zone_counters(0)["nr_free_pages"]
    other = AddressSpace(8, "other", (longer,))
    assert load_report(other, machine).frames == 2
    task = load(machine, other)
    assert machine.zone_counters(0)["nr_free_pages"] == free - 2
    assert machine.file("/lib/x").size == 8 * pm.PAGE_SIZE
    shared = task.page_at(0x52000)
    assert shared is not None and shared.mapcount == 2
    assert machine.audit() == []


def test_shared_memory_is_shared_memory_again(machine: pm.Machine) -> None:
    """With a name it is one file for all areas; without one each area has its own. All of it is shmem."""
    named = [
        Area(at, at + 0x2000, "rw-", True, 0, "/dev/shm/queue", resident=((0, 2),))
        for at in (0x60000, 0x64000)
    ]
    nameless = Area(0x68000, 0x6C000, "rw-", True, 0, "/dev/zero (deleted)", resident=((1, 2),))
    task = load(machine, AddressSpace(7, "app", (*named, nameless)))
    assert present(task) == {0x60000: [0, 1], 0x64000: [0, 1], 0x68000: [1, 2]}
    page = task.page_at(0x60000)
    assert page is not None and page.mapcount == 2
    assert machine.file("/dev/shm/queue").filesystem is pm.filesystems.TMPFS
    child = task.fork()
    assert child.touch([0x69000]).sigsegv.size == 0
    mine, theirs = task.page_at(0x69000), child.page_at(0x69000)
    assert mine is not None and theirs is not None and mine.pfn == theirs.pfn
    assert machine.audit() == []


@pytest.mark.parametrize(
    ("device", "names", "files"),
    [
        ("fe:00", ("/bin/perl", "/bin/perl"), 1),
        ("fe:00", ("/bin/perl", "/bin/perl5"), 1),
        ("fe:00", ("/bin/perl", "/bin/perl (deleted)"), 1),
        ("00:1f", ("/bin/perl", "/bin/perl (deleted)"), 1),
        ("00:1f", ("/bin/perl", "/bin/perl5"), 2),
    ],
)
def test_an_inode_is_one_file_also_by_another_name_where_inodes_are_unique(
    machine: pm.Machine, device: str, names: tuple[str, str], files: int
) -> None:
    """Goal: hard links are one, two trees of one btrfs are not. Method: in one space, and in two."""
    areas = [
        Area(at, at + 0x2000, "r-x", name=name, resident=((0, 2),), device=device, inode=9)
        for at, name in zip((0x60000, 0x64000), names, strict=True)
    ]
    report = load_report(AddressSpace(7, "app", tuple(areas)))
    load(machine, AddressSpace(7, "app", tuple(areas)))
    assert [(file.name.partition("@")[2], file.cached) for file in machine.files] == [
        (f"{device}:9", 2)
    ] * files
    assert report.frames == 2 * files
    apart = pm.Machine(nodes=[pm.MiB])
    for area in areas:
        load(apart, AddressSpace(7, "app", (area,)))
    assert [file.name for file in apart.files] == [file.name for file in machine.files]


def test_a_file_of_unknown_inode_is_none_that_has_one(machine: pm.Machine) -> None:
    """Method: a library of three captures: of no inode, and of two; the names say which is which."""
    for inode in (0, 5, 6):
        device = "fe:00" if inode else ""
        load(machine, AddressSpace(7, "app", (dataclasses.replace(READ_ONLY, device=device, inode=inode),)))
    assert [file.name for file in machine.files] == ["/lib/x", "/lib/x@fe:00:5", "/lib/x@fe:00:6"]
    assert [file.filesystem for file in machine.files] == [pm.filesystems.EXT] * 3


def test_what_was_in_swap_is_in_swap_again_where_there_is_room() -> None:
    """Pages of its own and a copy of a file's page; entries in the page tables, slots in use."""
    heap = dataclasses.replace(HEAP, swapped=((5, 3),))
    library = dataclasses.replace(READ_ONLY, resident=((0, 1),), anonymous=(), swapped=((3, 1),))
    space = AddressSpace(7, "app", (heap, library))
    machine = pm.Machine(nodes=[pm.MiB, pm.MiB], swap=4 * pm.PAGE_SIZE)
    task = load(machine, space)
    assert task.counters.swap == 4
    assert machine.swap.free == 0
    kinds = [task.entry_at(0x20000 + page * pm.PAGE_SIZE).kind for page in (4, 5, 7, 8)]
    assert kinds == [pm.EntryKind.NONE, pm.EntryKind.SWAP, pm.EntryKind.SWAP, pm.EntryKind.PRESENT]
    assert task.entry_at(0x53000).kind is pm.EntryKind.SWAP
    assert load_report(space, pm.Machine(nodes=[pm.MiB], swap=pm.MiB)).swapped == 4
    assert load_report(space, machine).pages_left_out == {Reason.SWAPPED: 4}
    assert task.touch([0x53000], write=False).major == 1
    assert machine.audit() == []


def test_a_swap_device_that_takes_nothing_is_told_and_nothing_changes() -> None:
    """Method: a disk that never answers; tried on a copy, the machine is as it was."""
    machine = pm.Machine(nodes=[pm.MiB, pm.MiB], swap=pm.MiB)
    machine.set_swap_device(io_ticks=None)
    before = state(machine)
    space = AddressSpace(7, "app", (dataclasses.replace(HEAP, swapped=((5, 3),)),))
    with pytest.raises(pm.UsageError, match="app: "):
        load(machine, space)
    assert state(machine) == before
    assert machine.files == ()


def test_a_memory_cgroup_that_is_too_small_changes_nothing(machine: pm.Machine) -> None:
    """Tried on a copy."""
    group = machine.create_memcg("small", limit=4 * pm.PAGE_SIZE)
    before = state(machine)
    with pytest.raises(pm.UsageError, match="the limit of memory cgroup 'small' is too low"):
        load(machine, SPACE, memcg=group)
    assert state(machine) == before
    assert load(machine, SPACE, memcg=machine.create_memcg("large", limit=pm.MiB)).counters.anon == 9


def test_what_is_left_out_is_listed_with_the_reason() -> None:
    """Each kind once: by hand, with the number of pages that are missing."""
    end = USER_END
    areas = (
        dataclasses.replace(HEAP, swapped=((5, 3),)),
        READ_ONLY,
        Area(0x60000, 0x64000, "rw-", shared=True, name="/dev/dri/card0", resident=((0, 2),)),
        Area(0x68000, 0x6C000, "r--", offset=1 << 60, name="/proc/kcore", resident=((0, 1),)),
        Area(0x70000, 0x71000, "r-x", name="[vdso]", resident=((0, 1),)),
        Area(end - 4096, end + 4096, "rw-", resident=((0, 2),), anonymous=((0, 2),)),
    )
    report = load_report(AddressSpace(7, "app", areas))
    assert report.areas == areas[:2]
    assert (report.anonymous, report.of_files, report.pages, report.swapped) == (7, 3, 10, 0)
    assert [(missing.area, missing.reason, missing.pages, missing.whole) for missing in report.left_out] == [
        (areas[0], Reason.SWAPPED, 3, False),
        (areas[2], Reason.DEVICE, 2, True),
        (areas[3], Reason.BEYOND_FILES, 1, True),
        (areas[4], Reason.KERNELS_OWN, 1, True),
        (areas[5], Reason.BEYOND_USER_SPACE, 2, True),
    ]
    assert report.pages_left_out[Reason.SWAPPED] == 3
    assert str(report).startswith("2 areas with 7 anonymous pages, 3 of files and 0 in swap; left out, ")


def test_a_hand_made_process_is_loaded_with_what_is_shared(machine: pm.Machine) -> None:
    """From ``data/proc/4242``, where only ``smaps`` tells: the device and vdso stay away."""
    task = machine.load(capture(4242, proc=DATA / "proc"))
    assert present(task) == {
        0x10000: [0, 1, 2, 3],
        0x14000: [0, 1],
        0x20000: [0, 1, 2, 3, 4, 5],
        0x40000: [0, 1],
        0x50000: [0, 1, 2],
    }
    starts = [region.start for region in task.regions]
    assert starts == [0x10000, 0x14000, 0x20000, 0x40000, 0x50000]


def test_a_name_that_no_task_can_have_is_replaced(machine: pm.Machine) -> None:
    """Processes may be called anything, also nothing."""
    assert machine.load(dataclasses.replace(SPACE, name="")).name == "captured"
    assert machine.load(dataclasses.replace(SPACE, name="a\nb")).name == "captured"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"node": 2}, "node is 2; nodes with memory that the task may use are"),
        ({"node": 1, "mems_allowed": [0]}, r"node is 1; .* may use are \[0\]"),
        ({"node": "1"}, "node is '1'"),
        ({"stack": False}, "stack makes no sense here"),
        ({"kernel_thread": True}, "kernel_thread makes no sense here"),
        ({"name": ""}, "name is ''"),
        ({"uid": -1}, "uid is -1"),
        ({"mems_allowed": 0}, "mems_allowed is 0"),
        ({"cpu": 9}, "cpu"),
    ],
)
def test_options_that_make_no_sense_change_nothing(
    machine: pm.Machine, wrong: dict[str, Any], said: str
) -> None:
    """The option is named; no task has appeared."""
    before = state(machine)
    with pytest.raises(pm.UsageError, match=said):
        load(machine, SPACE, **wrong)
    assert state(machine) == before


def test_a_space_with_more_pages_than_there_are_frames_changes_nothing() -> None:
    """All or nothing: also where free frames would do but for the watermarks."""
    small = pm.Machine(nodes=[8 * pm.PAGE_SIZE, 8 * pm.PAGE_SIZE])
    zone = pm.Zone(pm.ZoneKind.NORMAL, 16 * pm.PAGE_SIZE, min=6)
    guarded = pm.Machine(nodes=[pm.Node(zones=[zone])])
    for machine, node, said in (
        (small, 1, "13 pages are to be loaded, but only 8 frames are free on node 1"),
        (pm.Machine(nodes=[8 * pm.PAGE_SIZE]), None, "but only 8 frames are free"),
        (guarded, None, "the watermarks keep too many of the 16 free frames back"),
    ):
        before = state(machine)
        with pytest.raises(pm.UsageError, match=said):
            load(machine, SPACE, node=node)
        assert state(machine) == before
    assert load(small, SPACE).counters.anon == 9


def test_a_host_with_other_pages_is_refused(machine: pm.Machine) -> None:
    """The machine has pages of 4096 bytes."""
    area = Area(0x20000, 0x30000, "rw-", resident=((0, 1),), anonymous=((0, 1),))
    before = state(machine)
    with pytest.raises(pm.UsageError, match="app: its host has pages of 16384 bytes"):
        machine.load(AddressSpace(7, "app", (area,), page_size=16384))
    with pytest.raises(pm.UsageError, match="it must be an AddressSpace"):
        load_report("space.json")  # type: ignore[arg-type]
    assert state(machine) == before
