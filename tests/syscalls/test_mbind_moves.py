"""``mbind(2)``: which pages of a range move, where to, and what is said of the others (6.2 to 6.4)."""

from __future__ import annotations

import errno

import pytest

import pagemig as pm

DEFAULT, PREFERRED, BIND, INTERLEAVE = range(4)
STRICT, MOVE, MOVE_ALL = 1, 2, 4
BASE = 0x40_0000


def call(app: pm.Task, region: pm.Region, mode: int, nodes: set[int] | None, flags: int) -> int:
    """The raw call for a region."""
    return pm.syscalls.mbind(app, region.start, region.length, mode, nodes, 64, flags)


def frames(app: pm.Task, region: pm.Region) -> list[int | None]:
    """The frame of each page."""
    found = [app.page_at(page.start) for page in region]
    return [None if page is None else page.pfn for page in found]


def nodes(app: pm.Task, region: pm.Region) -> set[int]:
    """The nodes of a region's pages."""
    return set(app.nodes_of(region).tolist())


def policies(app: pm.Task) -> list[str]:
    """The policy of each area, as numa_maps says it."""
    return [line.split()[1] for line in app.numa_maps().splitlines()]


@pytest.mark.parametrize("mode", [PREFERRED, BIND, INTERLEAVE])
def test_sy62_misplaced_pages_move_to_where_the_policy_wants_them(
    machine: pm.Machine, app: pm.Task, heap: pm.Region, mode: int
) -> None:
    """Step 14: the allocator follows the policy that is now in force, in the range and only there."""
    assert call(app, heap[:50], mode, {1}, MOVE) == 0
    assert (nodes(app, heap[:50]), nodes(app, heap[50:])) == ({1}, {0})
    assert machine.audit() == []


def test_sy62_interleaved_pages_go_by_their_place(app: pm.Task, heap: pm.Region) -> None:
    """Those outside the mask move; each to the node of its offset."""
    assert call(app, heap[:30], INTERLEAVE, {1, 3}, MOVE | STRICT) == 0
    first = heap.start // pm.PAGE_SIZE
    assert app.nodes_of(heap[:30]).tolist() == [(1, 3)[(first + page) % 2] for page in range(30)]


def test_sy63_pages_on_a_node_of_the_mask_keep_their_frames(app: pm.Task, heap: pm.Region) -> None:
    """INVERT wants only what lies outside."""
    app.move_pages(heap[:3], 1)
    before = frames(app, heap)
    assert call(app, heap, BIND, {0, 1}, MOVE | STRICT) == 0
    assert frames(app, heap) == before


@pytest.mark.parametrize("mode", [DEFAULT, PREFERRED])
def test_sy63_an_empty_mask_wants_every_page(app: pm.Task, heap: pm.Region, mode: int) -> None:
    """DEFAULT and local PREFERRED with MOVE give every page another frame, of the caller's node."""
    before = frames(app, heap)
    assert call(app, heap, mode, None, MOVE) == 0
    assert all(old != new for old, new in zip(before, frames(app, heap), strict=True))
    assert nodes(app, heap) == {0}


def test_sy63_strict_alone_stops_at_the_first_misplaced_page(app: pm.Task, heap: pm.Region) -> None:
    """-EIO, and the policy is not applied (step 13); what is not there is not misplaced."""
    before = frames(app, heap), policies(app)
    assert call(app, heap, BIND, {1}, STRICT) == -errno.EIO
    assert (frames(app, heap), policies(app)) == before
    empty = app.mmap(4 * pm.PAGE_SIZE)
    app.touch(empty[0], write=False)
    assert call(app, empty, BIND, {1}, STRICT) == 0


def test_sy61_step_6_default_drops_strict(app: pm.Task, heap: pm.Region) -> None:
    """So a page anywhere is no error, and one that does not move is none either."""
    assert call(app, heap, DEFAULT, None, STRICT) == 0
    assert app.pin(heap.start) is not None
    assert call(app, heap, DEFAULT, None, STRICT | MOVE) == 0


def test_sy62_step_14_strict_with_move_tells_of_pages_that_stayed(
    machine: pm.Machine, app: pm.Task, heap: pm.Region
) -> None:
    """A pinned page: 0 without STRICT, -EIO with it; the policy is applied and the others moved."""
    app.pin(heap.start)
    machine.drain()
    assert call(app, heap[:9], BIND, {1}, MOVE) == 0
    assert app.nodes_of(heap[:9]).tolist() == [0] + [1] * 8
    machine.drain()
    assert call(app, heap[:9], BIND, {3}, MOVE | STRICT) == -errno.EIO
    assert app.nodes_of(heap[:9]).tolist() == [0] + [3] * 8
    assert policies(app)[0] == "bind:3"


def test_sy62_step_14_enomem_is_eio_for_strict_and_nothing_otherwise() -> None:
    """A BIND node with three frames for five pages: three move, and the call says 0, or EIO."""
    for flags, result in ((MOVE, 0), (MOVE | STRICT, -errno.EIO)):
        machine = pm.Machine(nodes=[64 * pm.PAGE_SIZE] * 2, cpus=1)
        app, hog = machine.spawn(), machine.spawn("hog")
        full = hog.mmap(61 * pm.PAGE_SIZE)
        hog.mbind(full, pm.Policy(pm.PolicyMode.BIND, [1]))
        hog.touch(full)
        heap = app.mmap(5 * pm.PAGE_SIZE)
        app.touch(heap)
        assert call(app, heap, BIND, {1}, flags) == result
        assert app.nodes_of(heap).tolist() == [1, 1, 1, 0, 0]
        assert machine.audit() == []


def test_sy63_shared_pages_are_passed_over_in_silence_unless_all_shall_move(
    machine: pm.Machine, app: pm.Task, heap: pm.Region
) -> None:
    """D81: not even STRICT notices that they were not collected."""
    child = app.fork()
    app.touch(heap[0])
    machine.drain()
    assert call(app, heap[:4], BIND, {1}, MOVE | STRICT) == 0
    assert app.nodes_of(heap[:4]).tolist() == [1, 0, 0, 0]
    app.capabilities = pm.Capability.SYS_NICE
    assert call(app, heap[:4], BIND, {1}, MOVE_ALL | STRICT) == 0
    assert app.nodes_of(heap[:4]).tolist() == [1] * 4
    assert child.nodes_of(child.same(heap[:4])).tolist() == [0, 1, 1, 1]


def test_sy63_a_page_that_cannot_be_isolated_is_unnoticed(
    machine: pm.Machine, app: pm.Task, heap: pm.Region
) -> None:
    """Somebody else holds it: STRICT with MOVE still says 0."""
    page = app.page_at(heap.start)
    assert page is not None
    machine.isolate(page.pfn)
    assert call(app, heap[:2], BIND, {1}, MOVE | STRICT) == 0
    assert app.nodes_of(heap[:2]).tolist() == [0, 1]
    machine.putback(page.pfn)


def test_sy63_strict_looks_into_areas_that_cannot_be_migrated(machine: pm.Machine, app: pm.Task) -> None:
    """VM_IO: MOVE alone passes by, STRICT alone finds the page misplaced, both together move it."""
    device = app.mmap(pm.PAGE_SIZE, flags=[pm.VmFlags.IO])
    app.touch(device)
    assert call(app, device, BIND, {1}, MOVE) == 0
    assert nodes(app, device) == {0}
    assert call(app, device, BIND, {1}, STRICT) == -errno.EIO
    assert call(app, device, BIND, {1}, STRICT | MOVE) == 0
    assert nodes(app, device) == {1}
    assert machine.audit() == []


def test_sy62_step_13_a_gap_puts_everything_back(machine: pm.Machine, app: pm.Task) -> None:
    """-EFAULT: what had been collected before the gap returns to the LRU, nothing moves."""
    low, high = app.mmap(4096, at=BASE), app.mmap(4096, at=BASE + 8192)
    for region in (low, high):
        app.touch(region)
    before = frames(app, low), frames(app, high), policies(app)
    whole = pm.Region(app, BASE, 3 * 4096)
    assert call(app, whole, BIND, {1}, MOVE) == -errno.EFAULT
    assert (frames(app, low), frames(app, high), policies(app)) == before
    assert machine.vmstat()["nr_isolated_anon"] == 0
    machine.drain()
    assert call(app, low, BIND, {1}, MOVE | STRICT) == 0
    assert nodes(app, low) == {1}


def test_sy63_a_gap_at_the_end_is_an_error_only_after_the_last_area(machine: pm.Machine) -> None:
    """With the stack above, the walk ends in peace; without it, the last area is too short."""
    for stack, result in ((True, 0), (False, -errno.EFAULT)):
        task = machine.spawn(stack=stack)
        region = task.mmap(4096, at=BASE)
        assert call(task, pm.Region(task, BASE, 8192), BIND, {1}, MOVE) == result
        assert call(task, pm.Region(task, BASE, 8192), DEFAULT, None, 0) == 0
        assert len(region) == 1


def test_q24_a_gap_at_the_start_is_found_after_the_pages_were_collected(
    machine: pm.Machine, app: pm.Task
) -> None:
    """-EFAULT from applying the policy, and the pages move all the same: by the policy that they had."""
    region = app.mmap(4 * 4096, at=BASE + 4096)
    app.touch(region)
    assert call(app, region, PREFERRED, {3}, 0) == 0
    from_hole = pm.Region(app, BASE, 5 * 4096)
    assert call(app, from_hole, BIND, {1}, MOVE) == -errno.EFAULT
    assert app.nodes_of(region).tolist() == [3] * 4
    assert policies(app)[0] == "prefer:3"
    assert machine.audit() == []


def test_sy64_default_has_two_efaults_only(machine: pm.Machine) -> None:
    """Start in a hole, or nothing above it; and even then collected pages have moved (Q24)."""
    task = machine.spawn(stack=False)
    region = task.mmap(4096, at=BASE)
    task.touch(region)
    before = frames(task, region)
    assert call(task, pm.Region(task, BASE - 4096, 8192), DEFAULT, None, MOVE) == -errno.EFAULT
    assert frames(task, region) != before
    assert call(task, pm.Region(task, BASE + 4096, 4096), DEFAULT, None, 0) == -errno.EFAULT


def test_sy62_only_the_first_piece_of_a_range_merges(app: pm.Task) -> None:
    """Pieces after it are offered a wrong file offset; a piece cut out may merge upwards only."""
    region = app.mmap(6 * 4096, at=BASE)
    areas = lambda: [len(area) for area in app.regions if area.start in region]  # noqa: E731
    assert call(app, region[2:4], BIND, {1}, 0) == 0
    assert areas() == [2, 2, 2]
    assert call(app, region, DEFAULT, None, 0) == 0
    assert areas() == [2, 2, 2]
    assert call(app, region[2:4], BIND, {1}, 0) == 0
    assert call(app, region[2:4], DEFAULT, None, 0) == 0
    assert areas() == [6]


def test_sy62_step_14_the_policy_holds_for_pages_that_come_later(app: pm.Task) -> None:
    """Also of a call whose pages did not all move."""
    region = app.mmap(3 * 4096)
    app.touch(region[0])
    app.pin(region.start)
    assert call(app, region, BIND, {3}, MOVE | STRICT) == -errno.EIO
    app.touch(region)
    assert app.nodes_of(region).tolist() == [0, 3, 3]


def test_syscalls_1_destinations_are_the_callers_cpuset(app: pm.Task, heap: pm.Region) -> None:
    """The mask is cut to it, and a relative one is folded onto it; the scan asks for the user's own."""
    app.mems_allowed = [0, 3]
    assert call(app, heap[:2], BIND, {1, 3}, MOVE) == 0
    assert nodes(app, heap[:2]) == {3}
    assert call(app, heap[2:4], BIND | 0x4000, {1}, MOVE) == 0
    assert nodes(app, heap[2:4]) == {3}
    before = frames(app, heap[4:6])
    assert call(app, heap[4:6], BIND | 0x4000, {0, 2}, MOVE) == 0
    assert frames(app, heap[4:6]) == before
