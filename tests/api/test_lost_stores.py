"""Watching stores: what is stored is there, whatever becomes of its page (I-110, I-111, I-114)."""

from __future__ import annotations

import dataclasses
import pickle

import pytest

import pagemig as pm
from pagemig import PAGE_SIZE

NODES = (64 * PAGE_SIZE, 64 * PAGE_SIZE)
DROPS_DIRT = (pm.Bug.DIRTY_DROPPED,)


def watched(*, swap: int = 0, bugs: tuple[pm.Bug, ...] = ()) -> tuple[pm.Machine, pm.Task]:
    """A machine that watches stores from the beginning, and a task."""
    machine = pm.Machine(nodes=NODES, contents=True, swap=swap * PAGE_SIZE, bugs=bugs)
    machine.watch_stores()
    return machine, machine.spawn(stack=False)


def rules(machine: pm.Machine) -> set[str]:
    """The rules that are broken."""
    return {finding.rule for finding in machine.audit()}


def test_a_machine_without_contents_has_no_stores_to_watch() -> None:
    """`UsageError`; nothing has changed."""
    machine = pm.Machine(nodes=NODES)
    with pytest.raises(pm.UsageError, match="contents"):
        machine.watch_stores()
    assert not machine.watches_stores


def test_it_is_off_until_asked_for_and_a_copy_goes_on_watching() -> None:
    """A clone that loses a store finds it; the original has lost none."""
    machine = pm.Machine(nodes=NODES, contents=True, bugs=(pm.Bug.COPY_LATE,))
    app = machine.spawn()
    heap = app.mmap(PAGE_SIZE)
    app.write(heap.start, b"before")
    assert not machine.watches_stores
    machine.watch_stores()
    twin = machine.clone()
    assert machine.watches_stores
    assert twin.watches_stores
    twin.drain()
    call = twin.start(pm.calls.move_pages(heap, 1), by=twin.task(app.pid))
    call.run_until("MN-5")
    assert rules(twin) == {"no_store_is_lost"}, "what was there when the watch began counts as stored"
    assert rules(machine) == set()


def test_the_expectation_survives_a_snapshot() -> None:
    """With the byte that was stored before."""
    machine, app = watched(bugs=(pm.Bug.COPY_LATE,))
    heap = app.mmap(PAGE_SIZE)
    app.write(heap.start + 100, b"kept")
    machine.drain()
    twin = pickle.loads(pickle.dumps(machine))
    call = twin.start(pm.calls.move_pages(heap, 1), by=twin.task(app.pid))
    call.run_until("MN-5")
    assert "byte 100 is 0x00, stored was 0x6b" in str(twin.audit())


def test_a_child_has_its_own_bytes_from_its_first_store_on() -> None:
    """The parent's stores after the fork are no business of the child, and the other way round."""
    machine, app = watched()
    heap = app.mmap(2 * PAGE_SIZE)
    app.write(heap.start, b"both")
    child = app.fork()
    child.write(heap.start, b"mine")
    app.write(heap.start + 1, b"ours")
    app.move_pages(heap, 1, scope=pm.MoveScope.SHARED)
    assert (app.read(heap.start, 5), child.read(heap.start, 5)) == (b"bours", b"mine\0")
    machine.check()
    app.exit()
    child.mprotect(child.same(heap), pm.R)
    assert child.read(heap.start, 4) == b"mine"
    machine.check()


def test_memory_that_is_given_up_is_forgotten() -> None:
    """munmap, MADV_DONTNEED and a new mapping at the same place: zeroes are right there."""
    machine, app = watched()
    heap = app.mmap(4 * PAGE_SIZE)
    for page in heap:
        app.write(page.start, b"full")
    app.madvise(heap[:1], pm.Advice.DONTNEED)
    app.munmap(heap[2:3])
    assert app.read(heap.start, 4) == bytes(4)
    machine.check()
    again = app.mmap(PAGE_SIZE, at=heap.start + 2 * PAGE_SIZE)
    assert app.read(again.start, 4) == bytes(4)
    assert app.read(heap.start + PAGE_SIZE, 4) == b"full"
    machine.check()


def test_bytes_go_with_their_mapping_and_through_swap() -> None:
    """mremap, then out to the device, back, and moved."""
    machine, app = watched(swap=16)
    heap = app.mmap(2 * PAGE_SIZE)
    app.write(heap.start + 7, b"carried")
    moved = app.mremap(heap, to=heap.start + (1 << 24))
    machine.check()
    machine.drain()
    app.swap_out(moved[:1])
    machine.check()
    child = app.fork()
    machine.check()
    app.write(moved.start + 7, b"C")
    assert (app.read(moved.start + 7, 7), child.read(moved.start + 7, 7)) == (b"Carried", b"carried")
    machine.drain()
    app.move_pages(moved, 1, scope=pm.MoveScope.SHARED)
    machine.check()


def test_a_file_keeps_what_is_within_its_end() -> None:
    """write(2), stores through a mapping, writeback, truncation to the middle of a page, and growing."""
    machine, app = watched()
    file = machine.create_file("file", 3 * PAGE_SIZE)
    area = app.mmap(3 * PAGE_SIZE, file=file, shared=True)
    file.write(0, b"written" * 1000)
    app.write(area.start + 2 * PAGE_SIZE, b"stored")
    for page in range(3):
        file.writeback(page)
    machine.advance(10)
    machine.check()
    file.truncate(5)
    assert file.read(0, 100) == b"writt"
    machine.check()
    file.truncate(PAGE_SIZE)
    assert file.read(0, 7) == b"writt\0\0"
    machine.check()


def test_a_write_that_the_disk_refuses_is_lost_rightly() -> None:
    """Linux gives such a page up: it is clean and marked, and its bytes are promised to nobody."""
    machine, app = watched()
    kind = dataclasses.replace(pm.filesystems.EXT, write_script=(pm.WriteOutcome.IO_ERROR,))
    file = machine.create_file("file", PAGE_SIZE, filesystem=kind)
    file.write(0, b"gone", by=app)
    file.writeback(0)
    machine.advance(10)
    assert file.disk(0)[:4] == bytes(4)
    machine.check()


def test_a_page_that_counts_as_clean_too_early_is_found_before_it_is_dropped() -> None:
    """I-111: the dirty bit of the entry is lost at UM-9, and nothing else is wrong yet."""
    for bugs, broken in (((), set()), (DROPS_DIRT, {"no_store_is_lost"})):
        machine, app = watched(swap=16, bugs=bugs)
        file = machine.create_file("file", PAGE_SIZE, filesystem=pm.filesystems.TMPFS)
        area = app.mmap(PAGE_SIZE, file=file, shared=True)
        app.touch(area, write=False)
        app.write(area.start, b"dirt")
        machine.drain()
        assert app.move_pages(area, 1).tolist() == [1]
        assert rules(machine) == broken
        assert app.read(area.start, 4) == b"dirt"


def test_a_load_that_returns_something_else_stays_a_finding() -> None:
    """Even when the page is right again by the time of the audit: the program has seen it."""
    machine, app = watched(bugs=(pm.Bug.COPY_LATE,))
    heap = app.mmap(PAGE_SIZE)
    app.write(heap.start, b"heap")
    machine.drain()
    mover = machine.start(pm.calls.move_pages(heap, 1), by=app)
    mover.run_until("MN-5")
    assert app.read(heap.start, 4) == bytes(4)
    mover.run()
    assert app.read(heap.start, 4) == b"heap"
    assert "byte 0 was loaded as 0x00, stored as 0x68" in str(machine.audit())


def test_watching_changes_nothing_else() -> None:
    """The same calls come to the same, frame by frame."""
    ends = []
    for is_watched in (False, True):
        machine = pm.Machine(nodes=NODES, contents=True, swap=16 * PAGE_SIZE)
        if is_watched:
            machine.watch_stores()
        app = machine.spawn(stack=False)
        heap = app.mmap(4 * PAGE_SIZE)
        for page in heap:
            app.write(page.start, b"page")
        child = app.fork()
        child.write(heap.start, b"own")
        machine.drain()
        statuses = app.move_pages(heap, 1, scope=pm.MoveScope.SHARED).tolist()
        app.swap_out(heap[1:2])
        entries = [task.entry_at(page.start).raw for task in (app, child) for page in heap]
        ends.append((statuses, entries, machine.vmstat(), machine.cost))
    assert ends[0] == ends[1]
