"""Where frames come from: zones, watermarks, zonelists, policies.

Source: data-model 1, supporting-paths 14.
"""

from __future__ import annotations

import contextlib
import errno

import pytest

import pagemig as pm

from .stepping import free, zonelist

PAGE = pm.PAGE_SIZE
NORMAL, DMA, DMA32, MOVABLE = pm.ZoneKind.NORMAL, pm.ZoneKind.DMA, pm.ZoneKind.DMA32, pm.ZoneKind.MOVABLE


def fill(task: pm.Task, pages: int) -> list[int]:
    """Touch fresh pages; return their nodes in the order of the faults, until memory is out."""
    region = task.mmap(pages * PAGE)
    with contextlib.suppress(pm.OutOfMemoryError):
        task.touch(region)
    return [node for node in task.nodes_of(region).tolist() if node >= 0]


def node(frames: int, *, low: int = 0, least: int = 0, cpus: int | None = None) -> pm.Node:
    """A node of one NORMAL zone with watermarks."""
    return pm.Node(zones=[pm.Zone(NORMAL, frames * PAGE, min=least, low=low)], cpus=cpus)


def move_all(task: pm.Task, region: pm.Region, to: int) -> list[int]:
    """Move page by page until one finds no frame; return the statuses."""
    statuses = []
    for page in region:
        try:
            statuses += task.move_pages(page, to).tolist()
        except OSError as refused:
            statuses.append(-(refused.errno or 0))
            break
    return statuses


# Free frames and watermarks ---------------------------------------------------------------------


def test_the_lowest_free_frame_is_taken_first(machine: pm.Machine, app: pm.Task, heap: pm.Region) -> None:
    """Data-model 1.4, README 3: also when it was given back just now."""
    app.munmap(heap[1])
    region = app.mmap(2 * PAGE)
    app.touch(region)
    assert [app.page_at(page.start).pfn for page in region] == [1, 4]


def test_without_watermarks_the_last_frame_can_be_had(machine: pm.Machine, app: pm.Task) -> None:
    """Data-model 1.2: 64 and 64; then there is no memory, and what was touched stays."""
    assert fill(app, 130) == [0] * 64 + [1] * 64
    assert app.rss == 128


def test_low_is_tried_everywhere_before_min() -> None:
    """Supporting-paths 14: free > LOW on each zone in turn, then free > MIN, then no memory."""
    machine = pm.Machine(nodes=[node(8, low=4, least=2), node(8, low=5, least=1)], cpus=1)
    assert fill(machine.spawn(), 16) == [0] * 4 + [1] * 3 + [0] * 2 + [1] * 4
    assert (free(machine, 0), free(machine, 1)) == (2, 1)


def test_a_move_to_a_node_tries_low_once_and_never_min() -> None:
    """Supporting-paths 14, NP-4: the full this-node combination fails at LOW."""
    machine = pm.Machine(nodes=[node(16), node(8, low=4, least=2)], cpus=1)
    app = machine.spawn()
    region = app.mmap(6 * PAGE)
    app.touch(region)
    machine.drain()
    assert move_all(app, region, 1) == [1] * 4 + [-errno.ENOMEM]
    assert free(machine, 1) == 4
    machine.check()


def test_the_engine_with_fallback_tries_min_too() -> None:
    """Supporting-paths 14: ToNode is no this-node request: LOW of every zone, then MIN, then failure."""
    machine = pm.Machine(nodes=[node(8), node(8, low=4, least=2)], cpus=1)
    app = machine.spawn()
    region = app.mmap(8 * PAGE)
    app.touch(region)
    machine.drain()
    result = machine.migrate_pages(range(8), pm.ToNode(1))
    assert result.error == errno.ENOMEM
    assert app.nodes_of(region).tolist() == [1] * 6 + [0] * 2
    assert free(machine, 1) == 2
    machine.check()


# Zones -----------------------------------------------------------------------------------------


@pytest.fixture
def zoned() -> pm.Machine:
    """Node 0 with DMA, DMA32, NORMAL and MOVABLE of 4 frames each; node 1 with NORMAL."""
    kinds = [MOVABLE, DMA, NORMAL, DMA32]
    return pm.Machine(nodes=[pm.Node(zones=[pm.Zone(kind, 4 * PAGE) for kind in kinds]), 16 * PAGE], cpus=1)


def test_zones_of_a_node_are_numbered_in_order_of_their_kind(zoned: pm.Machine) -> None:
    """Data-model 1.2: frames 0 to 15 are DMA, DMA32, NORMAL, MOVABLE."""
    kinds = [zoned.frame(pfn).zone for pfn in range(0, 16, 4)]
    assert kinds == [DMA, DMA32, NORMAL, MOVABLE]


def test_user_memory_comes_from_the_highest_zone_first(zoned: pm.Machine) -> None:
    """Supporting-paths 14: from MOVABLE downwards, all zones of a node before the next node."""
    app = zoned.spawn()
    region = app.mmap(18 * PAGE)
    app.touch(region)
    got = [app.page_at(page.start) for page in region]
    assert [page.zone for page in got if page] == [MOVABLE] * 4 + [NORMAL] * 4 + [DMA32] * 4 + [DMA] * 4 + [
        NORMAL
    ] * 2
    assert [page.node for page in got if page] == [0] * 16 + [1] * 2


def test_a_zonelist_in_node_order_has_all_zones_of_a_node_together(zoned: pm.Machine) -> None:
    """Data-model 1.3: node order is the default."""
    own = [(0, int(kind)) for kind in (MOVABLE, NORMAL, DMA32, DMA)]
    assert zonelist(zoned, 0) == [*own, (1, int(NORMAL))]
    assert zonelist(zoned, 1) == [(1, int(NORMAL)), *own]


def test_a_move_uses_the_nodes_own_zones_highest_first(zoned: pm.Machine) -> None:
    """Data-model 1.3: the this-node list; counters go to the zone of the new frame."""
    app = zoned.spawn()
    app.set_mempolicy(pm.Policy(pm.PolicyMode.BIND, [1]))
    region = app.mmap(9 * PAGE)
    app.touch(region)
    zoned.drain()
    assert app.move_pages(region, 0).tolist() == [0] * 9
    zones = [app.page_at(page.start).zone for page in region]
    assert zones == [MOVABLE] * 4 + [NORMAL] * 4 + [DMA32]
    zoned.check()


# Nodes -----------------------------------------------------------------------------------------


def test_the_fallback_order_is_by_distance() -> None:
    """Data-model 1.3: nearest first."""
    distances = pm.Topology([[10, 30, 15], [30, 10, 20], [15, 20, 10]])
    machine = pm.Machine(nodes=[4 * PAGE] * 3, cpus=3, topology=distances)
    orders = [[entry[0] for entry in zonelist(machine, start)] for start in range(3)]
    assert orders == [[0, 2, 1], [1, 2, 0], [2, 0, 1]]


def test_equal_distances_go_round_upwards_first() -> None:
    """Data-model 1.3: ids greater than the start, ascending, then the smaller ones."""
    machine = pm.Machine(nodes=[4 * PAGE] * 4, cpus=4)
    orders = [[entry[0] for entry in zonelist(machine, start)] for start in range(4)]
    assert orders == [[0, 1, 2, 3], [1, 2, 3, 0], [2, 3, 0, 1], [3, 0, 1, 2]]


def test_faults_follow_the_fallback_order() -> None:
    """Supporting-paths 14: the node of the CPU, then its list."""
    machine = pm.Machine(nodes=[2 * PAGE] * 4, cpus=4)
    assert fill(machine.spawn(cpu=2), 9) == [2, 2, 3, 3, 0, 0, 1, 1]


def test_node_ids_may_have_gaps() -> None:
    """Data-model 1.3: absent ids are in no list, and moves to them are refused."""
    machine = pm.Machine(nodes={1: 4 * PAGE, 7: 4 * PAGE, 63: 4 * PAGE}, cpus=3)
    assert [entry[0] for entry in zonelist(machine, 7)] == [7, 63, 1]
    app = machine.spawn(cpu=1)
    region = app.mmap(PAGE)
    app.touch(region)
    assert app.move_pages(region, 63).tolist() == [63]
    with pytest.raises(OSError, match="move_pages") as refused:
        app.move_pages(region, 2)
    assert refused.value.errno == errno.ENODEV


def test_a_cpu_on_a_node_without_memory_takes_the_nearest() -> None:
    """Data-model 1.3: the list of that node names only nodes with memory."""
    distances = pm.Topology([[10, 40, 20], [40, 10, 20], [20, 20, 10]])
    machine = pm.Machine(nodes=[2 * PAGE, 0, 2 * PAGE], cpus=3, topology=distances)
    assert zonelist(machine, 1) == [(2, int(NORMAL)), (0, int(NORMAL))]
    assert fill(machine.spawn(cpu=1), 4) == [2, 2, 0, 0]


# Policies --------------------------------------------------------------------------------------


def three() -> pm.Machine:
    """Three nodes of 8 frames, a CPU on each."""
    return pm.Machine(nodes=[8 * PAGE] * 3, cpus=3)


def test_bind_takes_its_nodes_in_the_order_of_the_local_list() -> None:
    """Supporting-paths 14: the current node's list filtered by the mask; beyond it there is no memory."""
    app = three().spawn(cpu=1)
    app.set_mempolicy(pm.Policy(pm.PolicyMode.BIND, [0, 2]))
    assert fill(app, 20) == [2] * 8 + [0] * 8


def test_preferred_falls_back_from_its_node() -> None:
    """Supporting-paths 14: the list of the preferred node, unfiltered."""
    app = three().spawn(cpu=0)
    app.set_mempolicy(pm.Policy(pm.PolicyMode.PREFERRED, [2]))
    assert fill(app, 20) == [2] * 8 + [0] * 8 + [1] * 4


def test_preferred_without_a_node_is_local() -> None:
    """Supporting-paths 14: the node of the CPU at the time."""
    app = three().spawn(cpu=1)
    app.set_mempolicy(pm.Policy(pm.PolicyMode.PREFERRED))
    assert fill(app, 2) == [1, 1]
    app.cpu = 2
    assert fill(app, 2) == [2, 2]


@pytest.mark.parametrize("whose", ["task", "area"])
def test_interleave_goes_by_the_offset_of_the_page(whose: str) -> None:
    """Supporting-paths 14: (vm_pgoff + page offset) mod number of nodes, whatever the order of faults."""
    app = three().spawn()
    region = app.mmap(6 * PAGE, at=0x30000)
    policy = pm.Policy(pm.PolicyMode.INTERLEAVE, [0, 2])
    if whose == "task":
        app.set_mempolicy(policy)
    else:
        app.mbind(region, policy)
    for at in (5, 0, 3, 1, 4, 2):
        app.touch(region[at])
    nodes = [0, 2]
    assert app.nodes_of(region).tolist() == [nodes[(0x30 + at) % 2] for at in range(6)]


def test_an_areas_policy_wins_over_the_tasks() -> None:
    """Data-model 10: the VMA's own, else the task's, else local."""
    app = three().spawn()
    app.set_mempolicy(pm.Policy(pm.PolicyMode.BIND, [1]))
    own, other = app.mmap(PAGE), app.mmap(PAGE)
    app.mbind(own, pm.Policy(pm.PolicyMode.BIND, [2]))
    app.touch(own)
    app.touch(other)
    assert app.nodes_of([own.start, other.start]).tolist() == [2, 1]


def test_a_child_has_its_parents_policies() -> None:
    """Supporting-paths 3, data-model 10: the task's and those of its areas."""
    app = three().spawn()
    region, other = app.mmap(PAGE), app.mmap(PAGE)
    app.set_mempolicy(pm.Policy(pm.PolicyMode.BIND, [1]))
    app.mbind(region, pm.Policy(pm.PolicyMode.BIND, [2]))
    child = app.fork()
    child.touch(child.same(region))
    child.touch(child.same(other))
    assert child.nodes_of([region.start, other.start]).tolist() == [2, 1]


def test_a_cpuset_is_a_hard_wall_for_faults_and_not_for_moves() -> None:
    """Supporting-paths 14: outside the caller's mems_allowed nothing, unless this-node is set."""
    machine = three()
    app = machine.spawn(cpu=0, mems_allowed=[1])
    assert fill(app, 10) == [1] * 8
    admin = machine.spawn(cpu=0, mems_allowed=[1])
    app.mems_allowed = [0, 1, 2]
    page = app.regions[0]
    machine.drain()
    assert admin.move_pages([page.start], 2, target=app).tolist() == [2]


def test_bind_to_nodes_outside_the_cpuset_is_no_filter() -> None:
    """Supporting-paths 14: mask and mems_allowed disjoint: the cpuset alone decides."""
    app = three().spawn(cpu=0)
    app.set_mempolicy(pm.Policy(pm.PolicyMode.BIND, [2]))
    app.mems_allowed = [0, 1]
    assert fill(app, 12) == [0] * 8 + [1] * 4


def test_policies_do_not_matter_to_a_move(machine: pm.Machine, app: pm.Task, heap: pm.Region) -> None:
    """NP-4: exactly the named node."""
    app.mbind(heap, pm.Policy(pm.PolicyMode.BIND, [0]))
    assert app.move_pages(heap, 1).tolist() == [1] * 4
