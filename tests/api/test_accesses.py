"""Loads and stores: what faults, what is counted, and what happens where nothing is mapped."""

from __future__ import annotations

import errno

import numpy as np
import pytest

import pagemig as pm


@pytest.fixture
def bytes_machine() -> pm.Machine:
    """Two nodes of 64 frames that have contents."""
    return pm.Machine(nodes=[64 * pm.PAGE_SIZE] * 2, contents=True)


def test_touching_faults_pages_in_once(app: pm.Task) -> None:
    """The first access is a minor fault, the second a hit."""
    region = app.mmap(3 * pm.PAGE_SIZE)
    first, second = app.touch(region), app.touch(region)
    assert (first.minor, first.hits) == (3, 0)
    assert (second.minor, second.hits) == (0, 3)
    assert first.sigsegv.size == first.sigbus.size == first.major == first.cow == 0
    assert app.rss == 3


def test_reading_what_was_never_written_takes_no_frame(machine: pm.Machine, app: pm.Task) -> None:
    """The zero page (data-model 6.3): special, not counted, no page of this machine."""
    region = app.mmap(pm.PAGE_SIZE)
    free = machine.vmstat()["nr_free_pages"]
    assert app.touch(region, write=False).minor == 1
    assert machine.vmstat()["nr_free_pages"] == free
    entry = app.entry_at(region.start)
    assert (entry.kind, entry.special, entry.writable, entry.pfn) == (pm.EntryKind.PRESENT, True, False, None)
    assert app.page_at(region.start) is None
    assert app.touch(region).cow == 1
    assert app.entry_at(region.start).writable


def test_an_address_that_may_not_be_accessed_is_reported(app: pm.Task) -> None:
    """SIGSEGV beside, and not instead of, the rest of the batch."""
    region = app.mmap(pm.PAGE_SIZE, protection=pm.R)
    hole = region.start + pm.MiB
    result = app.access([region.start, hole, region.start], [False, False, True])
    assert result.minor == 1
    assert result.sigsegv.tolist() == [hole, region.start]


def test_a_batch_is_played_in_order_with_a_flag_for_each(app: pm.Task) -> None:
    """Loads and stores mixed; any byte of a page will do."""
    region = app.mmap(2 * pm.PAGE_SIZE)
    addresses = np.array([5, 4096 + 9, 5], np.uint64) + np.uint64(region.start)
    result = app.access(addresses, np.array([True, False, True]))
    assert (result.minor, result.hits) == (2, 1)
    assert app.access(region, True).cow == 1
    assert app.access([], True).hits == 0
    assert addresses.flags.writeable


@pytest.mark.parametrize(
    ("addresses", "writes"),
    [
        ([1, 2], [True]),
        ([1, 2], [[True, False]]),
        ([1], [1]),
        ([-1], True),
        ([1 << 64], True),
        (["a"], True),
        ("abc", True),
        ([1.5], True),
        ([[1]], True),
        (None, True),
    ],
)
def test_a_batch_that_makes_no_sense_is_refused(app: pm.Task, addresses: object, writes: object) -> None:
    """Wrong types, shapes and numbers."""
    with pytest.raises(pm.UsageError):
        app.access(addresses, writes)  # type: ignore[arg-type]


def test_where_and_write_of_touch_are_checked(app: pm.Task) -> None:
    """``write`` is a bool, nothing that only looks like one."""
    with pytest.raises(pm.UsageError):
        app.touch(app.mmap(4096), write="yes")  # type: ignore[arg-type]
    with pytest.raises(pm.UsageError):
        app.touch({"a": 1})  # type: ignore[arg-type]


def test_running_out_of_frames_keeps_what_happened_until_then() -> None:
    """OutOfMemoryError; the pages before are there, and the error says how many."""
    machine = pm.Machine(nodes=[4 * pm.PAGE_SIZE], cpus=1)
    task = machine.spawn()
    region = task.mmap(6 * pm.PAGE_SIZE)
    with pytest.raises(pm.OutOfMemoryError) as short:
        task.touch(region)
    assert short.value.result.minor == 4
    assert task.nodes_of(region).tolist() == [0, 0, 0, 0, -1, -1]
    machine.check()


def test_bytes_are_written_and_read_across_pages(bytes_machine: pm.Machine) -> None:
    """Untouched memory reads as zeros."""
    task = bytes_machine.spawn()
    region = task.mmap(2 * pm.PAGE_SIZE)
    task.write(region.start + 4090, b"0123456789"[:6])
    task.write(region.start + 4096, b"6789")
    assert task.read(region.start + 4088, 14) == b"\0\0" + b"012345" + b"6789" + b"\0\0"
    assert task.read(region.start, 0) == b""


def test_bytes_move_with_their_page(bytes_machine: pm.Machine) -> None:
    """MC-1; a child that wrote has its own."""
    task = bytes_machine.spawn()
    region = task.mmap(pm.PAGE_SIZE)
    task.write(region.start, b"hello")
    child = task.fork()
    child.write(region.start, b"HELLO")
    bytes_machine.drain()
    assert task.move_pages(region, 1).tolist() == [1]
    assert (task.read(region.start, 5), child.read(region.start, 5)) == (b"hello", b"HELLO")


def test_bytes_where_nothing_is_mapped_are_a_fault(bytes_machine: pm.Machine) -> None:
    """EFAULT, naming the signal and the address."""
    task = bytes_machine.spawn()
    for act in (lambda: task.read(0x5000, 1), lambda: task.write(0x5000, b"x")):
        with pytest.raises(OSError, match="SIGSEGV at 0x5000") as fault:
            act()
        assert fault.value.errno == errno.EFAULT


def test_a_machine_without_contents_has_no_bytes(app: pm.Task, heap: pm.Region) -> None:
    """The message says how to get some."""
    with pytest.raises(pm.UsageError, match="contents=True"):
        app.read(heap.start, 1)
    with pytest.raises(pm.UsageError, match="contents=True"):
        app.write(heap.start, b"x")


@pytest.mark.parametrize(("address", "size"), [(-1, 1), (0, -1), (1 << 47, 1), (0, 1 << 40), ("0", 1)])
def test_a_read_that_makes_no_sense_is_refused(app: pm.Task, address: object, size: object) -> None:
    """Negative, beyond user space, or more than comes back in one piece."""
    with pytest.raises(pm.UsageError):
        app.read(address, size)  # type: ignore[arg-type]


def test_a_pin_is_a_reference_until_it_is_dropped(machine: pm.Machine, app: pm.Task, heap: pm.Region) -> None:
    """E4: while it is held the page is busy in all ten passes; afterwards it moves."""
    pfn = app.pin(heap.start, write=True)
    page = app.page_at(heap.start)
    assert page is not None
    assert (page.pfn, page.count) == (pfn, 2)
    assert app.move_pages(heap[0], 1).tolist() == [-errno.EAGAIN]
    assert pfn is not None
    app.unpin(pfn)
    machine.drain()
    assert app.move_pages(heap[0], 1).tolist() == [1]


def test_what_is_not_mapped_or_not_pinned_cannot_be_pinned_or_unpinned(app: pm.Task) -> None:
    """None for an address without page; UsageError for a pin that nobody holds."""
    assert app.pin(0x5000) is None
    for wrong in (0, -1, 1 << 40):
        with pytest.raises(pm.UsageError):
            app.unpin(wrong)
    with pytest.raises(pm.UsageError):
        app.pin(-1)


def test_locked_pages_leave_the_reclaimable_lists(machine: pm.Machine, app: pm.Task) -> None:
    """mlock faults in and moves to the unevictable list; munlock undoes it."""
    region = app.mmap(2 * pm.PAGE_SIZE)
    app.mlock(region)
    page = app.page_at(region.start)
    assert page is not None
    assert page.flags & pm.PageFlags.MLOCKED
    assert machine.vmstat()["nr_mlock"] == 2
    assert "VmLck:\t       8 kB" in app.status()
    app.munlock(region)
    machine.drain()
    assert machine.vmstat()["nr_mlock"] == 0
    page = app.page_at(region.start)
    assert page is not None
    assert page.lru in (pm.LruList.ACTIVE_ANON, pm.LruList.INACTIVE_ANON)


def test_protection_decides_what_may_be_accessed(app: pm.Task, heap: pm.Region) -> None:
    """mprotect; none of the pages goes away."""
    app.mprotect(heap[:2], pm.R)
    result = app.touch(heap)
    assert result.sigsegv.tolist() == heap[:2].addresses.tolist()
    app.mprotect(heap, pm.NONE)
    assert app.touch(heap, write=False).sigsegv.size == 4
    app.mprotect(heap, pm.RW)
    assert app.touch(heap).sigsegv.size == 0
    with pytest.raises(pm.UsageError):
        app.mprotect(heap, 3)  # type: ignore[arg-type]
