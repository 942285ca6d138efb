"""Invariants 13, results: I-120 to I-129; and the step assertions of section 14 that can be reached."""

from __future__ import annotations

import errno
import itertools

import numpy as np
import numpy.typing as npt
import pytest

import pagemig as pm
from pagemig import filesystems
from tests.invariants.follow import Follower
from tests.invariants.recount import MIGRATION, F, Recount
from tests.invariants.situations import (
    EXACT,
    FRAMES,
    KINDS,
    PAGE,
    SHARED,
    fill,
    frames_of,
    new_machine,
    steps,
)

every_kind = pytest.mark.parametrize("kind", KINDS)
UNWRITTEN = -99
"""What the status array holds before the call."""
GONE = F.SWAPCACHE | F.PRIVATE | F.DIRTY | F.ACTIVE | F.UNEVICTABLE | F.MLOCKED

MOVES = {"pinned": 1, "ramfs dirty": 0, "failing": 0, "refused": 0, "over-charged": 0}
"""Attempts that succeed, where not every page moves at last."""
FAILURES = {
    "pinned": 10,
    "block device": 6,
    "ramfs dirty": 2,
    "failing": 2,
    "refused": 1,
    "over-charged": 1,
}
"""Attempts that do not; of the block device written in pass 0, refused in 1 and 2, two pages each."""


def numbers(count: int, value: int = UNWRITTEN) -> npt.NDArray[np.int32]:
    """User memory that says the same of every page."""
    return np.full(count, value, dtype=np.int32)


# the batch --------------------------------------------------------------------------------


@every_kind
def test_the_list_is_empty_and_every_page_is_somewhere_when_a_batch_returns(kind: str) -> None:
    """I-120, I-122: each page that was on it is in a pagevec, on a list, or free."""
    was_on_it: set[int] = set()
    for now in steps(kind):
        was_on_it |= set(now.iso)
        listed = {pfn for pages in now.lists.values() for pfn in pages}
        waiting = set(now.pvec)
        assert was_on_it <= set(now.iso) | listed | waiting | now.idle | now.offline
    end = steps(kind)[-2]
    assert end.iso.total() == 0
    assert end.total["nr_isolated_anon"] == end.total["nr_isolated_file"] == 0
    assert was_on_it


def may_write_to_a_congested_device(machine: pm.Machine, task: pm.Task, area: pm.Region) -> bool:
    """Whether reclaim on behalf of a task writes: PF_SWAPWRITE, seen by its only effect."""
    twin = machine.clone()
    twin.set_swap_device(io_ticks=1, congested=True)
    twin.drain()
    call = twin.start(pm.calls.swap_out(area.start), by=twin.task(task.pid))
    while call.step() and not call.done:
        pass
    return bool(twin.pending_io)


@pytest.mark.parametrize("ending", ["well", "busy", "no memory"])
def test_a_batch_leaves_the_flags_of_its_task_as_they_were(machine: pm.Machine, ending: str) -> None:
    """I-120: PF_SWAPWRITE is set while it runs, and clear after it, however it ended."""
    app = machine.spawn("app", stack=False)
    area, spare = app.mmap(PAGE), app.mmap(PAGE)
    fill(machine, app, area)
    fill(machine, app, spare)
    if ending == "busy":
        app.pin(area.start)
    if ending == "no memory":
        hog = machine.spawn("hog", stack=False, mems_allowed={1})
        hog.touch(hog.mmap(FRAMES * PAGE))
    machine.drain()
    assert not may_write_to_a_congested_device(machine, app, spare)
    (pfn,) = frames_of(app, area)
    target = pm.ByPage({pfn: 1})
    move = machine.start(pm.calls.migrate_frames([pfn], target), by=app)
    assert move.run_until("UM-1")
    assert may_write_to_a_congested_device(machine, app, spare)
    move.run()
    assert not may_write_to_a_congested_device(machine, app, spare)
    result = move.result
    assert (result.error, result.not_migrated) == {
        "well": (None, 0),
        "busy": (None, 1),
        "no memory": (errno.ENOMEM, None),
    }[ending]


def test_the_result_counts_what_was_busy_last_and_what_failed_for_good(machine: pm.Machine) -> None:
    """I-121, I-122: of six pages one moves, one was freed, two are pinned, two are refused: 4."""
    app = machine.spawn("app", stack=False)
    heap = app.mmap(4 * PAGE)
    file = machine.create_file("bad", 2 * PAGE, filesystem=filesystems.FAILING)
    view = app.mmap(2 * PAGE, file=file, shared=True)
    pfns = fill(machine, app, heap) + fill(machine, app, view)
    for pinned in heap[2:]:
        app.pin(pinned.start)
    move = machine.start(pm.calls.migrate_frames(pfns, pm.ToNode(1)), by=machine.spawn("mover", stack=False))
    mover = Follower(machine, move).run_until("UM-1")
    app.munmap(heap[1])
    last: dict[int, int] = {}
    failures = attempts = 0
    while not move.done:
        page = mover.holds().old
        assert mover.step()
        result = mover.holds().result
        if page is not None and result is not None:
            attempts += 1
            last[page] = result
            failures += result not in (0, -errno.EAGAIN)
    assert last == {pfns[0]: 0, pfns[1]: 0, pfns[2]: -11, pfns[3]: -11, pfns[4]: -5, pfns[5]: -5}
    busy = sum(result == -errno.EAGAIN for result in last.values())
    assert (busy, failures) == (2, 2)
    assert move.result.not_migrated == busy + failures
    assert move.result.attempts.sum() == attempts
    now = Recount(machine)
    placed = set(now.pvec) | now.has(F.LRU) | now.idle
    assert set(pfns) <= placed


def test_a_page_that_was_busy_and_then_moved_is_not_counted(machine: pm.Machine, app: pm.Task) -> None:
    """I-121: only the last pass counts for what is retryable."""
    area = app.mmap(2 * PAGE)
    pfns = fill(machine, app, area)
    app.pin(area.start)
    by = machine.spawn("mover", stack=False)
    move = machine.start(pm.calls.migrate_frames(pfns, pm.ToNode(1)), by=by)
    mover = Follower(machine, move).run_until("UM-18")
    mover.step()
    app.unpin(pfns[0])
    mover.finish()
    assert (move.result.not_migrated, move.result.passes) == (0, 2)
    assert move.result.attempts.tolist() == [2, 1]


# the attempt ------------------------------------------------------------------------------


@every_kind
def test_what_is_left_of_a_page_that_moved(kind: str) -> None:
    """I-123: `mapping` null, no slot, map count 0, and none of the flags that went along."""
    moved = 0
    seen = steps(kind)
    for before, now in itertools.pairwise(seen):
        if now.holds.result != 0:
            continue
        moved += 1
        old = before.holds.old
        assert old is not None
        frame = now.frames[old]
        if old in now.used:
            assert (frame.owner, now.slot[old], frame.mapcount) == (None, 0, 0)
            assert not frame.flags & GONE
            assert frame.count == now.pvec[old] == 1
    assert moved == MOVES.get(kind, len(KINDS[kind](new_machine()).pfns))


@every_kind
def test_what_is_left_of_a_page_that_did_not_move(kind: str) -> None:
    """I-124: same `index`, slot, PG_swapcache, PG_private and, but for Q14, `mapping`; may be dirty."""
    seen = steps(kind)
    failed = 0
    start: Recount | None = None
    for before, now in itertools.pairwise(seen):
        if "UM-2" in now.holds.made and "UM-2" not in before.holds.made:
            start = before
        result = now.holds.result
        old = before.holds.old
        if result is None or result == 0 or start is None or old is None:
            continue
        failed += 1
        was, frame = start.frames[old], now.frames[old]
        assert (frame.index, now.slot[old]) == (was.index, start.slot[old])
        kept = F.SWAPCACHE | F.PRIVATE
        assert frame.flags & kept == was.flags & kept
        assert frame.owner == was.owner
        assert frame.mapcount == was.mapcount
        gained = frame.flags & ~was.flags
        lost = was.flags & ~frame.flags
        permitted = F.DIRTY | F.WRITEBACK | F.LRU | F.RECLAIM | F.UNEVICTABLE
        assert not gained & ~permitted, f"gained {gained!r}"
        assert not lost & ~(F.ACTIVE | F.DIRTY | F.RECLAIM), f"lost {lost!r}"
        assert kind == "block device" or F.DIRTY not in lost
    assert failed == FAILURES.get(kind, 0)


def test_a_failed_attempt_may_point_a_page_to_the_oldest_list(machine: pm.Machine, app: pm.Task) -> None:
    """I-124, Q14: the exception for `mapping`: the child's own page, restored, is its grandparent's."""
    area = app.mmap(PAGE)
    fill(machine, app, area)
    child = app.fork("child")
    child.write(area.start, b"own")
    machine.drain()
    (pfn,) = frames_of(child, child.same(area))
    own, oldest = child.vmas[0].anon_vmas
    assert machine.frame(pfn).owner == pm.Owner(pm.OwnerKind.ANON, own)
    child.pin(area.start)
    assert machine.migrate_pages([pfn], pm.ToNode(1)).statuses.tolist() == [-errno.EAGAIN]
    assert machine.frame(pfn).owner == pm.Owner(pm.OwnerKind.ANON, oldest)


# the calls --------------------------------------------------------------------------------


def mixed(machine: pm.Machine) -> tuple[pm.Task, pm.Region, list[int]]:
    """Ten pages of all sorts; what ``move_pages`` to node 1 should answer for each."""
    app = machine.spawn("app", stack=False)
    area = app.mmap(10 * PAGE, at=0x400000)
    app.touch(area[4], write=False)
    fill(machine, app, area[:4])
    child = app.fork("child")
    child.exit()
    app.pin(area[1].start)
    app.swap_out(area[2].start)
    app.swap_out(area[3].start)
    app.touch(area[3], write=False)
    app.touch(area[5:7])
    app.move_pages(area[5], 1)
    machine.drain()
    return app, area, [1, -11, -2, 1, -2, 1, 1, -2, -2, -2]


def test_move_pages_answers_for_every_page(machine: pm.Machine) -> None:
    """I-125, I-126: never more than 0; each status is written; one that is a node is true."""
    app, area, expected = mixed(machine)
    status = numbers(len(area))
    result = pm.syscalls.move_pages(
        app, 0, len(area), area.addresses, numbers(len(area), 1), status, pm.flags.MPOL_MF_MOVE
    )
    assert result == 0
    assert status.tolist() == expected
    now = Recount(machine)
    for page, answer in zip(area, status.tolist(), strict=True):
        if answer < 0:
            continue
        entry = app.entry_at(page.start)
        pfn = entry.pfn
        if entry.swap is not None:
            (pfn,) = (slot.pfn for slot in now.slots if (slot.mapping, slot.index) == (0, entry.swap.value))
        assert pfn is not None
        assert now.frames[pfn].node == answer


@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if kind not in ("offlined", "migrate_pages", "mbind")]
)
def test_move_pages_returns_nothing_positive(kind: str) -> None:
    """I-125: the positive count of MP-6 is swallowed (Q05), whatever stays."""
    machine = new_machine()
    stage = KINDS[kind](machine)
    addresses = [page.start for area in stage.app.regions for page in area]
    status = numbers(len(addresses))
    call = machine.start(pm.calls.move_pages(addresses, 1, scope=SHARED, status=status), by=stage.app)
    while not call.done:
        if not call.step():
            assert machine.complete_io()
    if kind == "over-charged":
        assert isinstance(call.error, OSError)
        assert call.error.errno == errno.ENOMEM
        assert status.tolist() == [UNWRITTEN] * len(addresses)
    else:
        assert call.result.tolist() == status.tolist()
        assert UNWRITTEN not in status.tolist()
        assert max(status.tolist(), default=0) <= 1


def test_migrate_pages_leaves_nothing_on_its_source_that_it_could_move(machine: pm.Machine) -> None:
    """I-127: after 0 only pages that are shared, or busy by Q07, are on node 0 still."""
    app = machine.spawn("app", stack=False)
    own, shared = app.mmap(4 * PAGE), app.mmap(2 * PAGE)
    file = machine.create_file("data", 2 * PAGE)
    view = app.mmap(2 * PAGE, file=file, shared=True)
    app.touch(view, write=False)
    fill(machine, app, own)
    fill(machine, app, shared)
    child = app.fork("child")
    child.write(own.start, b"own")
    app.write(own.start, b"own")
    for page in own[1:]:
        app.write(page.start, b"own")
    machine.drain()
    app.capabilities = pm.Capability.NONE
    assert app.migrate_pages(app, [0], [1]) == 0
    now = Recount(machine)
    for leaf in now.mapped:
        if leaf.pid == app.pid:
            pfn = leaf.entry.pfn or 0
            assert now.frames[pfn].node == (0 if now.ptes[pfn] > 1 else 1)
    assert {now.frames[pfn].node for pfn in frames_of(app, shared)} == {0}
    app.capabilities = pm.Capability.ALL
    machine.drain()
    assert app.migrate_pages(app, [0], [1]) == 0
    assert {now.node for now in map(machine.frame, frames_of(app, shared))} == {1}


def test_what_an_earlier_pair_brought_is_left_over() -> None:
    """I-127, Q07: {0, 1} to {1, 2}: what came to node 1 is on a source, waits in a pagevec, and stays."""
    machine = pm.Machine(nodes=[FRAMES * PAGE] * 3, cpus=1)
    app = machine.spawn("app", stack=False)
    area = app.mmap(4 * PAGE)
    app.touch(area)
    app.move_pages(area[2:], 1)
    machine.drain()
    assert app.migrate_pages(app, [0, 1], [1, 2]) == 0
    assert app.nodes_of(area).tolist() == [1, 1, 2, 2]
    now = Recount(machine)
    left = {leaf.entry.pfn for leaf in now.mapped if now.frames[leaf.entry.pfn or 0].node in (0, 1)}
    assert left <= set(now.pvec)
    assert len(left) == 2


# offlining --------------------------------------------------------------------------------


def test_nothing_refers_to_a_range_that_went_offline() -> None:
    """I-128: no frame in use, no list, no pagevec, no leaf; present pages are fewer by its size."""
    before, *_, after, drained = steps("offlined")
    gone = set(range(FRAMES, FRAMES + 16))
    assert before.used & gone
    for now in (after, drained):
        assert now.offline == gone
        assert not now.used & gone
        assert not gone & {pfn for pages in now.lists.values() for pfn in pages}
        assert not gone & set(now.pvec)
        assert not gone & {leaf.entry.pfn for leaf in (*now.mapped, *now.entries)}
        assert not gone & set(now.slot)
        assert now.present == {0: FRAMES, 1: FRAMES - 16}


@pytest.mark.parametrize("reason", ["pin", "signal", "no memory"])
def test_a_range_that_could_not_go_is_as_it_was(machine: pm.Machine, kernel: pm.Task, reason: str) -> None:
    """I-129: its free frames can be allocated again, and nothing is isolated."""
    app = machine.spawn("app", stack=False, mems_allowed={1})
    area = app.mmap(2 * PAGE)
    fill(machine, app, area)
    app.mems_allowed = {0, 1}
    if reason == "pin":
        app.pin(area.start)
    if reason == "no memory":
        hog = machine.spawn("hog", stack=False)
        hog.touch(hog.mmap((2 * FRAMES - 16) * PAGE))
        machine.drain()
    call = machine.start(pm.calls.offline(FRAMES, 16, timeout=50), by=kernel)
    if reason == "signal":
        assert call.run_until("SY7-5c")
        machine._system.core.set_signal(kernel.pid, True)
    call.run()
    assert isinstance(call.error, OSError)
    expected = {"pin": errno.EAGAIN, "signal": errno.EINTR, "no memory": errno.ENOMEM}
    assert call.error.errno == expected[reason]
    machine.drain()
    now = Recount(machine)
    assert set(now.blocks.values()) == {pm.BlockState.MOVABLE}
    assert now.total["nr_isolated_anon"] == now.total["nr_isolated_file"] == 0
    free = now.total["nr_free_pages"]
    greedy = machine.spawn("greedy", stack=False)
    greedy.touch(greedy.mmap(free * PAGE))
    assert machine.vmstat()["nr_free_pages"] == 0


# model errors -----------------------------------------------------------------------------


def test_decoding_an_entry_of_an_unlocked_page_is_a_model_error() -> None:
    """Section 14, I-20, Q21: the kernel would halt; the machine says so."""
    machine = new_machine(EXACT)
    app = machine.spawn("app", stack=False)
    area = app.mmap(PAGE)
    (pfn,) = fill(machine, app, area)
    by = machine.spawn("mover", stack=False)
    move = machine.start(pm.calls.migrate_frames([pfn], pm.ToNode(1)), by=by)
    assert move.run_until("MN-4")
    remap = machine.start(pm.calls.mremap(area, to=0x800000), by=app)
    assert remap.run_until("SP6-carry")
    move.run()
    remap.run()
    assert app.entry_at(0x800000).kind is MIGRATION
    with pytest.raises(pm.PagemigError):
        app.touch([0x800000])


def test_putting_back_what_is_on_a_list_is_refused(machine: pm.Machine, page: pm.Region) -> None:
    """Section 14: ``putback_lru_page`` on a PG_lru page; nothing changes."""
    before = machine.frame(0)
    with pytest.raises(pm.UsageError):
        machine.putback(0)
    assert machine.frame(0) == before
    assert len(page) == 1
