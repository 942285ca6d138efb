"""Quirks of those who call the core: Q19, Q20, Q22, Q23, Q25, Q33, Q34; and MP-1, MP-4, NP-2, PB-4."""

from __future__ import annotations

import dataclasses
import errno
from collections.abc import Iterator

import pytest

import pagemig as pm

from .stepping import (
    attempts,
    block,
    counts,
    finish,
    free,
    never_reaches,
    pfns_in,
    reach,
    waiting,
    zonelist,
)

F = pm.PageFlags
V = pm.VmFlags
OLD = 0
ACTIVE = pm.LruList.ACTIVE_ANON
EXACT, REPAIRED = pm.Profile.EXACT, pm.Profile.REPAIRED
PLAIN = pm.FileSystem("plain")


@pytest.fixture(params=[EXACT], ids=lambda profile: profile.name)
def profile(request: pytest.FixtureRequest) -> pm.Profile:
    """EXACT, unless a test asks for both."""
    return request.param


@pytest.fixture
def machine(profile: pm.Profile) -> Iterator[pm.Machine]:
    """Three nodes of 32 frames in pageblocks of 16, one CPU, 16 slots of swap."""
    made = pm.Machine(
        nodes=[32 * pm.PAGE_SIZE] * 3,
        cpus=1,
        profile=profile,
        swap=16 * pm.PAGE_SIZE,
        pageblock_frames=16,
    )
    yield made
    made.check()


both = pytest.mark.parametrize("profile", [EXACT, REPAIRED], indirect=True, ids=["exact", "repaired"])


def fill(machine: pm.Machine, node: int) -> None:
    """Take every free frame of a node."""
    hog = machine.spawn("hog", mems_allowed={node}, stack=False)
    hog.touch(hog.mmap(free(machine, node) * pm.PAGE_SIZE))
    assert free(machine, node) == 0


# Q19 ---------------------------------------------------------------------------------------


@both
def test_q19_soft_offline_ends_with_the_isolated_counter_at_minus_one(
    machine: pm.Machine, app: pm.Task, page: pm.Region, profile: pm.Profile
) -> None:
    """Q19, UM-16, I-57, I-58: not raised, but lowered, once the page has moved; not so in REPAIRED."""
    call = reach(machine, machine.start(pm.calls.soft_offline(OLD), by=app), "UM-16")
    assert machine.zone_counters(0)["nr_isolated_anon"] == (0 if profile is EXACT else 1)
    finish(machine, call)
    assert machine.zone_counters(0)["nr_isolated_anon"] == (-1 if profile is EXACT else 0)
    assert machine.drift == ((pm.Drift("nr_isolated_anon", 0, -1),) if profile is EXACT else ())
    assert F.HWPOISON in machine.frame(OLD).flags


@both
def test_q19_a_soft_offline_that_fails_lowers_it_as_well(
    machine: pm.Machine, app: pm.Task, page: pm.Region, profile: pm.Profile
) -> None:
    """Q19, PB-2, MP-5: the page is put back at the end of the batch; once for each attempt of the caller."""
    app.pin(page.start)
    for times in (1, 2):
        with pytest.raises(OSError, match="soft_offline") as refused:
            machine.soft_offline(OLD)
        assert refused.value.errno == errno.EIO
        assert machine.zone_counters(0)["nr_isolated_anon"] == (-times if profile is EXACT else 0)
    app.unpin(OLD)


@both
def test_q19_a_file_page_lowers_the_other_counter(
    machine: pm.Machine, app: pm.Task, profile: pm.Profile
) -> None:
    """Q19: NR_ISOLATED_FILE, by PG_swapbacked; its neighbour is left alone."""
    file = machine.create_file("data", pm.PAGE_SIZE, filesystem=PLAIN)
    app.touch(app.mmap(pm.PAGE_SIZE, file=file, shared=True), write=False)
    machine.drain()
    machine.soft_offline(OLD)
    shown = machine.zone_counters(0)
    expected = (-1 if profile is EXACT else 0, 0)
    assert (shown["nr_isolated_file"], shown["nr_isolated_anon"]) == expected


# Q20 ---------------------------------------------------------------------------------------


def scripted_area(machine: pm.Machine, app: pm.Task, name: str, code: int) -> pm.Region:
    """An area whose ``migrate`` method returns a code."""
    filesystem = dataclasses.replace(PLAIN, name=name, area_migrate=code)
    return app.mmap(pm.PAGE_SIZE, file=machine.create_file(name, pm.PAGE_SIZE, filesystem=filesystem))


def areas_asked(machine: pm.Machine) -> list[tuple[int, int]]:
    """Address and source mask of every call of an area's method, in order."""
    return [(row.address, row.value) for row in machine.trace if row.event == "migrate_area"]


def test_q20_every_area_with_a_method_is_asked_and_takes_the_first_mask_for_the_source(
    machine: pm.Machine, app: pm.Task, heap: pm.Region
) -> None:
    """Q20, migration 23: in address order, areas without method left out; 0 means that pages move."""
    areas = [scripted_area(machine, app, name, 0) for name in ("one", "two")]
    machine.record()
    assert app.migrate_pages(None, {0, 2}, {1}) == 0
    assert areas_asked(machine) == [(area.start, 0b101) for area in areas]
    assert app.nodes_of(heap).tolist() == [1] * 4


@pytest.mark.parametrize("code", [-errno.EIO, -errno.EPERM])
def test_q20_a_negative_result_is_the_result_of_the_call(
    machine: pm.Machine, app: pm.Task, heap: pm.Region, code: int
) -> None:
    """Q20, syscalls 5.3 step 3: no later area is asked, no page is moved, though all were drained."""
    areas = [scripted_area(machine, app, name, result) for name, result in (("one", code), ("two", 0))]
    machine.record()
    with pytest.raises(OSError, match="migrate_pages") as refused:
        app.migrate_pages(None, {0}, {1})
    assert refused.value.errno == -code
    assert areas_asked(machine) == [(areas[0].start, 0b1)]
    assert app.nodes_of(heap).tolist() == [0] * 4


def test_q20_a_positive_result_stops_it_and_is_lost(
    machine: pm.Machine, app: pm.Task, heap: pm.Region
) -> None:
    """Q20, syscalls 5.3 step 6: not negative, so the number of busy pages is returned, which is 0."""
    areas = [scripted_area(machine, app, name, code) for name, code in (("one", 0), ("two", 7), ("three", 0))]
    machine.record()
    assert app.migrate_pages(None, {0}, {1}) == 0
    assert areas_asked(machine) == [(area.start, 0b1) for area in areas[:2]]
    assert app.nodes_of(heap).tolist() == [0] * 4


def test_q20_only_migrate_pages_asks_the_areas(machine: pm.Machine, app: pm.Task, heap: pm.Region) -> None:
    """Migration 23: `move_pages` and offlining know nothing of the method, whatever it would say."""
    scripted_area(machine, app, "one", -errno.EIO)
    machine.record()
    assert app.move_pages(heap, 1).tolist() == [1] * 4
    assert areas_asked(machine) == []


# Q22, Q23 ----------------------------------------------------------------------------------


def test_q22_pages_may_land_on_another_node_and_are_counted_as_moved(
    machine: pm.Machine, app: pm.Task, heap: pm.Region
) -> None:
    """Q22: the wanted node is full, its fallback list begins with node 2: 0 pages are reported as left."""
    fill(machine, 1)
    assert [node for node, _ in zonelist(machine, 1)] == [1, 2, 0]
    assert app.migrate_pages(None, {0}, {1}) == 0
    assert app.nodes_of(heap).tolist() == [2] * 4


def test_q22_move_pages_asks_for_exactly_the_node(machine: pm.Machine, app: pm.Task, heap: pm.Region) -> None:
    """Q22, NP-4: the other caller on the same machine: no fallback, so -ENOMEM."""
    fill(machine, 1)
    with pytest.raises(OSError, match="move_pages") as refused:
        app.move_pages(heap, 1)
    assert refused.value.errno == errno.ENOMEM
    assert app.nodes_of(heap).tolist() == [0] * 4


def test_q23_frames_come_from_the_callers_cpuset(machine: pm.Machine, app: pm.Task, heap: pm.Region) -> None:
    """Q23: node 1 is the target's to go to, not the caller's to give: new frames on node 0, counted moved."""
    machine.create_cpuset("target", mems=[0, 1]).attach(app)
    caller = machine.spawn("caller", stack=False)
    machine.create_cpuset("caller", mems=[0]).attach(caller)
    before = pfns_in(app, heap)
    assert caller.migrate_pages(app, {0}, {1}) == 0
    assert app.nodes_of(heap).tolist() == [0] * 4
    assert not set(before) & set(pfns_in(app, heap))


def test_q23_permission_comes_from_the_targets_cpuset(
    machine: pm.Machine, app: pm.Task, heap: pm.Region
) -> None:
    """Q23, syscalls 5.2 step 6: EPERM for a node that only the caller has, unless he has CAP_SYS_NICE."""
    machine.create_cpuset("target", mems=[0]).attach(app)
    plain = machine.spawn("plain", capabilities=pm.Capability.NONE, stack=False)
    able = machine.spawn("able", stack=False)
    machine.create_cpuset("callers", mems=[0, 1]).attach(plain)
    with pytest.raises(PermissionError):
        plain.migrate_pages(app, {0}, {1})
    assert app.nodes_of(heap).tolist() == [0] * 4
    assert able.migrate_pages(app, {0}, {1}) == 0
    assert app.nodes_of(heap).tolist() == [1] * 4


# Q25, Q33, Q34 -----------------------------------------------------------------------------


def test_q25_the_scan_takes_frame_0_for_none(machine: pm.Machine, app: pm.Task, heap: pm.Region) -> None:
    """Q25: the first page of the range is in frame 0: nothing is tried, not even for the pages behind it."""
    assert pfns_in(app, heap) == [0, 1, 2, 3]
    isolations = machine.cost["isolations"]
    with pytest.raises(OSError, match="offline") as refused:
        machine.offline(0, 16)
    assert refused.value.errno == errno.EBUSY
    assert machine.cost["isolations"] == isolations
    assert pfns_in(app, heap) == [0, 1, 2, 3]
    assert machine.pageblocks(0)[0].state is pm.BlockState.MOVABLE


def test_q25_any_other_frame_is_found(machine: pm.Machine, app: pm.Task, heap: pm.Region) -> None:
    """Q25: without a page in frame 0 the same range goes."""
    app.munmap(heap[0])
    machine.drain()
    machine.offline(0, 16)
    assert not set(pfns_in(app, heap[1:])) & set(range(16))
    assert machine.present_pages(0) == 16


@pytest.mark.parametrize("flag", [V.IO, V.RESERVED])
@pytest.mark.parametrize("is_file", [False, True], ids=["anonymous", "file"])
def test_q33_a_query_sees_pages_that_no_move_touches(
    machine: pm.Machine, app: pm.Task, flag: pm.VmFlags, is_file: bool
) -> None:
    """Q33, PS-2, DM-2a: the node when asked, -EFAULT when moved, even to the node where it is."""
    file = machine.create_file("data", pm.PAGE_SIZE, filesystem=PLAIN) if is_file else None
    area = app.mmap(pm.PAGE_SIZE, file=file, shared=is_file, flags=flag)
    app.touch(area)
    machine.drain()
    assert app.move_pages(area).tolist() == [0]
    for node in (0, 1):
        assert app.move_pages(area, node).tolist() == [-errno.EFAULT]
    assert counts(machine, OLD) == (1 + is_file, 1)


def test_q33_a_file_whose_pages_come_from_a_lower_zone(machine: pm.Machine, app: pm.Task) -> None:
    """Q33: `vma_migratable` says no to it; a query does not ask; nor does offlining."""
    filesystem = dataclasses.replace(PLAIN, below_policy_zone=True)
    file = machine.create_file("low", pm.PAGE_SIZE, filesystem=filesystem)
    area = app.mmap(pm.PAGE_SIZE, file=file, shared=True)
    app.touch(area, write=False)
    machine.drain()
    assert (app.move_pages(area).tolist(), app.move_pages(area, 1).tolist()) == ([0], [-errno.EFAULT])
    assert app.migrate_pages(None, {0}, {1}) == 0
    assert app.nodes_of(area).tolist() == [0]
    assert machine.migrate_pages([file.pfn_of(0)], pm.ToNode(1), offlining=True).statuses.tolist() == [1]


def test_q34_soft_offline_and_offlining_hold_no_mmap_sem(
    machine: pm.Machine, app: pm.Task, heap: pm.Region
) -> None:
    """Q34, S18, S20, S22: munmap, mprotect and fork of the only mapper go on while its entry is there."""
    page = heap[1]
    for what in (pm.calls.soft_offline(1), pm.calls.offline(0, 16)):
        twin = machine.clone()
        task = twin.task(app.pid)
        task.munmap(heap[0])
        twin.drain()
        call = reach(twin, twin.start(what, by=twin.spawn("operator", stack=False)), "UM-10")
        moving = next(each for each in heap[1:] if task.entry_at(each.start).kind is pm.EntryKind.MIGRATION)
        assert moving == page
        child = task.fork("child")
        task.mprotect(page, pm.R)
        twin.check()
        assert child.entry_at(page.start).kind is pm.EntryKind.MIGRATION
        child.munmap(child.same(page))
        task.munmap(page)
        twin.check()
        finish(twin, call)
        assert (call.error, task.entry_at(page.start).kind) == (None, pm.EntryKind.NONE)


@pytest.mark.parametrize("what", ["munmap", "mprotect", "fork"])
def test_q34_the_system_calls_keep_their_target_as_it_is(
    machine: pm.Machine, app: pm.Task, heap: pm.Region, what: str
) -> None:
    """Q34: `move_pages` and `migrate_pages(2)` hold ``mmap_sem`` of that memory: the same three wait."""
    calls = {
        "munmap": pm.calls.munmap(heap[0]),
        "mprotect": pm.calls.mprotect(heap[0], pm.R),
        "fork": pm.calls.fork("child"),
    }
    for mover in (pm.calls.move_pages(heap, 1), pm.calls.migrate_pages(None, {0}, {1})):
        twin = machine.clone()
        move = reach(twin, twin.start(mover, by=app.pid), "UM-10")
        wait = block(twin, twin.start(calls[what], by=app.pid))
        assert (wait.lock, wait.holder) == ("mmap_sem", move.number)
        twin.run()
        twin.check()


# PB-4, NP-2, MP-1, MP-4 --------------------------------------------------------------------


def test_every_page_that_is_left_is_put_back_and_counted_off(
    machine: pm.Machine, app: pm.Task, heap: pm.Region
) -> None:
    """PB-1 to PB-4, MP-5: head to tail, one step each: isolated counter - 1, a pagevec entry more."""
    fill(machine, 1)
    machine.drain()
    move = reach(machine, machine.start(pm.calls.move_pages(heap, 1), by=app), "MP-5")
    for left in (4, 3, 2, 1, 0):
        assert machine.zone_counters(0)["nr_isolated_anon"] == left
        assert waiting(machine).get(ACTIVE, []) == list(range(4 - left))
        assert left == 0 or "PB-4" in move.labels
        move.step()
        machine.check()
    assert move.labels == ("DM-4",)
    finish(machine, move)
    assert move.error.errno == errno.ENOMEM


def test_the_last_record_before_the_end_marker_is_found(app: pm.Task) -> None:
    """NP-1, NP-2, DP-4: the scan ends at the marker behind record 169, and no sooner.

    Method: in a full chunk only the last record's page is to be moved, and it must find its own.
    """
    machine = pm.Machine(nodes=[200 * pm.PAGE_SIZE] * 2, cpus=1)
    app = machine.spawn("app")
    heap = app.mmap(170 * pm.PAGE_SIZE)
    app.touch(heap)
    machine.drain()
    nodes = [0] * 168 + [1, 0]
    assert app.move_pages(heap, nodes).tolist() == nodes
    assert machine.cost["attempts"] == 1
    assert app.nodes_of(heap).tolist() == nodes
    machine.check()


def congested(machine: pm.Machine, app: pm.Task) -> None:
    """Leave a page on an inactive list that could be written, if its device had not too much to do."""
    machine.set_swap_device(congested=True)
    page = app.mmap(pm.PAGE_SIZE)
    app.touch(page)
    machine.drain()
    assert app.swap_out(page) == 0
    machine.drain()


def may_write(machine: pm.Machine, task: pm.Task) -> bool:
    """Whether reclaim by a task writes to the congested device, as the machine is now."""
    twin = machine.clone()
    twin.reclaim(0, by=twin.task(task.pid))
    return bool(twin.pending_io)


def test_a_task_that_moves_pages_may_write_to_congested_devices(
    machine: pm.Machine, app: pm.Task, admin: pm.Task, heap: pm.Region
) -> None:
    """MP-1, MP-4, I-120: PF_SWAPWRITE of that task, from the first step of the batch to the last."""
    congested(machine, app)
    move = machine.start(pm.calls.move_pages(heap, 1), by=app)
    reach(machine, move, "MP-1")
    assert (may_write(machine, app), may_write(machine, admin)) == (False, False)
    move.step()
    assert (may_write(machine, app), may_write(machine, admin)) == (True, False)
    reach(machine, move, "MP-4")
    assert (may_write(machine, app), may_write(machine, admin)) == (True, False)
    reach(machine, move, "DM-4")
    assert (may_write(machine, app), may_write(machine, admin)) == (False, False)
    finish(machine, move)


def test_a_task_that_had_the_permission_before_keeps_it(
    machine: pm.Machine, app: pm.Task, heap: pm.Region
) -> None:
    """MP-1, MP-4: a second batch of the same task ends within the first, which goes on with it."""
    congested(machine, app)
    outer = reach(machine, machine.start(pm.calls.move_pages(heap[0], 1), by=app), "UM-3")
    finish(machine, machine.start(pm.calls.move_pages(heap[1], 1), by=app))
    assert may_write(machine, app)
    finish(machine, outer)
    assert not may_write(machine, app)


def test_a_batch_that_runs_out_of_memory_gives_the_permission_back(
    machine: pm.Machine, app: pm.Task, heap: pm.Region
) -> None:
    """MP-2, MP-4, I-120: -ENOMEM leaves by the same door."""
    congested(machine, app)
    fill(machine, 1)
    machine.drain()
    move = reach(machine, machine.start(pm.calls.move_pages(heap, 1), by=app), "MP-4")
    assert may_write(machine, app)
    finish(machine, move)
    assert (move.error.errno, may_write(machine, app)) == (errno.ENOMEM, False)


def test_attempts_are_counted_whoever_calls(machine: pm.Machine, app: pm.Task, heap: pm.Region) -> None:
    """Q01, Q19: soft offline makes ten attempts, too, with a frame of the same node wasted for each."""
    app.pin(heap.start)
    call = machine.start(pm.calls.soft_offline(OLD), by=app)
    attempts(machine, call, 10)
    assert waiting(machine)[pm.LruList.INACTIVE_ANON] == list(range(4, 14))
    assert never_reaches(machine, call, "UM-1")
    finish(machine, call)
    assert call.error.errno == errno.EIO
    app.unpin(OLD)
