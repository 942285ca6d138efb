"""The edges: addresses beyond user space, mappings beyond reason, threads, and what is no task."""

from __future__ import annotations

import errno
import threading

import numpy as np
import pytest

import pagemig as pm

TABLES = 65_536
"""Page tables that a machine of any size may have (docs/decisions/0002)."""
LEAF_SPAN = 512 * pm.PAGE_SIZE


def small(cpus: int = 1) -> pm.Machine:
    return pm.Machine(nodes=[64 * pm.PAGE_SIZE] * 2, cpus=cpus)


def test_an_address_above_user_space_never_comes_out_below_it() -> None:
    """Data-model 6.2: user addresses are below 2^47 - 4096; the walk looks at 48 bits only."""
    machine = small()
    app = machine.spawn()
    page = app.mmap(pm.PAGE_SIZE)
    app.touch(page)
    high = [page.start + 2**47, page.start + 2**48, page.start + 5 * 2**60]
    done = app.touch(np.array(high, dtype=np.uint64), write=False)
    assert done.sigsegv.tolist() == high
    assert done.hits == 0


def test_reading_more_than_there_can_be_tables_for_is_out_of_memory() -> None:
    """Supporting-paths 2: missing tables are allocated, failure: OOM. What happened until then stays."""
    machine = small()
    app = machine.spawn()
    wide = app.mmap((TABLES + 64) * LEAF_SPAN)
    ends = np.arange(wide.start, wide.end, LEAF_SPAN, dtype=np.uint64)
    with pytest.raises(pm.OutOfMemoryError):
        app.touch(ends, write=False)
    assert app.nodes_of(ends[:3]).tolist() == [0, 0, 0]
    app.munmap(wide)
    again = app.mmap(pm.PAGE_SIZE)
    assert app.touch(again, write=False).minor == 1


def test_a_fork_without_room_for_its_tables_fails_and_leaves_nothing() -> None:
    """Supporting-paths 3: out of memory fails the fork."""
    machine = pm.Machine(nodes=[512 * pm.PAGE_SIZE], cpus=1)
    app = machine.spawn()
    wide = app.mmap((TABLES - 256) * LEAF_SPAN)
    first = wide[:1]
    app.touch(first)
    ends = np.arange(wide.start, wide.end, LEAF_SPAN, dtype=np.uint64)
    app.touch(ends, write=False)
    with pytest.raises(OSError, match="memory") as refused:
        app.fork()
    assert refused.value.errno == errno.ENOMEM
    assert [task.pid for task in machine.tasks] == [app.pid]
    page = app.page_at(first.start)
    assert page is not None
    assert page.mapcount == 1
    machine.check()


def test_a_huge_locked_area_ends_at_once() -> None:
    """Supporting-paths 15: munlock visits present pages; where there is no table there are none."""
    machine = small()
    app = machine.spawn()
    app.mmap(2**44, flags=pm.VmFlags.LOCKED)
    app.exit()
    machine.check()
    assert machine.vmstat()["nr_free_pages"] == 128


def test_a_region_too_long_to_list_is_refused_by_its_length() -> None:
    machine = small()
    app = machine.spawn()
    wide = app.mmap(2**45)
    with pytest.raises(pm.UsageError, match="8589934592 pages"):
        app.move_pages(wide, 1)


def test_the_machine_itself_is_no_task() -> None:
    machine = small()
    with pytest.raises(pm.UsageError, match="pid 0"):
        machine.task(0)
    with pytest.raises(pm.UsageError, match="pid 0"):
        machine.start(pm.calls.drain(), by=0)


def test_the_engine_can_be_stepped_and_holds_no_mmap_sem() -> None:
    """Q34: who moves pages by frame number can meet a munmap of the only mapper (S18)."""
    machine = small(cpus=2)
    app = machine.spawn()
    page = app.mmap(pm.PAGE_SIZE)
    app.touch(page)
    machine.drain()
    frame = app.page_at(page.start)
    assert frame is not None
    mover = machine.start(pm.calls.migrate_frames([frame.pfn], pm.ToNode(1)), by=app)
    assert mover.run_until("MM-1")
    app.munmap(page)
    machine.check()
    machine.run()
    assert mover.result.not_migrated == 0
    assert mover.result.statuses.tolist() == [1]
    assert app.counters.anon == 1, "the entry's page stays counted (Q16)"
    machine.drain()
    machine.check()
    assert machine.vmstat()["nr_free_pages"] == 128


def test_threads_are_refused_or_served_and_never_confused() -> None:
    """Two threads step calls of their own; each may find the machine busy, and nothing else."""
    machine = small(cpus=2)
    app = machine.spawn()
    page = app.mmap(pm.PAGE_SIZE)
    app.touch(page)
    trouble: list[BaseException] = []

    def work() -> None:
        for _ in range(200):
            try:
                call = machine.start(pm.calls.touch(page), by=app)
            except pm.MachineBusyError:
                continue
            while not call.done:
                try:
                    call.step()
                except pm.MachineBusyError:
                    pass
                except BaseException as error:
                    trouble.append(error)
                    return

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert trouble == []
    machine.check()
