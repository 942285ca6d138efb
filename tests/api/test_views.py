"""What can be seen of a machine without changing it."""

from __future__ import annotations

import numpy as np
import pytest

import pagemig as pm


def test_numa_maps_is_in_the_kernels_format(machine: pm.Machine, app: pm.Task) -> None:
    """numa(7): address, policy, counts that are not zero, pages for each node."""
    region = app.mmap(3 * pm.PAGE_SIZE, at=0x400000)
    app.mmap(pm.PAGE_SIZE, at=0x500000)
    app.touch(region)
    machine.drain()
    app.move_pages(region[0], 1)
    machine.drain()
    assert app.numa_maps() == (
        "00400000 default anon=3 dirty=3 N0=2 N1=1\n00500000 default\n7ffffffef000 default stack\n"
    )


def test_numa_maps_shows_how_often_pages_are_mapped(app: pm.Task, heap: pm.Region) -> None:
    """``mapmax`` above 1 after fork."""
    app.fork()
    line = app.numa_maps().splitlines()[0]
    assert " mapmax=2 " in line


def test_numa_maps_shows_policies_an_areas_own_before_the_tasks(app: pm.Task) -> None:
    """An area without a policy shows the task's; preferred without nodes is local."""
    low, high = app.mmap(4096, at=0x400000), app.mmap(4096, at=0x500000)
    app.mbind(low, pm.Policy(pm.PolicyMode.BIND, [1]))
    app.set_mempolicy(pm.Policy(pm.PolicyMode.INTERLEAVE, [0, 1]))
    lines = app.numa_maps().splitlines()
    assert lines[:2] == ["00400000 bind:1", "00500000 interleave:0-1"]
    app.mbind(high, pm.Policy(pm.PolicyMode.PREFERRED))
    assert app.numa_maps().splitlines()[1] == "00500000 local"
    assert app.fork().numa_maps().splitlines()[2].startswith("7ffffffef000 interleave:0-1 stack")


def test_status_is_in_the_kernels_format(app: pm.Task, heap: pm.Region) -> None:
    """Those lines of proc(5) that the model has."""
    lines = app.status().splitlines()
    assert lines[:3] == ["Name:\tapp", f"Pid:\t{app.pid}", "Uid:\t0\t0\t0\t0"]
    assert "VmSize:\t      80 kB" in lines
    assert "VmRSS:\t      16 kB" in lines
    assert "Mems_allowed:\t00000000,00000003" in lines
    assert lines[-1] == "Mems_allowed_list:\t0-1"


def test_a_frame_is_described_as_the_specification_names_it(app: pm.Task, heap: pm.Region) -> None:
    """Data-model 2.5: a drained anonymous page has one reference and one mapping."""
    page = app.page_at(heap.start)
    assert page is not None
    assert (page.node, page.zone, page.count, page.mapcount) == (0, pm.ZoneKind.NORMAL, 1, 1)
    assert page.flags == (
        pm.PageFlags.UPTODATE | pm.PageFlags.LRU | pm.PageFlags.ACTIVE | pm.PageFlags.SWAPBACKED
    )
    assert page.lru is pm.LruList.ACTIVE_ANON
    assert page.owner is not None
    assert page.owner.kind is pm.OwnerKind.ANON
    assert page.index == heap.start // pm.PAGE_SIZE


def test_an_entry_is_described_bit_by_bit(app: pm.Task, heap: pm.Region) -> None:
    """Data-model 6.3: a written page of a private area."""
    entry = app.entry_at(heap.start + 77)
    page = app.page_at(heap.start)
    assert page is not None
    assert (entry.kind, entry.pfn) == (pm.EntryKind.PRESENT, page.pfn)
    assert entry.writable
    assert entry.dirty
    assert entry.accessed
    assert not entry.special
    assert entry.raw == (1 << 63) | page.pfn << 12 | 0b110_0111
    nothing = app.entry_at(0x5000)
    assert (nothing.kind, nothing.pfn, nothing.raw) == (pm.EntryKind.NONE, None, 0)
    assert app.page_at(0x5000) is None


def test_areas_are_described_with_all_that_the_kernel_keeps(app: pm.Task, heap: pm.Region) -> None:
    """Data-model 6.1 and 7.1: a child's area is linked to its own list first, then to its parent's."""
    area = app.vmas[0]
    assert (area.start, area.end, area.pgoff) == (heap.start, heap.end, heap.start // pm.PAGE_SIZE)
    assert area.flags & pm.VmFlags.WRITE
    assert area.policy is None
    assert len(area.anon_vmas) == 1
    child = app.fork().vmas[0]
    assert len(child.anon_vmas) == 2
    assert child.anon_vmas[1:] == area.anon_vmas
    app.mbind(heap, pm.Policy(pm.PolicyMode.BIND, [1]))
    assert app.vmas[0].policy == pm.Policy(pm.PolicyMode.BIND, [1])


def test_lists_and_pagevecs_show_where_pages_wait(machine: pm.Machine, app: pm.Task) -> None:
    """Data-model 4: a pagevec in the order of coming, a list with the last one first."""
    region = app.mmap(3 * pm.PAGE_SIZE)
    app.touch(region)
    active = pm.LruList.ACTIVE_ANON
    assert (machine.pagevec(0, active), machine.lru(0, active)) == ((0, 1, 2), ())
    machine.drain()
    assert (machine.pagevec(0, active), machine.lru(0, active)) == ((), (2, 1, 0))
    app.pin(region.start)
    assert machine.pins == {0: 1}
    assert machine.zonelist(1) == ((1, pm.ZoneKind.NORMAL), (0, pm.ZoneKind.NORMAL))
    for ask in (
        lambda: machine.lru(0, 1),  # type: ignore[arg-type]
        lambda: machine.lru(0, active, pm.ZoneKind.DMA),
        lambda: machine.lru(9, active),
        lambda: machine.pagevec(1, active),
        lambda: machine.pagevec(0, 1),  # type: ignore[arg-type]
        lambda: machine.zonelist(2),
        lambda: machine.frame_bytes(0),
    ):
        with pytest.raises(pm.UsageError):
            ask()


def test_frames_show_their_bytes() -> None:
    """Where the machine has contents."""
    machine = pm.Machine(nodes=[pm.MiB], contents=True)
    task = machine.spawn()
    region = task.mmap(pm.PAGE_SIZE)
    task.write(region.start + 1, b"x")
    page = task.page_at(region.start)
    assert page is not None
    assert machine.frame_bytes(page.pfn) == b"\0x" + bytes(4094)


def test_frames_of_a_node_come_as_columns(machine: pm.Machine, app: pm.Task, heap: pm.Region) -> None:
    """Allocated ones only, in frame order, read-only."""
    columns = machine.frames(0)
    assert columns["pfn"].tolist() == [0, 1, 2, 3]
    assert columns["mapcount"].tolist() == [1] * 4
    assert not any(column.flags.writeable for column in columns.values())
    assert machine.frames(1)["pfn"].size == 0


def test_looking_changes_nothing(machine: pm.Machine, app: pm.Task, heap: pm.Region) -> None:
    """Goal: properties and queries are free of effects. Method: look twice at everything."""

    def look() -> tuple[object, ...]:
        return (
            machine.vmstat(),
            machine.zone_counters(0),
            machine.cost,
            machine.now,
            machine.audit(),
            app.numa_maps(),
            app.status(),
            app.counters,
            app.rss,
            app.regions,
            app.page_at(heap.start),
            app.entry_at(heap.start),
            app.nodes_of(heap).tolist(),
            {name: column.tolist() for name, column in machine.frames(0).items()},
        )

    app.mmap(pm.PAGE_SIZE)
    assert look() == look()


def test_nodes_come_as_a_read_only_array(app: pm.Task, heap: pm.Region) -> None:
    """int32, -1 where nothing is present; for regions, lists, arrays and single addresses."""
    nodes = app.nodes_of([heap.start, 0x5000])
    assert nodes.dtype == np.int32
    assert nodes.tolist() == [0, -1]
    assert not nodes.flags.writeable
    assert app.nodes_of(heap.start).tolist() == [0]
    assert app.nodes_of(np.array([heap.start], np.int64)).tolist() == [0]
    assert app.nodes_of(heap[:0]).size == 0


def test_resident_counters_tell_files_anonymous_memory_and_swap(app: pm.Task, heap: pm.Region) -> None:
    """Data-model 3.2; they and ``rss`` count pages."""
    assert app.counters == pm.MemoryCounters(file=0, anon=4, swap=0)
    assert app.rss == 4


@pytest.mark.parametrize("address", [-1, 1 << 47, "0", 1.5])
def test_an_address_outside_user_space_has_no_entry(app: pm.Task, address: object) -> None:
    """UsageError."""
    with pytest.raises(pm.UsageError):
        app.entry_at(address)  # type: ignore[arg-type]


def test_costs_grow_with_work(machine: pm.Machine, app: pm.Task, heap: pm.Region) -> None:
    """The ledger counts elementary operations."""
    before = machine.cost
    app.move_pages(heap, 1)
    after = machine.cost
    assert sum(after.values()) > sum(before.values())
    assert all(after[name] >= count for name, count in before.items())


def test_a_trace_keeps_the_last_events(machine: pm.Machine, app: pm.Task, heap: pm.Region) -> None:
    """Nothing until it is asked for; then columns and rows."""
    app.move_pages(heap[0], 1)
    assert len(machine.trace) == 0
    machine.record(5)
    app.move_pages(heap[1], 1)
    trace = machine.trace
    assert len(trace) == 5
    rows = list(trace)
    assert [row.time for row in rows] == trace["time"].tolist()
    assert {row.pid for row in rows} == {app.pid}
    machine.record(0)
    assert len(machine.trace) == 0


def test_a_trace_says_isolated_only_of_pages_that_were(
    machine: pm.Machine, app: pm.Task, heap: pm.Region
) -> None:
    """DM-2d: a page that is on node 0 already stays on its list."""
    machine.record(1000)
    assert app.move_pages(heap, [0, 1, 0, 1]).tolist() == [0, 1, 0, 1]
    isolated = [row.address for row in machine.trace if row.event == "isolate"]
    assert isolated == [heap[1].start, heap[3].start]


def test_columns_of_frames_say_node_and_list_as_each_frame_does() -> None:
    """Nodes are int32, lists int8, -1 for none: pagevecs, every family, locked pages."""
    machine = pm.Machine(nodes=[64 * pm.PAGE_SIZE] * 2, cpus=1)
    app = machine.spawn()
    heap = app.mmap(4 * pm.PAGE_SIZE)
    app.touch(heap)
    file = machine.create_file("file", 3 * pm.PAGE_SIZE)
    app.touch(app.mmap(3 * pm.PAGE_SIZE, file=file))
    machine.drain()
    app.mlock(heap[:1])
    app.move_pages(heap[1:2], 1)
    for node in (0, 1):
        columns = machine.frames(node)
        frames = [machine.frame(pfn) for pfn in columns["pfn"].tolist()]
        assert columns["node"].dtype == np.int32
        assert columns["node"].tolist() == [frame.node for frame in frames]
        assert columns["lru"].dtype == np.int8
        assert columns["lru"].tolist() == [-1 if frame.lru is None else int(frame.lru) for frame in frames]
    assert set(machine.frames(0)["lru"].tolist()) >= {-1, pm.LruList.UNEVICTABLE, pm.LruList.INACTIVE_FILE}
