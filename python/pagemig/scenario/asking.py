"""The pages that a call is asked to move: where they were when it began and where they went.

Start with `remember_asked` before a call and `asked` after it. What `move_pages` is asked stands in
its arguments; of any other call that moves pages it is what it took off its lists, read off the trace,
and what it wanted elsewhere and did not take. Raw calls are asked the same.

Source: syscalls 3.3 (statuses), 5.3 and 6.3 (what is wanted). Neighbours: `pagemig.scenario.reasons`
tells why pages stayed.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..arguments import Addresses
from ..errors import UsageError
from ..flags import MPOL_MF_MOVE, MPOL_MF_MOVE_ALL, NODES_MAX, USER_END, Capability
from ..region import Region
from ..report import Asked
from .call_steps import Mbind, MigratePages, MovePages
from .listening import Tried
from .part import Step
from .raw_steps import RawMbind, RawMigratePages, RawMovePages

if TYPE_CHECKING:
    from .model import CallPart
    from .running import Flight
    from .world import World


LISTS = (MovePages, RawMovePages)
"""Calls whose arguments list pages."""


@dataclass(slots=True)
class Entries:
    """The pages that a call is asked to move."""

    pid: int
    addresses: list[int]
    before: tuple[int, ...]
    wanted: tuple[bool, ...] = ()
    """Which of them a call that walks memory wants elsewhere; of calls that list pages none."""
    moves_all: bool = False
    """Whether pages are moved that others map, too."""
    after: tuple[int, ...] = ()


def remember_asked(world: World, part: CallPart) -> Entries | None:
    """Return the pages that a call is asked to move and where they are; None for calls that name none.

    Of ``migrate_pages`` and ``mbind`` these are the pages of regions that lie in the memory they are about.
    """
    if isinstance(part, LISTS):
        return _listed(world, part)
    if isinstance(part, (MigratePages, RawMigratePages)):
        return _of_migrate_pages(world, part)
    if isinstance(part, (Mbind, RawMbind)):
        return _of_mbind(world, part)
    return None


def _listed(world: World, part: MovePages | RawMovePages) -> Entries | None:
    if part.pages is None:
        return None
    seen_by = part.target if isinstance(part.target, str) else part.by
    where = world.where(part.pages, seen_by)
    addresses = (where.addresses if isinstance(where, Region) else where).tolist()
    if isinstance(part, RawMovePages) and part.count is not None:
        addresses = addresses[: part.count]
    pid = target_of(world, part)
    return Entries(pid, addresses, nodes_at(world, pid, addresses))


def _of_migrate_pages(world: World, part: MigratePages | RawMigratePages) -> Entries:
    if isinstance(part, MigratePages):
        old, new = set(part.old_nodes), set(part.new_nodes)
    else:
        old, new = (nodes_in(words, part.maxnode) for words in (part.old_nodes, part.new_nodes))
    pid = target_of(world, part)
    listed = sorted({at for region in world.regions.values() for at in region.addresses.tolist()})
    before = nodes_at(world, pid, listed)
    goes = {node for node in old if goal_of(node, old, new) != node}
    wanted = tuple(node in goes for node in before)
    moves_all = Capability.SYS_NICE in world.task(str(part.by)).capabilities
    return Entries(pid, listed, before, wanted, moves_all)


def _of_mbind(world: World, part: Mbind | RawMbind) -> Entries | None:
    if isinstance(part, Mbind):
        region = world.region(part.region, part.by)
        pid, listed, nodes = region.task, region.addresses.tolist(), set(part.policy.nodes)
        moves, moves_all = bool({"MOVE", "MOVE_ALL"} & set(part.flags)), "MOVE_ALL" in part.flags
    else:
        start, end = world.address(part.start), world.address(part.start) + part.length
        listed = sorted(
            {at for region in world.regions.values() for at in region.addresses.tolist() if start <= at < end}
        )
        pid, nodes = target_of(world, part), nodes_in(part.nodes, part.maxnode)
        moves, moves_all = (
            bool(part.flags & (MPOL_MF_MOVE | MPOL_MF_MOVE_ALL)),
            bool(part.flags & MPOL_MF_MOVE_ALL),
        )
    if not moves:
        return None
    before = nodes_at(world, pid, listed)
    return Entries(pid, listed, before, tuple(node >= 0 and node not in nodes for node in before), moves_all)


def target_of(world: World, part: Step) -> int:
    """The pid of the task whose pages a call is about; 0 if there is none."""
    target = getattr(part, "target", None)
    if isinstance(target, int) and target:
        return target
    return world.tasks.get(str(target or part.by), 0)


def nodes_in(words: tuple[int, ...] | None, maxnode: int) -> set[int]:
    """Return the nodes of a mask in user memory (syscalls 5.1): one bit less than ``maxnode`` says counts."""
    return {node for node in range(min(maxnode - 1, NODES_MAX)) if words and words[0] >> node & 1}


def goal_of(node: int, old: set[int], new: set[int]) -> int:
    """Return to which node ``migrate_pages`` sends the pages of one of the old ones (syscalls 5.3).

    >>> [goal_of(node, {0, 1, 2}, {1, 2}) for node in (0, 1, 2)]
    [1, 2, 1]
    """
    return sorted(new)[sorted(old).index(node) % len(new)] if new else node


def nodes_at(world: World, pid: int, addresses: list[int] | Addresses) -> tuple[int, ...]:
    """Return the node of the page at each address in a task, -1 where there is none."""
    live = next((task for task in world.machine.tasks if task.pid == pid), None)
    if live is None or live.is_kernel_thread:
        return (-1,) * len(addresses)
    listed = np.asarray(addresses, dtype=np.uint64)
    there = listed < USER_END
    nodes: npt.NDArray[np.int32] = np.full(listed.shape, -1, dtype=np.int32)
    with contextlib.suppress(UsageError):  # It is exiting and has let its memory go.
        nodes[there] = live.nodes_of(listed[there])
    return tuple(nodes.tolist())


def rows_of(tried: Tried) -> tuple[int, ...]:
    """Return the frames of a call: first those that it tried, then those that it took, or could not take.

    The frame to which a page was copied, and from which it was to go on, is no row of its own.
    """
    later = set[int]()
    for pfn in tried.results:
        if pfn not in later:
            later |= set(_chain(tried, pfn)[1:])
    listed = dict.fromkeys((*tried.results, *tried.addresses, *tried.refused))
    return tuple(pfn for pfn in listed if pfn not in later)


def _following(tried: Tried, pfn: int) -> int | None:
    """The frame to which a page was copied, if the call took it from there once more."""
    address, target = tried.addresses.get(pfn, 0), tried.targets.get(pfn)
    if tried.results.get(pfn) != 0 or target is None or not address or tried.addresses.get(target) != address:
        return None
    return target


def _chain(tried: Tried, pfn: int) -> list[int]:
    """A frame, and those to which its page was copied and from which it was taken once more."""
    chain = [pfn]
    while (following := _following(tried, chain[-1])) is not None and following not in chain:
        chain.append(following)
    return chain


def last_of(tried: Tried, pfn: int) -> int:
    """Return the last frame from which a call took the page of a row."""
    return _chain(tried, pfn)[-1]


def passed_over(entries: Entries | None, tried: Tried) -> list[int]:
    """Return which pages a call that walks memory wanted elsewhere, neither took nor moved."""
    if entries is None or not entries.wanted:
        return []
    taken = set(tried.addresses.values())
    columns = zip(
        entries.addresses, entries.before, entries.after or entries.before, entries.wanted, strict=True
    )
    return [
        entry
        for entry, (address, before, after, is_wanted) in enumerate(columns)
        if is_wanted and before >= 0 and after == before and address not in taken
    ]


def asked(world: World, flight: Flight | None, tried: Mapping[int, Tried]) -> Asked | None:
    """Return the pages of a call; None if it moves none, or has not been started."""
    if flight is None:
        return None
    failed = -errno.EINPROGRESS if not flight.came.done else 0
    if flight.came.errno is not None:
        failed = -getattr(errno, flight.came.errno)
    if flight.entries is not None and isinstance(flight.part, LISTS):
        return _of_entries(flight, flight.entries, failed, flight.part.nodes is None)
    own = tried.get(-1 if flight.number is None else flight.number, Tried())
    return _of_frames(world, flight, own, failed)


def _of_entries(flight: Flight, entries: Entries, failed: int, is_query: bool) -> Asked:
    written = flight.came.statuses or ()
    missing = len(entries.addresses) - len(written)
    return Asked(
        tuple(entries.addresses),
        (*written, *(failed,) * missing),
        entries.before,
        entries.after or entries.before,
        is_query,
    )


def _of_frames(world: World, flight: Flight, tried: Tried, failed: int) -> Asked | None:
    """Return what was tried, in the order of the first attempts, what was only taken, and what was not."""
    rows = []
    for pfn in rows_of(tried):
        last = last_of(tried, pfn)
        result = tried.results.get(last)
        before, after = world.node_of(pfn), world.node_of(last)
        if result == 0:
            after = world.node_of(tried.targets[last]) if last in tried.targets else -1
        status = after if result == 0 and after >= 0 else result or tried.refused.get(last) or failed
        rows.append((tried.addresses.get(pfn, 0), status, before, after))
    rows += [(why.address, why.status, why.node, why.node) for why in flight.passed_over]
    if not rows:
        return None
    addresses, statuses, before_all, after_all = (tuple(row[at] for row in rows) for at in range(4))
    return Asked(addresses, statuses, before_all, after_all)
