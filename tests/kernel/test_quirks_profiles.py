"""What REPAIRED turns off, quirk by quirk, and nothing else (spec README 5): Q15 to Q19, Q21, Q29.

Goal: every difference between the two profiles is one of these quirks. Method: the same story on
a machine of each; the quirk's own traces are all that is different at its end, and a neighbouring
story without the quirk leaves no difference at all.
"""

from __future__ import annotations

import dataclasses

import pytest

import pagemig as pm

from .profiles import Story, differences
from .stepping import block, cached, finish, reach

F = pm.PageFlags
HERE, THERE = 0x400000, 0x800000
OLD, NEW = 0, 64
PLAIN = pm.FileSystem("plain")
SWAP = 16 * pm.PAGE_SIZE


def a_page(machine: pm.Machine, memcg: pm.Memcg | None = None) -> tuple[pm.Task, pm.Region]:
    """A task with one anonymous page on frame 0."""
    app = machine.spawn("app", memcg=memcg)
    page = app.mmap(pm.PAGE_SIZE, at=HERE)
    app.write(page.start, b"bytes")
    machine.drain()
    return app, page


def move_frame(machine: pm.Machine) -> pm.Call:
    """A move of frame 0 by somebody without memory."""
    mover = machine.spawn("mover", stack=False)
    return machine.start(pm.calls.migrate_frames([OLD], pm.ToNode(1)), by=mover)


# Q15 ---------------------------------------------------------------------------------------


def a_swap_cache_page_moves(machine: pm.Machine) -> None:
    """It is never counted in NR_SHMEM."""
    app, page = a_page(machine)
    app.swap_out(page)
    app.touch(page, write=False)
    machine.drain()
    app.move_pages(page, 1)


def test_q15_differs_in_nr_shmem_of_the_two_zones() -> None:
    """Q15: -1 and +1 in EXACT."""
    assert differences(a_swap_cache_page_moves, swap=SWAP) == {
        "drift": ((pm.Drift("nr_shmem", 0, -1), pm.Drift("nr_shmem", 1, 1)), ()),
        "node 0 nr_shmem": (-1, 0),
        "node 1 nr_shmem": (1, 0),
    }


# Q16 ---------------------------------------------------------------------------------------


def while_entries_are_there(machine: pm.Machine, what: str) -> None:
    """A page of parent and child is on its way while the child unmaps it, or has a child."""
    app, page = a_page(machine)
    child = app.fork("child")
    move = reach(machine, move_frame(machine), "UM-10")
    if what == "unmap":
        child.munmap(child.same(page))
    else:
        child.fork("grandchild")
    finish(machine, move)


def test_q16_differs_in_the_resident_counter_of_who_unmapped() -> None:
    """Q16: one page too many."""
    assert differences(lambda machine: while_entries_are_there(machine, "unmap")) == {
        "drift": ((pm.Drift("anon", 1, 1),), ()),
        "child counters": (pm.MemoryCounters(0, 1, 0), pm.MemoryCounters(0, 0, 0)),
    }


def test_q16_differs_in_the_resident_counter_of_who_was_born() -> None:
    """Q16: one page too few."""
    assert differences(lambda machine: while_entries_are_there(machine, "fork")) == {
        "drift": ((pm.Drift("anon", 3, -1),), ()),
        "grandchild counters": (pm.MemoryCounters(0, 0, 0), pm.MemoryCounters(0, 1, 0)),
    }


# Q17, Q18 ----------------------------------------------------------------------------------


def a_charged_file_page_moves(machine: pm.Machine) -> None:
    """It is mapped once."""
    app = machine.spawn("app", memcg=machine.create_memcg("group"))
    _, area = cached(machine, app, PLAIN)
    app.move_pages(area, 1)


def test_q17_differs_in_the_mapped_file_statistic() -> None:
    """Q17: the group's, and the mark of it on the record of the page; one less than there is."""
    used = pm.RecordFlags.USED | pm.RecordFlags.CACHE
    assert differences(a_charged_file_page_moves) == {
        "drift": ((pm.Drift("mapped_file", 1, -1),), ()),
        f"record {NEW}": (
            pm.MemcgRecord(used, 1),
            pm.MemcgRecord(used | pm.RecordFlags.FILE_MAPPED, 1),
        ),
        "group group mapped_file": (0, pm.PAGE_SIZE),
    }


def a_page_is_truncated_while_it_is_written(machine: pm.Machine) -> None:
    """S26, of a charged page."""
    app = machine.spawn("app", memcg=machine.create_memcg("group"))
    file, _ = cached(machine, app, PLAIN, write=True)
    move = reach(machine, move_frame(machine), "WO-5")
    cut = machine.start(pm.calls.truncate(file, 0), by=machine.spawn("cutter", stack=False))
    block(machine, cut)
    machine.complete_io()
    finish(machine, cut)
    finish(machine, move)
    machine.drain()


def test_q18_differs_in_a_charge_that_nobody_stands_for() -> None:
    """Q18: usage and statistic of the group, and the record of a free frame."""
    used = pm.RecordFlags.USED | pm.RecordFlags.CACHE
    assert differences(a_page_is_truncated_while_it_is_written) == {
        "drift": ((pm.Drift("charge", 1, 1),), ()),
        f"record {NEW}": (pm.MemcgRecord(used, 1), pm.MemcgRecord(pm.RecordFlags.NONE, 0)),
        "group group usage": (pm.PAGE_SIZE, 0),
        "group group cache": (pm.PAGE_SIZE, 0),
    }


# Q19 ---------------------------------------------------------------------------------------


def a_frame_is_taken_out_of_use(machine: pm.Machine) -> None:
    """With a page in it."""
    a_page(machine)
    machine.soft_offline(OLD)


def test_q19_differs_in_the_isolated_counter() -> None:
    """Q19: -1."""
    assert differences(a_frame_is_taken_out_of_use) == {
        "drift": ((pm.Drift("nr_isolated_anon", 0, -1),), ()),
        "node 0 nr_isolated_anon": (-1, 0),
    }


# Q21 ---------------------------------------------------------------------------------------


def a_mapping_moves_while_its_page_is_on_its_way(machine: pm.Machine) -> None:
    """But not in the instant in which the restoring walk looks."""
    app, page = a_page(machine)
    move = reach(machine, move_frame(machine), "UM-10")
    app.mremap(page, to=THERE)
    finish(machine, move)


def test_q21_differs_in_who_may_walk_while_tables_move() -> None:
    """Q21: outside the window there is no difference; inside, one profile waits (test_quirks_mremap)."""
    assert differences(a_mapping_moves_while_its_page_is_on_its_way) == {}
    waits = {}
    for profile in pm.Profile:
        machine = pm.Machine(nodes=[64 * pm.PAGE_SIZE] * 2, cpus=1, contents=True, profile=profile)
        app, page = a_page(machine)
        move = reach(machine, move_frame(machine), "MN-4")
        reach(machine, machine.start(pm.calls.mremap(page, to=THERE), by=app), "SP6-carry")
        waits[profile] = not move.step()
    assert waits == {pm.Profile.EXACT: False, pm.Profile.REPAIRED: True}


# Q29 ---------------------------------------------------------------------------------------


def a_dirty_page_is_written_by_the_fallback(machine: pm.Machine) -> None:
    """It moves when it is clean."""
    app = machine.spawn("app")
    cached(machine, app, PLAIN, write=True)
    assert machine.migrate_pages([OLD], pm.ToNode(1)).statuses.tolist() == [1]


def test_q29_differs_in_one_write_bit() -> None:
    """Q29: of the entry that came back while the page was written."""
    found = differences(a_dirty_page_is_written_by_the_fallback)
    ((exact, repaired),) = found.values()
    assert exact.writable
    assert dataclasses.replace(exact, writable=False, raw=exact.raw & ~2) == repaired


def and_is_stored_to_afterwards(machine: pm.Machine) -> None:
    """The same, and then a store."""
    a_dirty_page_is_written_by_the_fallback(machine)
    (file,) = machine.files
    machine.task(1).touch(file.areas[0])


def test_q29_then_differs_in_what_is_known_of_a_store() -> None:
    """Q29: PG_dirty, the tag and NR_FILE_DIRTY; the entries are equal then."""
    found = differences(and_is_stored_to_afterwards)
    assert set(found) == {"node 1 nr_dirty", "frame 67", "file data"}
    exact, repaired = found["frame 67"]
    assert repaired == dataclasses.replace(exact, flags=exact.flags | F.DIRTY)
    assert found["node 1 nr_dirty"] == (0, 1)


# everything else ---------------------------------------------------------------------------


def anonymous_memory(machine: pm.Machine) -> None:
    """Fork, copy-on-write, a move of each, a pin, an unmapping."""
    app = machine.spawn("app", memcg=machine.create_memcg("group", limit=20 * pm.PAGE_SIZE))
    heap = app.mmap(6 * pm.PAGE_SIZE, at=HERE)
    app.touch(heap)
    child = app.fork("child")
    child.touch(child.same(heap[:3]))
    machine.drain()
    app.pin(heap.start)
    for task in (app, child):
        task.move_pages(task.same(heap), 1, scope=pm.MoveScope.SHARED)
    child.munmap(child.same(heap[1:4]))
    machine.drain()
    app.migrate_pages(child, {1}, {0})


def files_of_all_kinds(machine: pm.Machine) -> None:
    """Each mapped, clean and dirty, and moved; nobody is charged."""
    app = machine.spawn("app")
    for filesystem in (
        pm.filesystems.EXT,
        pm.filesystems.TMPFS,
        pm.filesystems.RAMFS,
        pm.filesystems.FAILING,
    ):
        file = machine.create_file(filesystem.name, 2 * pm.PAGE_SIZE, filesystem=filesystem)
        area = app.mmap(2 * pm.PAGE_SIZE, file=file, shared=True)
        app.touch(area[0])
        app.touch(area[1], write=False)
        machine.drain()
        app.move_pages(area, 1)
    machine.files[0].truncate(100)


def locked_and_merged(machine: pm.Machine) -> None:
    """Locked memory, KSM, and a range that goes offline with a KSM page in it."""
    app = machine.spawn("app")
    locked = app.mmap(2 * pm.PAGE_SIZE)
    app.mlock(locked)
    app.move_pages(locked, 1)
    twins = app.mmap(3 * pm.PAGE_SIZE)
    app.madvise(twins, pm.Advice.MERGEABLE)
    app.touch(twins)
    machine.drain()
    while machine.ksm.scan():
        machine.drain()
    machine.offline(48, 16)
    machine.offline(16, 16)


def groups_of_nodes(machine: pm.Machine) -> None:
    """Policies, mbind and a cpuset that changes its nodes and takes its pages along."""
    app = machine.spawn("app")
    heap = app.mmap(4 * pm.PAGE_SIZE)
    app.touch(heap)
    machine.drain()
    app.mbind(heap[:2], pm.Policy(pm.PolicyMode.BIND, [1]), flags=pm.MbindFlags.MOVE)
    group = machine.create_cpuset("group", mems=[0, 1], memory_migrate=True)
    group.attach(app)
    machine.drain()
    group.set_mems([1])


@pytest.mark.parametrize("story", [anonymous_memory, files_of_all_kinds, locked_and_merged, groups_of_nodes])
def test_stories_without_those_quirks_end_alike(story: Story) -> None:
    """Spec README 5: all other quirks are design properties and stay."""
    assert differences(story, swap=SWAP, pageblock_frames=16) == {}
