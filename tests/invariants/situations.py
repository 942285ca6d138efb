"""Migrations of every kind, looked at after each of their steps.

Start with `KINDS` and `steps`: ``steps("ext dirty")`` is the whole life of one migration, from the moment
before its call starts to after its end, as a tuple of `Recount`. It is made once a run and shared by
all tests, which only read it.

Neighbours: ``recount``; the kinds of pages are those of data-model 2.5 and 5.1.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass

import pagemig as pm
from pagemig import filesystems
from tests.invariants.follow import Follower
from tests.invariants.recount import Recount

PAGE = pm.PAGE_SIZE
FRAMES = 32
"""Frames of each of the two nodes; node 1 begins with this frame."""
EXACT, REPAIRED = pm.Profile.EXACT, pm.Profile.REPAIRED
SHARED = pm.MoveScope.SHARED


@dataclass(frozen=True)
class Stage:
    """A machine on which something is about to be moved."""

    machine: pm.Machine
    app: pm.Task
    pfns: tuple[int, ...]
    """What is about to be moved."""
    call: pm.call.CallValue
    by: pm.Task


def new_machine(profile: pm.Profile = EXACT, *, kind: type[pm.Machine] = pm.Machine) -> pm.Machine:
    """Two nodes, one CPU, real bytes, swap."""
    return kind(
        nodes=[FRAMES * PAGE] * 2,
        cpus=1,
        contents=True,
        swap=8 * PAGE,
        profile=profile,
        pageblock_frames=16,
    )


def fill(machine: pm.Machine, task: pm.Task, area: pm.Region, text: bytes = b"page") -> tuple[int, ...]:
    """Write different bytes to each page of an area, drain, and return the frames."""
    for at, page in enumerate(area):
        task.write(page.start, text + b" %d" % at)
    machine.drain()
    return frames_of(task, area)


def frames_of(task: pm.Task, area: pm.Region) -> tuple[int, ...]:
    """The frames that the pages of an area are in; all are present."""
    entries = [task.entry_at(page.start) for page in area]
    assert all(entry.kind is pm.EntryKind.PRESENT and entry.pfn is not None for entry in entries)
    return tuple(entry.pfn for entry in entries if entry.pfn is not None)


# kinds of pages --------------------------------------------------------------------------


def anonymous(machine: pm.Machine) -> Stage:
    """Three pages, the second mapped read-only."""
    app = machine.spawn("app", stack=False)
    area = app.mmap(3 * PAGE)
    pfns = fill(machine, app, area)
    app.mprotect(area[1], pm.R)
    return Stage(machine, app, pfns, pm.calls.move_pages(area, 1), app)


def forked(machine: pm.Machine) -> Stage:
    """Two pages that parent, child and grandchild share, the second with two mappers left."""
    app = machine.spawn("app", stack=False)
    area = app.mmap(2 * PAGE)
    pfns = fill(machine, app, area)
    child = app.fork("child")
    child.fork("grandchild")
    child.write(area[1].start, b"own")
    machine.drain()
    return Stage(machine, app, pfns, pm.calls.move_pages(area, 1, scope=SHARED), app)


def locked(machine: pm.Machine) -> Stage:
    """One page locked in memory, and one beside it."""
    app = machine.spawn("app", stack=False)
    area = app.mmap(2 * PAGE)
    pfns = fill(machine, app, area)
    app.mlock(area[0])
    machine.drain()
    return Stage(machine, app, pfns, pm.calls.move_pages(area, 1), app)


def pinned(machine: pm.Machine) -> Stage:
    """Two pages of which the first is pinned: ten attempts, then it goes back (E4)."""
    app = machine.spawn("app", stack=False)
    area = app.mmap(2 * PAGE)
    pfns = fill(machine, app, area)
    app.pin(area.start)
    return Stage(machine, app, pfns, pm.calls.move_pages(area, 1), app)


def _file(machine: pm.Machine, kind: pm.FileSystem, *, write: bool, tasks: int = 1) -> Stage:
    file = machine.create_file("data", 2 * PAGE, filesystem=kind)
    app = machine.spawn("app", stack=False)
    area = app.mmap(2 * PAGE, file=file, shared=True)
    app.touch(area, write=write)
    if write:
        for at, page in enumerate(area):
            app.write(page.start, b"file %d" % at)
    for _ in range(tasks - 1):
        other = machine.spawn("other", stack=False)
        other.touch(other.mmap(2 * PAGE, file=file, shared=True), write=write)
    machine.drain()
    pfns = frames_of(app, area)
    return Stage(machine, app, pfns, pm.calls.move_pages(area, 1, scope=SHARED), app)


def swap_cache(machine: pm.Machine) -> Stage:
    """Two anonymous pages in the swap cache, which a child has as swap entries still (E3)."""
    app = machine.spawn("app", stack=False)
    area = app.mmap(2 * PAGE)
    fill(machine, app, area)
    app.fork("child")
    app.swap_out(area)
    app.touch(area, write=False)
    machine.drain()
    pfns = frames_of(app, area)
    return Stage(machine, app, pfns, pm.calls.move_pages(area, 1, scope=SHARED), app)


def read_ahead(machine: pm.Machine) -> Stage:
    """A page of the swap cache that nobody has mapped since it was read (S28)."""
    app = machine.spawn("app", stack=False)
    area = app.mmap(2 * PAGE)
    fill(machine, app, area)
    app.swap_out(area)
    app.touch(area[0], write=False)
    machine.drain()
    unmapped = [slot.pfn for slot in Recount(machine).slots if not machine.frame(slot.pfn).mapcount]
    assert len(unmapped) == 1
    call = pm.calls.migrate_frames(unmapped, pm.ToNode(1))
    return Stage(machine, app, tuple(unmapped), call, app)


def shmem_in_swap(machine: pm.Machine) -> Stage:
    """A page of shmem that reclaim has moved to the swap cache and written: `mapping` null."""
    app = machine.spawn("app", stack=False)
    pfn = leave_shmem_in_swap(machine, app)
    return Stage(machine, app, (pfn,), pm.calls.migrate_frames([pfn], pm.ToNode(1)), app)


def leave_shmem_in_swap(machine: pm.Machine, app: pm.Task) -> int:
    """Bring a page of shmem to the inactive list, unmapped and not referenced, and reclaim it."""
    file = machine.create_file("shared", PAGE, filesystem=filesystems.TMPFS)
    area = app.mmap(PAGE, file=file, shared=True)
    (pfn,) = fill(machine, app, area)
    app.mlock(area)
    app.munlock(area)
    machine.set_page_flag(pfn, pm.PageFlags.REFERENCED, False)
    app.munmap(area)
    machine.drain()
    machine.set_page_flag(pfn, pm.PageFlags.REFERENCED, False)
    machine.reclaim(0, by=app)
    assert machine.complete_io(), "it was written to swap"
    machine.drain()
    assert pm.PageFlags.SWAPCACHE in machine.frame(pfn).flags
    return pfn


def leave_in_swap(machine: pm.Machine, app: pm.Task, area: pm.Region) -> int:
    """Have one page reclaimed, and stop while it is written: in the swap cache, unmapped, on node 1.

    A page that was moved has an entry that is not accessed (Q13), so reclaim takes it at once.
    """
    fill(machine, app, area)
    app.mlock(area)
    app.munlock(area)
    app.move_pages(area, 1)
    machine.drain()
    (pfn,) = frames_of(app, area)
    machine.set_page_flag(pfn, pm.PageFlags.REFERENCED, False)
    machine.reclaim(1)
    assert pm.PageFlags.WRITEBACK in machine.frame(pfn).flags
    return pfn


def merged(machine: pm.Machine) -> Stage:
    """Three equal pages of two tasks that KSM has merged, moved as offlining does (S36)."""
    app, other = (machine.spawn(name, stack=False) for name in ("app", "other"))
    for task, pages in ((app, 2), (other, 1)):
        area = task.mmap(pages * PAGE)
        task.madvise(area, pm.Advice.MERGEABLE)
        for page in area:
            task.write(page.start, b"same")
    machine.drain()
    while machine.ksm.scan():
        machine.drain()
    (node,) = machine.ksm.nodes
    assert len(node.places) == 3
    call = pm.calls.migrate_frames([node.pfn], pm.ToNode(1), offlining=True)
    return Stage(machine, app, (node.pfn,), call, app)


def refused(machine: pm.Machine) -> Stage:
    """The same page, moved by somebody who may not (UM-4)."""
    stage = merged(machine)
    return dataclasses.replace(stage, call=pm.calls.migrate_frames(stage.pfns, pm.ToNode(1)))


def charged(machine: pm.Machine) -> Stage:
    """An anonymous page and a mapped file page that a memory cgroup pays for."""
    group = machine.create_memcg("group", limit=8 * PAGE)
    app = machine.spawn("app", stack=False, memcg=group)
    area = app.mmap(PAGE)
    file = machine.create_file("data", PAGE)
    view = app.mmap(PAGE, file=file, shared=True)
    app.write(area.start, b"own")
    app.write(view.start, b"file")
    machine.drain()
    pfns = frames_of(app, area) + frames_of(app, view)
    return Stage(machine, app, pfns, pm.calls.move_pages([area.start, view.start], 1), app)


def over_charged(machine: pm.Machine) -> Stage:
    """The same with the group at its limit (S39)."""
    stage = charged(machine)
    machine.memcg("group").limit = 2 * PAGE
    return stage


def offlined(machine: pm.Machine) -> Stage:
    """A pageblock of node 1 goes offline, with anonymous and file pages in it."""
    app = machine.spawn("app", stack=False, mems_allowed={1})
    area = app.mmap(2 * PAGE)
    file = machine.create_file("data", PAGE)
    view = app.mmap(PAGE, file=file, shared=True)
    pfns = fill(machine, app, area) + fill(machine, app, view)
    app.mems_allowed = {0, 1}
    by = machine.spawn("kworker", kernel_thread=True)
    return Stage(machine, app, pfns, pm.calls.offline(FRAMES, 16), by)


def node_pair(machine: pm.Machine) -> Stage:
    """``migrate_pages(2)`` of three pages."""
    app = machine.spawn("app", stack=False)
    pfns = fill(machine, app, app.mmap(3 * PAGE))
    return Stage(machine, app, pfns, pm.calls.migrate_pages(app, [0], [1]), app)


def bound(machine: pm.Machine) -> Stage:
    """``mbind`` of three pages, moving them."""
    app = machine.spawn("app", stack=False)
    area = app.mmap(3 * PAGE)
    pfns = fill(machine, app, area)
    policy = pm.Policy(pm.PolicyMode.BIND, [1])
    return Stage(machine, app, pfns, pm.calls.mbind(area, policy, flags=pm.MbindFlags.MOVE), app)


def _of(kind: pm.FileSystem, *, write: bool, tasks: int = 1) -> Callable[[pm.Machine], Stage]:
    return functools.partial(_file, kind=kind, write=write, tasks=tasks)


KINDS: dict[str, Callable[[pm.Machine], Stage]] = {
    "anonymous": anonymous,
    "forked": forked,
    "locked": locked,
    "pinned": pinned,
    "ext clean": _of(filesystems.EXT, write=False),
    "ext dirty": _of(filesystems.EXT, write=True, tasks=2),
    "block device": _of(filesystems.BLOCKDEV, write=True),
    "shmem": _of(filesystems.TMPFS, write=True, tasks=2),
    "ramfs clean": _of(filesystems.RAMFS, write=False),
    "ramfs dirty": _of(filesystems.RAMFS, write=True),
    "failing": _of(filesystems.FAILING, write=True),
    "swap cache": swap_cache,
    "read ahead": read_ahead,
    "shmem in the swap cache": shmem_in_swap,
    "merged": merged,
    "refused": refused,
    "charged": charged,
    "over-charged": over_charged,
    "offlined": offlined,
    "migrate_pages": node_pair,
    "mbind": bound,
}
"""What is migrated, by name."""


def follow(stage: Stage) -> Follower:
    """Start the call of a stage."""
    return Follower(stage.machine, stage.machine.start(stage.call, by=stage.by))


@functools.cache
def steps(kind: str, profile: pm.Profile = EXACT) -> tuple[Recount, ...]:
    """A recount before the call, one after each of its steps, and one after a drain."""
    stage = KINDS[kind](new_machine(profile))
    machine = stage.machine
    seen = [Recount(machine)]
    follower = follow(stage)
    while not follower.call.done:
        if not follower.step():
            assert machine.complete_io(), f"{kind} waits for {follower.call.waiting_for}"
        seen.append(Recount(machine, follower.holds()))
    seen.append(Recount(machine))
    machine.drain()
    seen.append(Recount(machine))
    return tuple(seen)
