"""The steps of the system call around the engine: MV, DP, DM, NP; PS has a file of its own.

What user memory can do to the call in full is in ``tests/syscalls``; here each label is shown
once, with what it does to the machine.
"""

from __future__ import annotations

import errno

import numpy as np
import pytest

import pagemig as pm

from .stepping import block, counts, finish, free, lru, never_reaches, reach, settle, waiting

MOVE, MOVE_ALL = 2, 4
F = pm.PageFlags
FILE = pm.LruList.INACTIVE_FILE


def raw(caller: pm.Task, pid: int, pages: pm.Region, node: int | None, flags: int = MOVE) -> tuple[int, list]:
    """The raw call for a region: (result, statuses), of which 99 is none."""
    status = np.full(len(pages), 99, np.int32)
    nodes = None if node is None else np.full(len(pages), node, np.int32)
    result = pm.syscalls.move_pages(caller, pid, len(pages), pages.addresses, nodes, status, flags)
    return result, status.tolist()


# MV ----------------------------------------------------------------------------------------


def test_unknown_flags_are_refused_before_anything_else(app: pm.Task, page: pm.Region) -> None:
    """MV-1 before MV-2 and MV-3: -EINVAL even without capability and for a pid that is gone."""
    app.capabilities = pm.Capability.NONE
    for flags in (1, 8, MOVE_ALL | 1):
        assert raw(app, 99, page, 1, flags) == (-errno.EINVAL, [99])


def test_moving_shared_pages_needs_the_capability(app: pm.Task, page: pm.Region) -> None:
    """MV-2 before MV-3: -EPERM, even for a pid that is gone."""
    app.capabilities = pm.Capability.NONE
    assert raw(app, 99, page, 1, MOVE_ALL) == (-errno.EPERM, [99])
    assert raw(app, 99, page, 1, MOVE) == (-errno.ESRCH, [99])


def test_the_target_is_found_by_its_pid(
    machine: pm.Machine, admin: pm.Task, app: pm.Task, page: pm.Region
) -> None:
    """MV-3: 0 is the caller; another pid names that task; -ESRCH if there is none."""
    assert raw(app, 0, page, None) == (0, [0])
    assert raw(admin, app.pid, page, None) == (0, [0])
    assert raw(admin, 0, page, None) == (0, [-errno.EFAULT])
    assert raw(admin, 77, page, None) == (-errno.ESRCH, [99])


def test_a_target_without_memory_is_refused(machine: pm.Machine, admin: pm.Task, page: pm.Region) -> None:
    """MV-4 before MV-5: -EINVAL for a kernel thread, also for a caller who has no right to ask."""
    thread = machine.spawn("kswapd", kernel_thread=True)
    admin.capabilities = pm.Capability.NONE
    admin.uid = admin.euid = 7
    assert raw(admin, thread.pid, page, None) == (-errno.EINVAL, [99])


@pytest.mark.parametrize("mine", ["uid", "euid"])
@pytest.mark.parametrize("theirs", ["uid", "suid"])
def test_one_of_four_pairs_of_user_ids_permits_the_call(
    machine: pm.Machine, app: pm.Task, page: pm.Region, mine: str, theirs: str
) -> None:
    """MV-5: caller's euid or uid equals target's suid or uid; the target's euid does not count."""
    caller = machine.spawn("user", uid=7, capabilities=pm.Capability.NONE)
    app.uid, app.euid, app.suid = 1, 7, 2
    assert raw(caller, app.pid, page, 1) == (-errno.EPERM, [99])
    setattr(caller, mine, 5)
    setattr(app, theirs, 5)
    assert raw(caller, app.pid, page, 1) == (0, [1])


def test_a_security_module_has_the_last_word(
    machine: pm.Machine, admin: pm.Task, app: pm.Task, page: pm.Region
) -> None:
    """MV-6 after MV-5: its errno is the result, and nothing was drained or moved."""
    machine.security_hook = pm.SecurityHook({(admin.pid, app.pid): errno.EACCES})
    assert raw(admin, app.pid, page, 1) == (-errno.EACCES, [99])
    user = machine.spawn("user", uid=7)
    machine.security_hook = pm.SecurityHook({(user.pid, app.pid): errno.EACCES})
    assert raw(user, app.pid, page, 1) == (-errno.EPERM, [99])
    assert app.nodes_of(page).tolist() == [0]


def test_without_nodes_the_call_only_asks(machine: pm.Machine, app: pm.Task, page: pm.Region) -> None:
    """MV-7: a null node pointer queries; that drains nothing and moves nothing."""
    extra = app.mmap(pm.PAGE_SIZE)
    app.touch(extra)
    before = machine.vmstat()
    assert raw(app, 0, page, None) == (0, [0])
    assert raw(app, 0, extra, None) == (0, [0])
    assert machine.vmstat() == before
    assert waiting(machine)
    assert raw(app, 0, page, 1) == (0, [1])


def test_flags_of_zero_move_exclusive_pages(app: pm.Task, page: pm.Region) -> None:
    """MV-8 and section 22: flags 0 is legal and behaves like MPOL_MF_MOVE."""
    child = app.fork()
    assert raw(app, 0, page, 1, 0) == (0, [-errno.EACCES])
    child.exit()
    assert raw(app, 0, page, 1, 0) == (0, [1])


def test_a_target_that_exits_during_the_call_is_torn_down_by_it(
    machine: pm.Machine, admin: pm.Task, app: pm.Task, page: pm.Region
) -> None:
    """MV-8, S47: the call's reference keeps the memory; dropping it frees everything."""
    move = machine.start(pm.calls.move_pages([page.start], 1, target=app), by=admin)
    reach(machine, move, "MC-1")
    app.exit()
    machine.check()
    assert machine.tasks == (admin,)
    assert machine.frame(1).mapcount == 1
    reach(machine, move, "MV-8")
    assert machine.frame(1).mapcount == 1
    finish(machine, move)
    assert move.result.tolist() == [1]
    machine.drain()
    assert (free(machine, 0), free(machine, 1)) == (64, 64)


# DP ----------------------------------------------------------------------------------------


def test_the_targets_cpuset_decides_where_pages_may_go(
    machine: pm.Machine, admin: pm.Task, app: pm.Task, page: pm.Region
) -> None:
    """DP-1, DP-5b: the mask of the target, not of the caller: -EACCES for a node outside."""
    admin.mems_allowed = [0]
    assert raw(admin, app.pid, page, 1) == (0, [1])
    machine.drain()
    app.mems_allowed = [1]
    assert raw(admin, app.pid, page, 0) == (-errno.EACCES, [99])
    assert app.nodes_of(page).tolist() == [1]


def test_a_fresh_chunk_buffer_names_no_page(machine: pm.Machine, app: pm.Task, heap: pm.Region) -> None:
    """DP-2: the buffer counts as empty: an entry that failed before a queued one captures nothing (Q09)."""
    hole = 0x1000
    move = machine.start(pm.calls.move_pages([hole, hole, heap.start], [0, 0, 1]), by=app)
    assert finish(machine, move).result.tolist() == [-errno.ENOENT, -errno.ENOENT, 1]


def test_every_call_that_moves_drains_the_pagevecs_of_all_cpus_first() -> None:
    """DP-3: pages that were touched just now, on another CPU even, can be isolated."""
    machine = pm.Machine(nodes=[64 * pm.PAGE_SIZE] * 2, cpus=2)
    here, there = machine.spawn(cpu=0), machine.spawn(cpu=1)
    region, far = here.mmap(pm.PAGE_SIZE), there.mmap(pm.PAGE_SIZE)
    here.touch(region)
    there.touch(far)
    assert (len(waiting(machine, 0)), len(waiting(machine, 1))) == (1, 1)
    move = machine.start(pm.calls.move_pages([far.start], 0, target=there), by=here)
    reach(machine, move, "DP-5")
    assert (waiting(machine, 0), waiting(machine, 1)) == ({}, {})
    assert finish(machine, move).result.tolist() == [0]


@pytest.mark.parametrize(("pages", "chunks"), [(1, 1), (169, 1), (170, 2), (338, 2), (339, 3)])
def test_a_chunk_has_169_entries(pages: int, chunks: int) -> None:
    """DP-4, DP-5a: 4096 / 24 - 1; the last chunk is what remains."""
    machine = pm.Machine(nodes=[512 * pm.PAGE_SIZE] * 2, cpus=1)
    app = machine.spawn()
    region = app.mmap(pages * pm.PAGE_SIZE)
    app.touch(region[0])
    move = machine.start(pm.calls.move_pages(region, 1), by=app)
    move.run()
    assert move.history.count("DM-1") == chunks
    assert move.result.tolist() == [1] + [-errno.ENOENT] * (pages - 1)


@pytest.mark.parametrize(
    ("node", "code"),
    [(-1, errno.ENODEV), (64, errno.ENODEV), (2, errno.ENODEV), (5, errno.ENODEV), (3, errno.EACCES)],
)
def test_a_bad_node_ends_the_call_after_the_drain_and_before_any_page(node: int, code: int) -> None:
    """DP-5b, DP-7: out of range, without memory, outside the cpuset; its chunk is left alone."""
    size = 64 * pm.PAGE_SIZE
    machine = pm.Machine(nodes={0: size, 1: size, 2: 0, 3: size}, cpus=1)
    app = machine.spawn(mems_allowed=[0, 1])
    region = app.mmap(2 * pm.PAGE_SIZE)
    app.touch(region)
    move = machine.start(pm.calls.move_pages(region, [1, node]), by=app)
    assert never_reaches(machine, move, "DM-1")
    finish(machine, move)
    assert isinstance(move.error, pm.SyscallError)
    assert (move.error.errno, move.error.statuses.tolist()) == (code, [])
    assert app.nodes_of(region).tolist() == [0, 0]
    assert waiting(machine) == {}


def test_addresses_are_read_before_nodes(app: pm.Task, page: pm.Region) -> None:
    """DP-5b: entry by entry, the address first: -EFAULT wins over the bad node of the same entry."""
    nodes, status = np.array([64], np.int32), np.full(1, 99, np.int32)
    nowhere = pm.UserMemory(page.addresses.copy(), valid_bytes=4)
    assert pm.syscalls.move_pages(app, 0, 1, nowhere, nodes, status, MOVE) == -errno.EFAULT
    assert status.tolist() == [99]


def test_statuses_are_written_after_the_chunk_was_moved(
    machine: pm.Machine, app: pm.Task, heap: pm.Region
) -> None:
    """DP-5c, d, e and DP-6: all written, 0 returned; at a fault -EFAULT, what is moved stays."""
    array = np.full(4, 99, np.int32)
    status = pm.UserMemory(array, valid_bytes=11)
    nodes = np.ones(4, np.int32)
    assert pm.syscalls.move_pages(app, 0, 4, heap.addresses, nodes, status, MOVE) == -errno.EFAULT
    assert array.tolist() == [1, 1, 99, 99]
    assert app.nodes_of(heap).tolist() == [1] * 4


# DM ----------------------------------------------------------------------------------------


def test_a_chunk_keeps_writers_of_the_address_space_out(
    machine: pm.Machine, admin: pm.Task, app: pm.Task, heap: pm.Region
) -> None:
    """DM-1, DM-4: mmap_sem is held for reading from the first record to the end of the batch."""
    move = machine.start(pm.calls.move_pages([heap.start], 1, target=app), by=admin)
    reach(machine, move, "DM-1")
    reach(machine, move, "DM-2")
    unmapping = machine.start(pm.calls.munmap(heap[3]), by=app)
    wait = block(machine, unmapping)
    assert (wait.lock, wait.holder) == ("mmap_sem", move.number)
    for label in ("MP-1", "UM-10", "MP-5", "DM-4"):
        reach(machine, move, label)
        assert not unmapping.step()
    move.step()
    assert unmapping.step()
    settle(machine)
    assert move.result.tolist() == [1]


def test_addresses_without_a_movable_area_are_faults(machine: pm.Machine) -> None:
    """DM-2a: no area at or above the address, or one that is IO, PFNMAP or RESERVED: -EFAULT."""
    app = machine.spawn(stack=False)
    plain = app.mmap(pm.PAGE_SIZE, at=0x10000)
    regions = [
        app.mmap(pm.PAGE_SIZE, at=0x20000 + 0x10000 * n, flags=flag)
        for n, flag in enumerate([pm.VmFlags.IO, pm.VmFlags.PFNMAP, pm.VmFlags.RESERVED])
    ]
    app.touch(plain)
    addresses = [plain.start, *(region.start for region in regions), 0x60000]
    assert app.move_pages(addresses, 1).tolist() == [1] + [-errno.EFAULT] * 4


def test_a_page_that_is_not_there_has_no_entry(app: pm.Task) -> None:
    """DM-2b: nothing touched: -ENOENT."""
    region = app.mmap(pm.PAGE_SIZE)
    assert app.move_pages(region, 1).tolist() == [-errno.ENOENT]


def test_the_zero_page_is_not_there_either(machine: pm.Machine, app: pm.Task) -> None:
    """DM-2c, Q11: reserved: -ENOENT, and the reference taken for the look is gone again."""
    region = app.mmap(pm.PAGE_SIZE)
    app.touch(region, write=False)
    assert app.entry_at(region.start).special
    assert app.move_pages(region, 1).tolist() == [-errno.ENOENT]
    assert app.entry_at(region.start).special


def test_a_page_that_is_there_already_is_left_on_its_list(
    machine: pm.Machine, app: pm.Task, page: pm.Region
) -> None:
    """DM-2d: the status is its node; it was not isolated."""
    before = machine.vmstat()
    assert app.move_pages(page, 0).tolist() == [0]
    assert machine.vmstat() == before
    assert counts(machine, 0) == (1, 1)


def test_a_shared_page_is_moved_only_on_request(machine: pm.Machine, app: pm.Task, page: pm.Region) -> None:
    """DM-2e: map count above 1: -EACCES, unless MPOL_MF_MOVE_ALL."""
    child = app.fork()
    assert app.move_pages(page, 1).tolist() == [-errno.EACCES]
    assert app.move_pages(page, 1, scope=pm.MoveScope.SHARED).tolist() == [1]
    assert child.nodes_of(child.same(page)).tolist() == [1]


def test_a_node_is_looked_at_before_sharing(app: pm.Task, page: pm.Region) -> None:
    """DM-2d before e: a shared page that is there already reports its node."""
    app.fork()
    assert app.move_pages(page, 0).tolist() == [0]


def test_a_queued_page_is_isolated_with_one_reference(
    machine: pm.Machine, app: pm.Task, heap: pm.Region
) -> None:
    """DM-2f, g, h: off its list, counted as isolated; the reference of the look is dropped."""
    move = machine.start(pm.calls.move_pages(heap, 1), by=app)
    reach(machine, move, "DM-2")
    for queued in range(1, 5):
        move.step()
        machine.check()
        zone = machine.zone_counters(0)
        assert (zone["nr_isolated_anon"], zone["nr_active_anon"]) == (queued, 4 - queued)
        assert [counts(machine, pfn) for pfn in range(4)] == [(2, 1)] * queued + [(1, 1)] * (4 - queued)
        assert lru(machine, 0, pm.LruList.ACTIVE_ANON) == list(range(3, queued - 1, -1))
    finish(machine, move)


def test_a_page_off_its_list_is_busy(machine: pm.Machine, app: pm.Task, page: pm.Region) -> None:
    """DM-2f: somebody else has it isolated: -EBUSY."""
    machine.isolate(0)
    assert app.move_pages(page, 1).tolist() == [-errno.EBUSY]
    assert counts(machine, 0) == (2, 1)
    machine.putback(0)


def test_without_a_queued_page_the_engine_is_not_called(
    machine: pm.Machine, app: pm.Task, page: pm.Region
) -> None:
    """DM-3: an empty list is 0 without a pass; DM-4 lets mmap_sem go all the same."""
    move = machine.start(pm.calls.move_pages(page, 0), by=app)
    assert never_reaches(machine, move, "MP-1")
    reach(machine, move, "DM-4")
    finish(machine, move)
    app.munmap(page)


def test_a_batch_that_ends_for_lack_of_frames_ends_the_call(machine: pm.Machine, app: pm.Task) -> None:
    """DM-3, DM-4, DP-5d: -ENOMEM; no status of the chunk is written, what has moved stays moved."""
    region = app.mmap(63 * pm.PAGE_SIZE)
    app.touch(region)
    squatter = machine.spawn("squatter")
    squatter.set_mempolicy(pm.Policy(pm.PolicyMode.BIND, [1]))
    squatter.touch(squatter.mmap(62 * pm.PAGE_SIZE))
    machine.drain()
    with pytest.raises(OSError, match="move_pages") as refused:
        app.move_pages(region[:5], 1)
    assert refused.value.errno == errno.ENOMEM
    assert refused.value.statuses.size == 0
    assert app.nodes_of(region[:5]).tolist() == [1, 1, 0, 0, 0]


# NP ----------------------------------------------------------------------------------------


def test_the_first_record_that_names_a_page_decides_where_it_goes(
    machine: pm.Machine, app: pm.Task, page: pm.Region
) -> None:
    """NP-1, NP-3, Q08: the page is listed twice; the first record gives the node and gets the result."""
    move = machine.start(pm.calls.move_pages([page.start, page.start], [1, 0]), by=app)
    assert finish(machine, move).result.tolist() == [1, 0]
    assert app.nodes_of(page).tolist() == [1]


def test_the_new_frame_comes_from_the_named_node_or_not_at_all(machine: pm.Machine, app: pm.Task) -> None:
    """NP-4: no fallback to a node with room; the batch ends with -ENOMEM."""
    region = app.mmap(2 * pm.PAGE_SIZE)
    app.touch(region)
    app.set_mempolicy(pm.Policy(pm.PolicyMode.BIND, [1]))
    app.touch(app.mmap(64 * pm.PAGE_SIZE))
    assert (free(machine, 0), free(machine, 1)) == (62, 0)
    with pytest.raises(OSError, match="move_pages") as refused:
        app.move_pages(region, 1)
    assert refused.value.errno == errno.ENOMEM
    assert waiting(machine) == {pm.LruList.ACTIVE_ANON: [0, 1]}
    assert app.nodes_of(region).tolist() == [0, 0]


@pytest.mark.parametrize("chunk", [0, 1])
def test_a_node_that_has_gone_offline_by_the_time_of_its_chunk_ends_the_call(chunk: int) -> None:
    """DP-5b is asked chunk by chunk: -ENODEV, and nothing of this chunk is looked up."""
    machine = pm.Machine(nodes=[512 * pm.PAGE_SIZE, 256 * pm.PAGE_SIZE], cpus=1, pageblock_frames=256)
    app = machine.spawn()
    region = app.mmap((169 * chunk + 3) * pm.PAGE_SIZE)
    app.touch(region)
    machine.drain()
    move = machine.start(pm.calls.move_pages(region, [0] * (169 * chunk) + [1] * 3), by=app)
    assert move.run_until("DP-5")
    while len([label for label in move.history if label == "DP-5"]) < 2 * chunk:
        move.step()
    isolated = machine.cost["isolations"]
    machine.offline(512, 256)
    finish(machine, move)
    assert isinstance(move.error, pm.SyscallError)
    assert (move.error.errno, move.error.statuses.tolist()) == (errno.ENODEV, [0] * (169 * chunk))
    assert machine.cost["isolations"] == isolated
    machine.check()
