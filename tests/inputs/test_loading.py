"""A captured process is put on a machine: its anonymous pages, where they were, and nothing else."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import numpy as np
import pytest

import pagemig as pm
from pagemig.flags import USER_END
from pagemig.inputs import AddressSpace, Area, Reason, capture, load, load_report, shipped_capture
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


def test_every_area_is_mapped_where_it_was_with_its_anonymous_pages(machine: pm.Machine) -> None:
    """Method: three areas, one of them closed, one of a file with one page copied on write."""
    task = load(machine, SPACE)
    assert task.name == "app"
    areas = [(region.start, region.length) for region in task.regions]
    assert areas == [(area.start, area.length) for area in SPACE.areas]
    assert present(task) == {0x20000: [0, 1, 2, 3, 8, 9], 0x40000: [1, 2], 0x50000: [3]}
    assert task.counters.anon == 9
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
    assert present(task) == {0x14000: [0], 0x16000: [0]}


def test_loading_costs_a_write_fault_a_page_and_nothing_is_shared(machine: pm.Machine) -> None:
    """Each page is anonymous, mapped once, and dirty as a written page is."""
    task = load(machine, SPACE)
    for region in task.regions:
        for page in region:
            info = task.page_at(page.start)
            if info is not None:
                assert info.owner is not None
                assert (info.owner.kind, info.mapcount) == (pm.OwnerKind.ANON, 1)
    assert machine.zone_counters(0)["nr_free_pages"] == 256 - 9


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
        expected = [page for first, pages in area.anonymous for page in range(first, first + pages)]
        assert np.flatnonzero(task.nodes_of(region) >= 0).tolist() == expected
    assert task.counters.anon == report.pages
    assert machine.audit() == []


def test_this_very_process_can_be_loaded() -> None:
    """Whatever areas a running interpreter has."""
    space = capture(os.getpid())
    task = pm.Machine(nodes=[2 * pm.GiB] * 2).load(space)
    assert task.counters.anon == load_report(space).pages


def test_what_is_left_out_is_listed_with_the_reason() -> None:
    """Each kind once: by hand, with the number of pages that are missing."""
    end = USER_END
    areas = (
        dataclasses.replace(HEAP, swapped=((5, 3),)),
        READ_ONLY,
        Area(0x60000, 0x64000, "rw-", shared=True, name="/dev/zero (deleted)", resident=((0, 2),)),
        Area(0x70000, 0x71000, "r-x", name="[vdso]", resident=((0, 1),)),
        Area(end - 4096, end + 4096, "rw-", resident=((0, 2),), anonymous=((0, 2),)),
    )
    report = load_report(AddressSpace(7, "app", areas))
    assert report.areas == areas[:2]
    assert report.pages == 7
    assert [(missing.area, missing.reason, missing.pages, missing.whole) for missing in report.left_out] == [
        (areas[0], Reason.SWAPPED, 3, False),
        (areas[1], Reason.FILE_PAGES, 3, False),
        (areas[2], Reason.SHARED, 2, True),
        (areas[3], Reason.KERNELS_OWN, 1, True),
        (areas[4], Reason.BEYOND_USER_SPACE, 2, True),
    ]
    assert report.pages_left_out[Reason.SWAPPED] == 3
    assert str(report).startswith("2 areas with 7 anonymous pages; left out, in pages: 2 beyond")


def test_a_hand_made_process_is_loaded_without_what_is_shared(machine: pm.Machine) -> None:
    """From ``data/proc/4242``, where only ``smaps`` tells: file pages, shared memory and vdso stay away."""
    task = machine.load(capture(4242, proc=DATA / "proc"))
    assert present(task) == {0x14000: [0], 0x20000: [0, 1, 2, 3, 4, 5], 0x40000: [0, 1]}
    assert [region.start for region in task.regions] == [0x10000, 0x14000, 0x20000, 0x40000]


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
    zone = pm.Zone(pm.ZoneKind.NORMAL, 12 * pm.PAGE_SIZE, min=6)
    guarded = pm.Machine(nodes=[pm.Node(zones=[zone])])
    for machine, node, said in (
        (small, 1, "9 pages are to be loaded, but only 8 frames are free on node 1"),
        (pm.Machine(nodes=[8 * pm.PAGE_SIZE]), None, "but only 8 frames are free"),
        (guarded, None, "the watermarks keep too many of the 12 free frames back"),
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
