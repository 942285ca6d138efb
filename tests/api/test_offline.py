"""Memory that goes offline: whole pageblocks, and single frames (syscalls 7 and 8)."""

from __future__ import annotations

import errno

import pytest

import pagemig as pm

PAGE = pm.PAGE_SIZE


@pytest.fixture
def machine() -> pm.Machine:
    """Two nodes of 64 frames in pageblocks of 16, one CPU."""
    return pm.Machine(nodes=[64 * PAGE] * 2, cpus=1, pageblock_frames=16)


@pytest.fixture
def heap(machine: pm.Machine, app: pm.Task) -> pm.Region:
    """Four pages of its memory on node 1, in the pageblock of frames 64 to 79."""
    app.mems_allowed = {1}
    region = app.mmap(4 * PAGE)
    app.touch(region)
    app.mems_allowed = {0, 1}
    machine.drain()
    return region


def test_pages_leave_a_range_that_goes_offline(machine: pm.Machine, app: pm.Task, heap: pm.Region) -> None:
    """They are elsewhere afterwards, and the range is out of the allocator."""
    before = machine.vmstat()["nr_free_pages"]
    assert machine.offline(64, 16) is None
    pages = [app.page_at(page.start) for page in heap]
    assert all(page is not None and not 64 <= page.pfn < 80 for page in pages)
    assert machine.pageblocks(1)[:2] == (
        pm.Pageblock(64, pm.BlockState.OFFLINE),
        pm.Pageblock(80, pm.BlockState.MOVABLE),
    )
    machine.drain()
    assert machine.vmstat()["nr_free_pages"] == before - 16
    assert machine.audit() == []


def test_a_page_in_frame_0_is_never_found(machine: pm.Machine, app: pm.Task) -> None:
    """Q25: 0 means that no page is left, so the range is inspected, and EBUSY."""
    region = app.mmap(PAGE)
    app.touch(region)
    machine.drain()
    page = app.page_at(region.start)
    assert page is not None
    assert page.pfn == 0
    with pytest.raises(OSError, match="offline") as refused:
        machine.offline(0, 16)
    assert refused.value.errno == errno.EBUSY
    assert machine.pageblocks(0)[0].state is pm.BlockState.MOVABLE
    assert machine.audit() == []


def test_a_node_whose_memory_is_all_gone_is_no_node_with_memory(
    machine: pm.Machine, app: pm.Task, heap: pm.Region
) -> None:
    """N_HIGH_MEMORY loses it, and so do all checks: ENODEV, EINVAL, and no policy may name it."""
    assert machine.nodes_with_memory == frozenset({0, 1})
    machine.offline(64, 64)
    assert machine.nodes_with_memory == frozenset({0})
    with pytest.raises(OSError, match="move_pages") as refused:
        app.move_pages(heap, 1)
    assert refused.value.errno == errno.ENODEV
    with pytest.raises(OSError, match="migrate_pages") as refused:
        app.migrate_pages(None, [0], [1])
    assert refused.value.errno in (errno.EPERM, errno.EINVAL)
    with pytest.raises(OSError, match="mbind") as refused:
        app.mbind(heap, pm.Policy(pm.PolicyMode.BIND, [1]))
    assert refused.value.errno == errno.EINVAL
    with pytest.raises(pm.UsageError, match="no memory"):
        machine.migrate_pages([0], pm.ToNode(1))
    with pytest.raises(pm.UsageError):
        machine.spawn(mems_allowed=[1])
    assert machine.clone().nodes_with_memory == frozenset({0})


def test_a_cpuset_without_memory_has_its_parents_nodes(machine: pm.Machine, app: pm.Task) -> None:
    """Data-model 10: the walk towards the root goes on until it finds nodes with memory."""
    group = machine.create_cpuset("group", mems=[1])
    group.attach(app)
    region = app.mmap(PAGE)
    app.touch(region)
    machine.drain()
    with pytest.raises(PermissionError):
        app.move_pages(region, 0)
    machine.offline(64, 64)
    assert app.nodes_of(region).tolist() == [0]
    assert app.move_pages(region, 0).tolist() == [0]


@pytest.mark.parametrize(("first", "count"), [(8, 16), (0, 8), (48, 32)])
def test_a_range_must_be_whole_pageblocks_of_one_zone(machine: pm.Machine, first: int, count: int) -> None:
    """EINVAL, and nothing happens."""
    with pytest.raises(OSError, match="offline") as refused:
        machine.offline(first, count)
    assert refused.value.errno == errno.EINVAL
    assert {block.state for block in machine.pageblocks(0)} == {pm.BlockState.MOVABLE}


def test_a_page_that_is_pinned_keeps_its_block_online(
    machine: pm.Machine, app: pm.Task, heap: pm.Region
) -> None:
    """S42: round after round until the time is over: EAGAIN; then its frames can be had again."""
    app.pin(heap.start)
    before = machine.now
    with pytest.raises(OSError, match="offline") as refused:
        machine.offline(64, 16, timeout=100)
    assert refused.value.errno == errno.EAGAIN
    assert machine.now > before + 100
    assert {block.state for block in machine.pageblocks(1)} == {pm.BlockState.MOVABLE}
    assert app.nodes_of(heap)[0] == 1
    assert machine.audit() == []


def test_offlining_in_steps_can_be_seen(machine: pm.Machine, app: pm.Task, heap: pm.Region) -> None:
    """While it is under way its blocks are isolated."""
    call = machine.start(pm.calls.offline(64, 16), by=machine.spawn("kworker", kernel_thread=True))
    states = set()
    while not call.done:
        assert call.step()
        machine.check()
        states.add(machine.pageblocks(1)[0].state)
    assert call.result is None
    assert states == {pm.BlockState.MOVABLE, pm.BlockState.ISOLATED, pm.BlockState.OFFLINE}


def test_one_frame_can_be_taken_out_of_use(machine: pm.Machine, app: pm.Task, heap: pm.Region) -> None:
    """Soft offline: its page moves within the node, and the frame is poisoned."""
    page = app.page_at(heap.start)
    assert page is not None
    assert machine.soft_offline(page.pfn) is None
    moved = app.page_at(heap.start)
    assert moved is not None
    assert (moved.node, moved.pfn != page.pfn) == (1, True)
    machine.drain()
    assert machine.frame(page.pfn).flags & pm.PageFlags.HWPOISON
    with pytest.raises(OSError, match="soft_offline"):
        machine.soft_offline(page.pfn)


def test_soft_offline_drifts_the_isolated_counter_in_the_exact_profile_only() -> None:
    """Q19: it ends at -1, and the ledger says so."""
    drift = {}
    for profile in pm.Profile:
        machine = pm.Machine(nodes=[64 * PAGE], cpus=1, profile=profile)
        app = machine.spawn()
        region = app.mmap(PAGE)
        app.touch(region)
        machine.drain()
        page = app.page_at(region.start)
        assert page is not None
        machine.soft_offline(page.pfn)
        drift[profile] = (machine.vmstat()["nr_isolated_anon"], machine.drift)
        assert machine.audit() == []
    assert drift == {
        pm.Profile.EXACT: (-1, (pm.Drift("nr_isolated_anon", 0, -1),)),
        pm.Profile.REPAIRED: (0, ()),
    }


def test_a_pinned_frame_cannot_be_taken_out_of_use(
    machine: pm.Machine, app: pm.Task, heap: pm.Region
) -> None:
    """A positive result of the engine becomes EIO."""
    pfn = app.pin(heap.start)
    assert pfn is not None
    with pytest.raises(OSError, match="soft_offline") as refused:
        machine.soft_offline(pfn)
    assert refused.value.errno == errno.EIO


def test_an_operator_who_gets_a_signal_gives_up(machine: pm.Machine, app: pm.Task, heap: pm.Region) -> None:
    """S48: EINTR between two rounds; without the signal it goes on."""
    operator = machine.spawn("operator")
    operator.signal()
    with pytest.raises(InterruptedError, match="offline"):
        machine.offline(64, 16, by=operator)
    assert machine.present_pages(1) == 64
    child = operator.fork()
    operator.signal(pending=False)
    machine.offline(64, 16, by=operator)
    assert machine.present_pages(1) == 48
    machine.offline(80, 16, by=child)
    assert machine.present_pages(1) == 32, "a signal that is pending is not inherited"


def test_time_is_up_at_the_end_of_the_clock(machine: pm.Machine, app: pm.Task, heap: pm.Region) -> None:
    """S42 with a deadline that no clock reaches: EAGAIN, and everything as it was."""
    app.pin(heap.start)
    machine.advance((1 << 64) - 4)
    with pytest.raises(BlockingIOError, match="offline"):
        machine.offline(64, 16)
    assert machine.now == (1 << 64) - 1
    assert machine.pageblocks(1)[0].state is pm.BlockState.MOVABLE
    machine.drain()
    assert machine.audit() == []


def test_memory_that_is_not_there_cannot_go(machine: pm.Machine, app: pm.Task) -> None:
    """Frames, counts, times and block sizes that make no sense; nothing changes."""
    wrong = [
        lambda: machine.offline(-16, 16),
        lambda: machine.offline(0, 0),
        lambda: machine.offline(0, 256),
        lambda: machine.offline(128, 16),
        lambda: machine.offline(0, 16, timeout=-1),
        lambda: machine.offline(0, "16"),  # type: ignore[arg-type]
        lambda: machine.soft_offline(-1),
        lambda: machine.soft_offline(128),
        lambda: machine.start(pm.calls.offline(0, 256), by=app),
        lambda: machine.pageblocks(7),
        lambda: machine.present_pages(7),
        lambda: app.signal(pending=1),  # type: ignore[arg-type]
        lambda: app.pin(0, write=1),  # type: ignore[arg-type]
        lambda: machine.spawn(kernel_thread="no"),  # type: ignore[arg-type]
        lambda: machine.spawn(stack=0),  # type: ignore[arg-type]
        lambda: pm.Machine(nodes=[pm.MiB], pageblock_frames=0),
        lambda: pm.Machine(nodes=[pm.MiB], pageblock_frames=48),
        lambda: pm.Machine(nodes=[pm.MiB], pageblock_frames="512"),  # type: ignore[arg-type]
    ]
    for ask in wrong:
        with pytest.raises(pm.UsageError):
            ask()
    assert {block.state for node in (0, 1) for block in machine.pageblocks(node)} == {pm.BlockState.MOVABLE}
