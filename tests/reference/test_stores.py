"""The reference against the worked numbers for files, swap and groups.

Source: E2, E3, E6 and E7 of migration.md; data model 2.5 and 3.4; supporting paths 13.
"""

from __future__ import annotations

import errno

import pytest

from .entries import ACCESSED, DIRTY, VM_LOCKED, VM_READ, VM_SHARED, VM_WRITE, WRITABLE, make, make_swap
from .filesystems import BLOCKDEV, EXT, RAMFS, READONLY, TMPFS, FileSystem
from .lru import ACTIVE_ANON, INACTIVE_ANON, INACTIVE_FILE, UNEVICTABLE
from .machine import ReferenceMachine
from .memory import Flag

HEAP = 0x10000000
SHARED = VM_READ | VM_WRITE | VM_SHARED
NO_EXEC_USER_PRESENT = (1 << 63) | 0b101


def build(*, swap: int = 0, contents: bool = False, repaired: bool = False) -> tuple[ReferenceMachine, int]:
    """Two nodes of 64 frames, one CPU, one task."""
    machine = ReferenceMachine({0: 64, 1: 64}, cpus=1, swap=swap, contents=contents, repaired=repaired)
    return machine, machine.spawn()


def mapped_file(
    machine: ReferenceMachine, pid: int, filesystem: FileSystem, *, write: bool, pages: int = 1
) -> int:
    """A file that the task maps shared, touched and drained; return its number."""
    file = machine.create_file(f"file{len(machine.state.files)}", pages * 4096, filesystem)
    machine.mmap(pid, HEAP, pages * 4096, flags=SHARED, file=file)
    machine.touch(pid, range(HEAP, HEAP + pages * 4096, 4096), write=write)
    machine.drain()
    return file


def counters(machine: ReferenceMachine) -> list[dict[str, int]]:
    """What each node counts that is not zero, free frames included."""
    return [
        {name: value for name, value in {**node.counters, "free": node.free_frames}.items() if value}
        for node in machine.state.memory.nodes.values()
    ]


def test_e2_a_dirty_file_page_moves_with_its_buffers() -> None:
    """E2: four dirty buffers, mapped shared in two processes, MOVE_ALL."""
    machine, pid = build()
    file = mapped_file(machine, pid, EXT, write=True)
    child = machine.fork(pid)
    machine.touch(child, [HEAP], write=True)
    machine.drain()
    memory = machine.state.memory
    old, new = memory.frames[0], memory.frames[64]
    assert (old.count, old.mapcount) == (4, 2)
    before = counters(machine)

    assert machine.move(pid, 0, [HEAP], [1], move_all=True) == (0, [1])

    assert (old.count, old.mapcount, old.owner, old.buffers) == (1, 0, None, [])
    assert (new.count, new.mapcount, len(new.buffers)) == (5, 2, 4)
    assert all(buffer.is_busy for buffer in new.buffers)
    assert machine.state.files[file].dirty == {0}
    for task in (pid, child):
        assert machine.task(task).memory_map.entry(HEAP) == make(64, NO_EXEC_USER_PRESENT | WRITABLE)
    machine.drain()
    assert (new.count, old.count) == (4, 0)
    after = counters(machine)
    assert before[0] == after[1]
    assert after[0] == {"free": 64}


def test_e3_a_mapped_page_of_the_swap_cache_is_left_to_a_fault() -> None:
    """E3, Q12, Q15: the entry names the swap slot after the move; the next touch is a minor fault."""
    machine, pid = build(swap=16)
    machine.mmap(pid, HEAP, 4096)
    machine.touch(pid, [HEAP], write=True)
    frame = machine.state.memory.frames[0]
    assert machine.swap_out(pid, HEAP)
    assert (frame.count, machine.state.now, machine.state.swap.users(1)) == (0, 1, 1)
    machine.touch(pid, [HEAP], write=False)
    machine.drain()
    assert (frame.count, frame.mapcount, machine.state.swap.users(1)) == (2, 1, 0)

    assert machine.move(pid, 0, [HEAP], [1]) == (0, [1])

    new = machine.state.memory.frames[64]
    assert machine.task(pid).memory_map.entry(HEAP) == make_swap(1)
    assert (new.count, new.mapcount, machine.state.swap.users(1)) == (2, 0, 1)
    mm = machine.task(pid).memory_map
    assert (mm.anon_pages, mm.swap_entries) == (0, 1)
    assert machine.state.drift == {("nr_shmem", 0): -1, ("nr_shmem", 1): 1}
    machine.drain()
    assert counters(machine) == [
        {"free": 64, "nr_shmem": -1, "nr_vmscan_write": 1},
        {"free": 63, "nr_shmem": 1, "nr_file_pages": 1, "nr_inactive_anon": 1},
    ]
    seen = machine.touch(pid, [HEAP], write=False)
    assert (seen.minor, seen.major, machine.state.swap.users(1)) == (1, 0, 0)


def test_e6_a_clean_ramfs_page_moves_and_a_dirty_one_does_not() -> None:
    """E6, Q30: straight to the unevictable list; -EINVAL for the dirty one."""
    machine, pid = build()
    mapped_file(machine, pid, RAMFS, write=False)
    memory = machine.state.memory
    assert memory.frames[0].count == 2
    assert memory.nodes[0].lists[INACTIVE_FILE] == [0]
    assert machine.move(pid, 0, [HEAP], [1]) == (0, [1])
    assert memory.nodes[1].lists[UNEVICTABLE] == [64]
    assert memory.frames[64].count == 2
    assert machine.state.cpus[0].pagevecs[INACTIVE_FILE] == [0]

    machine.touch(pid, [HEAP], write=True)
    machine.task(pid).memory_map.store(HEAP, make(64, NO_EXEC_USER_PRESENT | WRITABLE | DIRTY | ACCESSED))
    assert machine.move(pid, 0, [HEAP], [0]) == (0, [-errno.EINVAL])
    assert memory.nodes[1].lists[UNEVICTABLE] == [64]
    assert memory.frames[64].has(Flag.DIRTY)


def test_e7_a_dirty_page_of_a_block_device_is_written_before_it_moves() -> None:
    """E7, Q29: -EAGAIN until the write has ended, which the forced pass waits for."""
    machine, pid = build()
    file = mapped_file(machine, pid, BLOCKDEV, write=True)
    assert machine.move(pid, 0, [HEAP], [1]) == (0, [1])
    memory = machine.state.memory
    space = machine.state.files[file]
    # Passes 0 to 2 took frames 64 to 66 in vain, pass 3 waited until tick 1.
    assert machine.state.now == 1
    assert [frame.pfn for frame in space.pages.values()] == [67]
    assert space.dirty == set() and space.writeback == set()
    assert not memory.frames[67].buffers
    assert machine.task(pid).memory_map.entry(HEAP) == make(67, NO_EXEC_USER_PRESENT | WRITABLE)
    assert machine.state.cpus[0].pagevecs[INACTIVE_FILE] == [64, 65, 66, 0, 67]


def test_a_page_that_can_neither_move_nor_be_written_stays() -> None:
    """Q30 for a file that accounts dirty pages: the leaf comes back writable."""
    machine, pid = build()
    mapped_file(machine, pid, READONLY, write=True)
    assert machine.move(pid, 0, [HEAP], [1]) == (0, [-errno.EINVAL])
    assert machine.task(pid).memory_map.entry(HEAP) == make(0, NO_EXEC_USER_PRESENT | WRITABLE)
    assert counters(machine)[0]["nr_dirty"] == 1


def test_the_counts_of_the_examples() -> None:
    """Data model 2.5, row by row, for file and swap pages."""
    machine, pid = build(swap=8)
    memory = machine.state.memory
    file = mapped_file(machine, pid, READONLY, write=False)
    child = machine.fork(pid)
    machine.touch(child, [HEAP], write=False)
    clean = memory.frames[0]
    assert (clean.count, clean.mapcount) == (3, 2)
    buffered = machine.create_file("buffered", 4096, EXT)
    for task in (pid, child):
        machine.mmap(task, HEAP + 8192, 4096, flags=VM_READ | VM_SHARED, file=buffered)
        machine.touch(task, [HEAP + 8192], write=False)
    machine.drain()
    page = memory.frames[1]
    assert (page.count, page.mapcount) == (4, 2)
    held = page.buffers[0]
    held.count += 1
    machine.truncate(buffered, 0)
    machine.drain()
    assert machine.isolate(1)
    assert (page.count, page.mapcount, page.owner) == (2, 0, None), "orphan of truncation, isolated"
    held.count -= 1
    assert file in machine.state.files


@pytest.mark.parametrize(
    ("filesystem", "write", "moved"),
    [
        (EXT, False, {"nr_inactive_file", "nr_file_pages", "nr_mapped"}),
        (EXT, True, {"nr_inactive_file", "nr_file_pages", "nr_mapped", "nr_dirty"}),
        (TMPFS, True, {"nr_active_anon", "nr_file_pages", "nr_mapped", "nr_shmem"}),
    ],
)
def test_the_counters_that_follow_a_page(filesystem: FileSystem, write: bool, moved: set[str]) -> None:
    """Data model 3.4: minus one on the old node, plus one on the new, and nothing else."""
    machine, pid = build()
    mapped_file(machine, pid, filesystem, write=write)
    assert set(counters(machine)[0]) == moved | {"free"}
    machine.move(pid, 0, [HEAP], [1])
    machine.drain()
    assert counters(machine) == [{"free": 64}, {**dict.fromkeys(moved, 1), "free": 63}]


def test_a_locked_page_takes_its_lock_along() -> None:
    """Data model 3.4, last row: NR_MLOCK and UNEVICTABLE."""
    machine, pid = build()
    machine.mmap(pid, HEAP, 4096, flags=VM_READ | VM_WRITE | VM_LOCKED)
    machine.touch(pid, [HEAP], write=True)
    machine.move(pid, 0, [HEAP], [1])
    machine.drain()
    assert counters(machine)[1] == {"free": 63, "nr_mlock": 1, "nr_unevictable": 1, "nr_anon_pages": 1}


def test_a_page_of_the_swap_cache_carries_shmem_off_unless_repaired() -> None:
    """Q15 in both profiles: an unmapped page of the swap cache under offlining's engine."""
    for repaired in (False, True):
        machine, pid = build(swap=8, repaired=repaired)
        machine.mmap(pid, HEAP, 4096, flags=SHARED)
        machine.touch(pid, [HEAP], write=True)
        send_to_swap_cache(machine, pid)
        assert machine.soft_offline(0) == 0
        drift = {} if repaired else {("nr_isolated_anon", 0): -1, ("nr_shmem", 0): 0}
        assert machine.state.drift == drift
        machine.drain()
        assert counters(machine)[0].get("nr_isolated_anon", 0) == (0 if repaired else -1)
        assert machine.touch(pid, [HEAP], write=False).minor == 1


def send_to_swap_cache(machine: ReferenceMachine, pid: int, *, ended: bool = True) -> None:
    """Let reclaim write a shared page at the start of the heap, which goes to the swap cache for that."""
    machine.drain()
    frame = machine.frame_at(pid, HEAP)
    assert frame is not None
    machine.isolate(frame.pfn)
    frame.flags &= ~(Flag.ACTIVE | Flag.REFERENCED)
    machine.putback(frame.pfn)
    machine.drain()
    machine.task(pid).memory_map.entries[HEAP] &= ~ACCESSED
    assert machine.reclaim(0, 1, anonymous=True) == 0
    assert frame.has(Flag.SWAPCACHE)
    if ended:
        machine.advance(1)
        machine.drain()


def charges(machine: ReferenceMachine) -> tuple[int, int, int, int]:
    """Usage, cache, rss and mapped file of the first group."""
    group = machine.state.groups[1]
    return group.usage, group.cache, group.rss, group.mapped_file


def test_charges_are_neutral_in_a_migration() -> None:
    """Supporting paths 13, table, and Q17: anonymous and file, moved and failed."""
    machine, pid = build()
    machine.attach_memcg(machine.create_memcg("g", 8), pid)
    machine.mmap(pid, HEAP + 8192, 4096)
    machine.touch(pid, [HEAP + 8192], write=True)
    mapped_file(machine, pid, EXT, write=False)
    assert charges(machine) == (2, 1, 1, 1)
    assert machine.move(pid, 0, [HEAP, HEAP + 8192], [1, 1]) == (0, [1, 1])
    assert charges(machine) == (2, 1, 1, 0), "the mapped file was forgotten (Q17)"
    machine.drain()
    for address in (HEAP, HEAP + 8192):
        machine.pin(pid, address, write=False)
    assert machine.move(pid, 0, [HEAP, HEAP + 8192], [0, 0]) == (0, [-errno.EAGAIN] * 2)
    assert charges(machine) == (2, 1, 1, 0)
    assert machine.state.drift == {("mapped_file", 1): -1}


def test_a_group_at_its_limit_refuses_even_a_neutral_move() -> None:
    """S39: -ENOMEM, and the page is back on a list."""
    machine, pid = build()
    machine.attach_memcg(machine.create_memcg("g", 1), pid)
    machine.mmap(pid, HEAP, 4096)
    machine.touch(pid, [HEAP], write=True)
    machine.drain()
    assert machine.move(pid, 0, [HEAP], [1]) == (-errno.ENOMEM, [99])
    assert charges(machine) == (1, 0, 1, 0)
    assert machine.state.cpus[0].pagevecs[ACTIVE_ANON] == [0]
    machine.mmap(pid, HEAP + 8192, 4096)
    assert machine.touch(pid, [HEAP + 8192], write=True).out_of_memory


def test_a_failing_move_of_a_swapped_shmem_page_leaks_a_charge() -> None:
    """Q18: ``mapping`` is null all along, so the charge goes to the page that is thrown away."""
    for repaired in (False, True):
        machine, pid = build(swap=8, repaired=repaired)
        machine.attach_memcg(machine.create_memcg("g"), pid)
        machine.mmap(pid, HEAP, 4096, flags=SHARED)
        machine.touch(pid, [HEAP], write=True)
        send_to_swap_cache(machine, pid)
        frame = machine.state.memory.frames[0]
        assert frame.owner is None and charges(machine)[0] == 1
        frame.count += 1
        machine.soft_offline(0)
        assert charges(machine)[0] == (1 if repaired else 11)


def test_swap_brings_the_bytes_back() -> None:
    """I-114: written out, dropped, read in again."""
    machine, pid = build(swap=8, contents=True)
    machine.mmap(pid, HEAP, 4096)
    machine.write(pid, HEAP, b"hello")
    assert machine.swap_out(pid, HEAP)
    assert counters(machine)[0] == {"free": 64, "nr_vmscan_write": 1}
    assert machine.touch(pid, [HEAP], write=False).major == 1
    assert machine.content_at(pid, HEAP)[:5] == b"hello"
    assert machine.state.cpus[0].pagevecs[INACTIVE_ANON] == []


def test_everything_is_free_after_the_last_exit() -> None:
    """I-05: shared memory goes with its last area, a file's pages by truncation."""
    machine, pid = build(swap=8)
    machine.mmap(pid, HEAP, 8 * 4096, flags=SHARED)
    machine.touch(pid, range(HEAP, HEAP + 8 * 4096, 4096), write=True)
    machine.drain()
    send_to_swap_cache(machine, pid, ended=False)
    file = machine.create_file("f", 3 * 4096 + 5)
    assert machine.write_file(file, 4090, 20, by=pid) == 20
    assert machine.read_file(file, 0, 99999, by=pid) == bytes(3 * 4096 + 5)
    machine.exit(pid)
    machine.truncate(file, 0)
    machine.advance(5)
    machine.drain()
    assert machine.reclaim(0, 4, anonymous=True) == 1, "its write had not ended when its owner went"
    assert [counters["free"] for counters in counters(machine)] == [64, 64]
    assert not machine.state.swap.uses.get(1) and machine.state.swap.free_slots == 8
