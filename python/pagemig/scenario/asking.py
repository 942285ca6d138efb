"""The pages that a call is asked to move: where they were when it began and where they went.

Start with `remember_asked` before a call and `asked` after it. What `move_pages` is asked stands in
its arguments; of any other call that moves pages it is what it took off its lists, read off the trace.

Source: syscalls 3.3 (statuses). Neighbours: `pagemig.scenario.reasons` tells why pages stayed.
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
from ..flags import USER_END
from ..region import Region
from ..report import Asked
from .call_steps import Mbind, MigratePages, MovePages
from .listening import Tried

if TYPE_CHECKING:
    from .model import CallPart
    from .running import Flight
    from .world import World


@dataclass(slots=True)
class Entries:
    """The entries of a ``move_pages`` call."""

    pid: int
    addresses: list[int]
    before: tuple[int, ...]
    after: tuple[int, ...] = ()


def remember_asked(world: World, part: CallPart) -> Entries | None:
    """Return the pages that a call is asked to move and where they are; None for calls that name none.

    Of ``migrate_pages`` and ``mbind`` these are the pages of regions that lie in the memory they are about.
    """
    if isinstance(part, MovePages):
        seen_by = part.target if isinstance(part.target, str) else part.by
        where = world.where(part.pages, seen_by)
        addresses = (where.addresses if isinstance(where, Region) else where).tolist()
        pid = world.tasks.get(seen_by, 0) if seen_by is not None else 0
        if part.target is not None and not isinstance(part.target, str):
            pid = part.target or pid
        return Entries(pid, addresses, nodes_at(world, pid, addresses))
    if isinstance(part, Mbind) and {"MOVE", "MOVE_ALL"} & set(part.flags) and part.policy.nodes:
        region = world.region(part.region, part.by)
        return Entries(region.task, region.addresses.tolist(), nodes_at(world, region.task, region.addresses))
    if isinstance(part, MigratePages):
        named = part.target if isinstance(part.target, str) else part.by if not part.target else None
        pid = world.tasks.get(named, 0) if named is not None else int(part.target or 0)
        listed = sorted({at for region in world.regions.values() for at in region.addresses.tolist()})
        return Entries(pid, listed, nodes_at(world, pid, listed))
    return None


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
    """Return the frames of a call: first those that it tried, then those that it took, or could not take."""
    return tuple(dict.fromkeys((*tried.results, *tried.addresses, *tried.refused)))


def asked(world: World, flight: Flight | None, tried: Mapping[int, Tried]) -> Asked | None:
    """Return the pages of a call; None if it moves none, or has not been started."""
    if flight is None:
        return None
    failed = -errno.EINPROGRESS if not flight.came.done else 0
    if flight.came.errno is not None:
        failed = -getattr(errno, flight.came.errno)
    if flight.entries is not None and isinstance(flight.part, MovePages):
        return _of_entries(flight, flight.entries, failed, flight.part.nodes is None)
    if flight.call is None or flight.call.number not in tried:
        return None
    return _of_frames(world, tried[flight.call.number], failed)


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


def _of_frames(world: World, tried: Tried, failed: int) -> Asked | None:
    """Return first what was tried, in the order of the first attempts, then what was only taken."""
    rows = []
    for pfn in rows_of(tried):
        result = tried.results.get(pfn)
        before = world.node_of(pfn)
        after = before
        if result == 0:
            after = world.node_of(tried.targets[pfn]) if pfn in tried.targets else -1
        status = after if result == 0 and after >= 0 else result or tried.refused.get(pfn) or failed
        rows.append((tried.addresses.get(pfn, 0), status, before, after))
    if not rows:
        return None
    addresses, statuses, before_all, after_all = (tuple(row[at] for row in rows) for at in range(4))
    return Asked(addresses, statuses, before_all, after_all)
