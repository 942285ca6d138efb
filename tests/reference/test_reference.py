"""The reference against the worked examples, so that the oracle itself is checked.

Source: E1, E4 and E5 of migration.md; the other examples need files or swap.
"""

from __future__ import annotations

import errno

from .entries import ACCESSED, DIRTY, WRITABLE, make
from .lru import ACTIVE_ANON, INACTIVE_ANON
from .machine import ReferenceMachine
from .memory import Flag
from .move_pages import UserArrays

HEAP = 0x10000000


def one_cpu(frames: int = 64, pages: int = 1) -> tuple[ReferenceMachine, int]:
    """Build two nodes and one CPU, and a task with touched and drained pages."""
    machine = ReferenceMachine({0: frames, 1: frames}, cpus=1)
    pid = machine.spawn()
    machine.mmap(pid, HEAP, pages * 4096)
    machine.touch(pid, range(HEAP, HEAP + pages * 4096, 4096), write=True)
    machine.drain()
    return machine, pid


def test_e1_one_dirty_page_moves_and_is_freed_at_the_drain() -> None:
    """E1: counts, flags, leaf and counters after the call, and after a drain."""
    machine, pid = one_cpu()
    memory = machine.state.memory
    assert (memory.frames[0].count, memory.frames[0].mapcount) == (1, 1)
    assert memory.nodes[0].lists[ACTIVE_ANON] == [0]
    assert machine.task(pid).memory_map.entry(HEAP) & (WRITABLE | DIRTY | ACCESSED)

    assert machine.move(pid, 0, [HEAP], [1]) == (0, [1])

    old, new = memory.frames[0], memory.frames[64]
    assert (old.count, old.mapcount, old.owner) == (1, 0, None)
    assert not old.flags & (Flag.ACTIVE | Flag.DIRTY | Flag.LOCKED)
    assert (new.count, new.mapcount) == (2, 1)
    assert new.flags == Flag.DIRTY | Flag.UPTODATE | Flag.SWAPBACKED
    leaf = machine.task(pid).memory_map.entry(HEAP)
    assert leaf == make(64, (1 << 63) | 0b111)
    assert machine.state.cpus[0].pagevecs[INACTIVE_ANON] == [0]
    assert machine.state.cpus[0].pagevecs[ACTIVE_ANON] == [64]
    assert [memory.nodes[n].counters["nr_anon_pages"] for n in (0, 1)] == [0, 1]
    assert [memory.nodes[n].counters["nr_isolated_anon"] for n in (0, 1)] == [0, 0]
    assert [len(memory.nodes[n].free) for n in (0, 1)] == [63, 63]

    machine.drain()
    assert (old.count, len(memory.nodes[0].free)) == (0, 64)
    assert (new.count, new.mapcount) == (1, 1)
    assert memory.nodes[1].lists[ACTIVE_ANON] == [64]


def test_e4_a_pinned_page_stays_and_costs_ten_frames() -> None:
    """E4, Q04, Q05, Q32: -EAGAIN in the status, 0 as result, ten frames until the drain."""
    machine, pid = one_cpu()
    memory = machine.state.memory
    pinned = machine.pin(pid, HEAP, write=False)
    assert pinned == 0
    assert machine.move(pid, 0, [HEAP], [1]) == (0, [-errno.EAGAIN])
    page = memory.frames[0]
    assert page.has(Flag.DIRTY)
    assert machine.task(pid).memory_map.entry(HEAP) == make(0, (1 << 63) | 0b111)
    assert machine.state.cpus[0].pagevecs[INACTIVE_ANON] == list(range(64, 74))
    assert machine.state.cpus[0].pagevecs[ACTIVE_ANON] == [0]
    assert len(memory.nodes[1].free) == 54
    assert page.owner is machine.task(pid).memory_map.vmas[0].links[-1]
    machine.drain()
    assert len(memory.nodes[1].free) == 64
    machine.unpin(0)
    assert machine.move(pid, 0, [HEAP], [1]) == (0, [1])


def test_e5_a_bad_node_ends_the_call_at_its_chunk() -> None:
    """E5: 340 pages, the 200th node is invalid: 169 moved, the rest untouched."""
    machine, pid = one_cpu(400, 340)
    pages = list(range(HEAP, HEAP + 340 * 4096, 4096))
    nodes = [1] * 199 + [99] + [1] * 140
    assert machine.move(pid, 0, pages, nodes) == (-errno.ENODEV, [1] * 169 + [99] * 171)
    placed = [machine.frame_at(pid, address) for address in pages]
    assert [frame.node for frame in placed if frame is not None] == [1] * 169 + [0] * 171


def test_e5_an_unwritable_status_comes_after_its_chunk_has_moved() -> None:
    """E5: the status of entry 300 faults: 338 pages moved, 300 statuses written."""
    machine, pid = one_cpu(400, 340)
    pages = list(range(HEAP, HEAP + 340 * 4096, 4096))
    user = UserArrays(
        340,
        b"".join(address.to_bytes(8, "little") for address in pages),
        (1).to_bytes(4, "little") * 340,
        bytearray((99).to_bytes(4, "little") * 300),
    )
    assert machine.move_pages(pid, 0, user, 2) == -errno.EFAULT
    assert list(memoryview(user.status).cast("i")) == [1] * 300
    placed = [machine.frame_at(pid, address) for address in pages]
    assert [frame.node for frame in placed if frame is not None] == [1] * 338 + [0] * 2


def test_what_everybody_forgets_is_freed_at_exit() -> None:
    """I-05: fork, lock, copy, move, exit: no frame is left over."""
    machine, pid = one_cpu(64, 20)
    machine.mlock(pid, HEAP + 4096, HEAP + 9 * 4096)
    child = machine.fork(pid)
    machine.touch(child, range(HEAP, HEAP + 8192, 2048), write=True)
    machine.mprotect(pid, HEAP + 8192, HEAP + 5 * 4096, 1)
    machine.move(child, pid, list(range(HEAP, HEAP + 20 * 4096, 4096)), [1] * 20, move_all=True)
    assert machine.state.memory.nodes[1].counters["nr_mlock"] > 0
    machine.munlock(pid, HEAP, HEAP + 20 * 4096)
    machine.exit(pid)
    machine.exit(child)
    machine.drain()
    assert [len(node.free) for node in machine.state.memory.nodes.values()] == [64, 64]
    assert not any(sum(node.counters.values()) for node in machine.state.memory.nodes.values())


def test_node_pairs_come_in_the_order_of_the_examples() -> None:
    """Syscalls 5.3: {0,1,2} to {1,2,3} moves each page once; a cycle loses what is in a pagevec (Q07)."""
    machine = ReferenceMachine(dict.fromkeys(range(4), 64), cpus=1)
    pid = machine.spawn()
    machine.mmap(pid, HEAP, 20 * 4096)
    pages = list(range(HEAP, HEAP + 20 * 4096, 4096))
    machine.touch(pid, pages, write=True)
    machine.drain()

    def nodes() -> list[int]:
        return [frame.node for page in pages if (frame := machine.frame_at(pid, page)) is not None]

    for expected in (1, 2, 3):
        assert machine.migrate_pages(pid, 0, {0, 1, 2}, {1, 2, 3}) == 0
        assert nodes() == [expected] * 20
        machine.drain()
    assert machine.migrate_pages(pid, 0, {0, 1, 3}, {1, 3}) == 0
    assert nodes() == [3] * 14 + [1] * 6


def test_mbind_counts_what_stayed_only_for_strict() -> None:
    """Syscalls 6.2, step 14, and Q24: a hole at the start fails after the pages were collected."""
    machine, pid = one_cpu(64, 4)
    machine.pin(pid, HEAP, write=False)
    machine.drain()
    assert machine.mbind(pid, HEAP, 4 * 4096, 2, {1}, 2) == 0
    machine.drain()
    assert machine.mbind(pid, HEAP, 4 * 4096, 2, {0}, 1) == -errno.EIO
    assert machine.mbind(pid, HEAP, 4096, 2, {1}, 3) == -errno.EIO
    assert machine.mbind(pid, HEAP - 4096, 5 * 4096, 2, {0}, 2) == -errno.EFAULT
    placed = [machine.frame_at(pid, HEAP + page * 4096) for page in range(4)]
    assert [frame.node for frame in placed if frame is not None] == [0, 1, 1, 1]
