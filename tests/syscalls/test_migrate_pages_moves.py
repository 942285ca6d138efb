"""``migrate_pages(2)``: which pages go where, and what the result counts (syscalls 5.3 to 5.5)."""

from __future__ import annotations

import errno

import pagemig as pm


def call(caller: pm.Task, pid: int, old: set[int], new: set[int]) -> int:
    """The raw call with all 63 bits of the masks."""
    return pm.syscalls.migrate_pages(caller, pid, 64, old, new)


def spread(machine: pm.Machine, app: pm.Task, counts: dict[int, int]) -> dict[int, pm.Region]:
    """Map so many pages on each node, touched and drained to the LRU."""
    regions = {}
    for node, pages in counts.items():
        regions[node] = app.mmap(pages * pm.PAGE_SIZE)
        app.touch(regions[node])
        machine.drain()
        app.move_pages(regions[node], node)
        machine.drain()
    return regions


def tally(app: pm.Task, region: pm.Region) -> dict[int, int]:
    """How many pages of a region are on each node."""
    found = app.nodes_of(region).tolist()
    return {node: found.count(node) for node in sorted(set(found))}


def four_nodes(frames: int = 256) -> pm.Machine:
    """Nodes 0 to 3 and one CPU."""
    return pm.Machine(nodes=[frames * pm.PAGE_SIZE] * 4, cpus=1)


def test_sy53_pairs_go_from_the_end_so_that_no_page_moves_twice() -> None:
    """{0,1,2} to {1,2,3}: (2,3), (1,2), (0,1): every page moves by one."""
    machine = four_nodes()
    app = machine.spawn()
    regions = spread(machine, app, {0: 20, 1: 20, 2: 20})
    assert call(app, 0, {0, 1, 2}, {1, 2, 3}) == 0
    assert [tally(app, regions[node]) for node in (0, 1, 2)] == [{1: 20}, {2: 20}, {3: 20}]


def test_sy53_old_nodes_share_new_ones_cyclically() -> None:
    """remap: the n-th of the old goes to the (n mod k)-th of the new; all to one if there is one."""
    machine = four_nodes()
    app = machine.spawn()
    regions = spread(machine, app, {0: 5, 1: 6, 2: 7, 3: 8})
    assert call(app, 0, {0, 1, 2}, {3}) == 0
    assert [tally(app, region) for region in regions.values()] == [{3: 5}, {3: 6}, {3: 7}, {3: 8}]
    machine.drain()
    assert call(app, 0, {3}, {0, 1}) == 0
    assert {node for region in regions.values() for node in tally(app, region)} == {0}


def test_sy53_a_node_that_is_its_own_target_keeps_its_pages(
    machine: pm.Machine, app: pm.Task, heap: pm.Region
) -> None:
    """{0,1} to {0,1}, and to {1,0}, which is the same set: nothing moves, not even within a node."""
    before = [app.page_at(page.start) for page in heap]
    assert call(app, 0, {0, 1}, {0, 1}) == call(app, 0, {0, 1}, {1, 0}) == 0
    assert [app.page_at(page.start) for page in heap] == before


def test_q07_pages_that_are_still_in_a_pagevec_miss_the_next_pair() -> None:
    """{0,1,3} to {1,3} is a cycle: (3,1) first, then (1,3), then (0,1).

    Of 20 active pages that reached node 1, the 14 of a full pagevec are on its LRU and are carried
    back to node 3; the other 6 cannot be isolated, stay on node 1, and are not counted.
    """
    machine = four_nodes()
    app = machine.spawn()
    regions = spread(machine, app, {0: 3, 3: 20})
    assert call(app, 0, {0, 1, 3}, {1, 3}) == 0
    assert tally(app, regions[3]) == {1: 6, 3: 14}
    assert app.nodes_of(regions[3]).tolist() == [3] * 14 + [1] * 6
    assert tally(app, regions[0]) == {1: 3}


def test_q05_the_pages_that_would_not_move_are_counted_here(
    machine: pm.Machine, app: pm.Task, heap: pm.Region
) -> None:
    """A pinned page is isolated and stays: 5.5 counts it, where move_pages returns 0."""
    pins = [app.pin(heap.start), app.pin(heap[7].start)]
    machine.drain()
    assert call(app, 0, {0}, {1}) == len(pins)
    assert tally(app, heap) == {0: 2, 1: 398}
    assert {app.page_at(heap.start).pfn, app.page_at(heap[7].start).pfn} == set(pins)  # type: ignore[union-attr]


def test_sy53_failures_are_summed_over_all_pairs(machine: pm.Machine, app: pm.Task) -> None:
    """busy grows by each pair's rest."""
    regions = spread(machine, app, {0: 4, 1: 4})
    for region in regions.values():
        app.pin(region.start)
    assert call(app, 0, {0, 1}, {3}) == 2
    assert [tally(app, region) for region in regions.values()] == [{0: 1, 3: 3}, {1: 1, 3: 3}]


def test_sy54_a_page_that_cannot_be_isolated_is_passed_over_and_not_counted(
    machine: pm.Machine, app: pm.Task, heap: pm.Region
) -> None:
    """Somebody else holds it isolated."""
    page = app.page_at(heap.start)
    assert page is not None
    machine.isolate(page.pfn)
    assert call(app, 0, {0}, {1}) == 0
    assert tally(app, heap) == {0: 1, 1: 399}
    machine.putback(page.pfn)


def test_sy54_shared_pages_move_only_for_the_capability(
    machine: pm.Machine, app: pm.Task, heap: pm.Region
) -> None:
    """Without CAP_SYS_NICE the call is silently about pages mapped once (MPOL_MF_MOVE)."""
    child = app.fork()
    app.touch(heap[:10])
    machine.drain()
    assert call(app, 0, {0}, {1}) == 0
    assert tally(app, heap) == {0: 390, 1: 10}
    app.capabilities = pm.Capability.SYS_NICE
    assert call(app, 0, {0}, {3}) == 0
    assert (tally(app, heap), tally(child, child.same(heap))) == ({1: 10, 3: 390}, {0: 10, 3: 390})


def test_sy54_only_normal_pages_of_areas_that_can_be_migrated_are_collected(
    machine: pm.Machine, app: pm.Task
) -> None:
    """The zero page, what was never touched, and a VM_IO area stay as they are."""
    plain, device = app.mmap(3 * pm.PAGE_SIZE), app.mmap(pm.PAGE_SIZE, flags=[pm.VmFlags.IO])
    app.touch(plain[0], write=False)
    app.touch(plain[1])
    app.touch(device)
    assert call(app, 0, {0}, {1}) == 0
    assert app.nodes_of(plain)[1] == 1
    assert app.nodes_of(device).tolist() == [0]
    assert app.entry_at(plain.start).special
    assert app.entry_at(plain[2].start).kind is pm.EntryKind.NONE


def test_sy53_another_tasks_memory_is_what_moves(machine: pm.Machine, app: pm.Task, heap: pm.Region) -> None:
    """The caller's own stays."""
    root = machine.spawn()
    own = root.mmap(pm.PAGE_SIZE)
    root.touch(own)
    assert call(root, app.pid, {0}, {3}) == 0
    assert (tally(app, heap), tally(root, own)) == ({3: 400}, {0: 1})


def test_q22_pages_land_elsewhere_when_the_node_is_full_and_count_as_moved() -> None:
    """The destination is preferred, not demanded: 10 pages for 4 frames, result 0."""
    machine = four_nodes(64)
    app, hog = machine.spawn(), machine.spawn("hog")
    full = hog.mmap(60 * pm.PAGE_SIZE)
    hog.mbind(full, pm.Policy(pm.PolicyMode.BIND, [1]))
    hog.touch(full)
    regions = spread(machine, app, {0: 10})
    assert machine.zone_counters(1)["nr_free_pages"] == 4
    assert call(app, 0, {0}, {1}) == 0
    second = machine.zonelist(1)[1][0]
    assert second != 0
    assert tally(app, regions[0]) == {1: 4, second: 6}


def test_q23_the_callers_cpuset_limits_the_frames_the_targets_was_tested(
    machine: pm.Machine, app: pm.Task, heap: pm.Region
) -> None:
    """A caller on node 0 moves the pages of a task that may use all: to other frames of node 0."""
    app.mems_allowed = [0, 1]
    helper = machine.spawn(uid=1000, mems_allowed=[0])
    before = [app.page_at(page.start).pfn for page in heap]  # type: ignore[union-attr]
    assert call(helper, app.pid, {0}, {1}) == 0
    assert tally(app, heap) == {0: 400}
    after = [app.page_at(page.start).pfn for page in heap]  # type: ignore[union-attr]
    assert all(old != new for old, new in zip(before, after, strict=True))


def test_sy55_no_frame_anywhere_is_enomem_and_ends_the_remaining_pairs() -> None:
    """Counts are lost; what moved before stays moved (the caller may use nodes 2 and 3 only)."""
    machine = four_nodes(64)
    app, hog = machine.spawn(mems_allowed=[2, 3]), machine.spawn("hog")
    for node, pages in ((2, 58), (3, 64)):
        full = hog.mmap(pages * pm.PAGE_SIZE)
        hog.mbind(full, pm.Policy(pm.PolicyMode.BIND, [node]))
        hog.touch(full)
    machine.drain()
    target = machine.spawn(mems_allowed=[0, 1, 2, 3])
    regions = {}
    for node in (0, 1):
        target.set_mempolicy(pm.Policy(pm.PolicyMode.BIND, [node]))
        regions[node] = target.mmap(10 * pm.PAGE_SIZE)
        target.touch(regions[node])
    target.pin(regions[1].start)
    assert call(app, target.pid, {0, 1}, {2}) == -errno.ENOMEM
    # (0, 2) is the first pair: six frames, then none; (1, 2) is never begun.
    assert tally(target, regions[0]) == {0: 4, 2: 6}
    assert tally(target, regions[1]) == {1: 10}
    assert machine.audit() == []
