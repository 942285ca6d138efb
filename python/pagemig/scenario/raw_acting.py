"""The raw system calls of a scenario, made at once.

Start with `RAW`. Neighbours: `pagemig.scenario.raw_steps` for what the steps say, `pagemig.syscalls`,
which makes them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import syscalls
from ..errors import syscall_error
from ..region import Region
from . import raw_steps
from .world import World

_UNWRITTEN = -(1 << 31)
"""No status: what the array holds before the call."""


def _pid(world: World, target: str | int | None) -> int:
    number = world.tasks.get(target, 0) if isinstance(target, str) else target or 0
    return number & 0xFFFF_FFFF


def _move_pages(world: World, step: raw_steps.RawMovePages) -> Any:
    pages = None
    if step.pages is not None:
        where = world.where(step.pages, step.target if isinstance(step.target, str) else step.by)
        pages = where.addresses if isinstance(where, Region) else where
    room = pages.size if pages is not None else min(step.count or 0, 1 << 16)
    count = room if step.count is None else step.count
    nodes = None
    if step.nodes is not None:
        wanted = np.atleast_1d(np.array(step.nodes, dtype=np.int64)).astype(np.int32)
        nodes = np.ascontiguousarray(np.broadcast_to(wanted, room) if wanted.size == 1 else wanted)
    status = np.full(room, _UNWRITTEN, dtype=np.int32) if step.status else None
    caller = world.task(step.by)
    code = syscalls.move_pages(caller, _pid(world, step.target), count, pages, nodes, status, step.flags)
    written = np.empty(0, dtype=np.int32) if status is None else status[: _prefix(status)]
    if code < 0:
        raise syscall_error(-code, "move_pages", written)
    return written


def _prefix(status: Any) -> int:
    return int(np.argmax(status == _UNWRITTEN)) if (status == _UNWRITTEN).any() else int(status.size)


def _words(words: tuple[int, ...] | None) -> Any:
    return None if words is None else np.array(words, dtype=np.uint64)


def _migrate_pages(world: World, step: raw_steps.RawMigratePages) -> int:
    old, new = _words(step.old_nodes), _words(step.new_nodes)
    code = syscalls.migrate_pages(world.task(step.by), _pid(world, step.target), step.maxnode, old, new)
    if code < 0:
        raise syscall_error(-code, "migrate_pages")
    return code


def _mbind(world: World, step: raw_steps.RawMbind) -> None:
    start, mask = world.address(step.start), _words(step.nodes)
    caller = world.task(step.by)
    code = syscalls.mbind(caller, start, step.length, step.mode, mask, step.maxnode, step.flags)
    if code < 0:
        raise syscall_error(-code, "mbind")


RAW: dict[str, Callable[[World, Any], Any]] = {
    "raw_move_pages": _move_pages,
    "raw_migrate_pages": _migrate_pages,
    "raw_mbind": _mbind,
}
"""What each verb does; a call that fails is an `OSError`."""
