"""``move_pages(2)``, with user memory as plain bytes that end where it faults.

Start with :func:`move_pages`. Null pointers are empty bytes, except for
``nodes``, where None asks for the query mode.

Source: migration.md 16 to 22, syscalls 2 to 4.
Left out: the security hook, huge pages.
"""

from __future__ import annotations

import dataclasses
import errno
import struct

from . import engine, policy
from .cpusets import allowed_nodes
from .lookup import Lookup, follow
from .memory import MAX_NUMNODES, Flag, Frame
from .tasks import CAP_SYS_NICE, State, Task

MPOL_MF_MOVE = 2
MPOL_MF_MOVE_ALL = 4
CHUNK = 169
QUERY_CHUNK = 16


@dataclasses.dataclass
class Record:
    """One ``page_to_node``; ``pfn`` is the page pointer and outlives its chunk (Q09)."""

    address: int = 0
    pfn: int | None = None
    node: int = 0
    status: int = 0


@dataclasses.dataclass
class UserArrays:
    """The arguments of a call. ``status`` is written in place, up to its end."""

    count: int
    pages: bytes
    nodes: bytes | None
    status: bytearray


def move_pages(state: State, caller: Task, pid: int, user: UserArrays, flags: int) -> int:
    """Return 0 or -errno (MV-1 to MV-8)."""
    if flags & ~(MPOL_MF_MOVE | MPOL_MF_MOVE_ALL):
        return -errno.EINVAL
    privileged = bool(caller.capabilities & CAP_SYS_NICE)
    if flags & MPOL_MF_MOVE_ALL and not privileged:
        return -errno.EPERM
    target = caller if pid == 0 else state.tasks.get(pid)
    if target is None:
        return -errno.ESRCH
    if target.mm is None:
        return -errno.EINVAL
    related = {caller.euid, caller.uid} & {target.suid, target.uid}
    if not related and not privileged:
        return -errno.EPERM
    if user.nodes is None:
        return _stat(state, target, user)
    return _move(state, caller, target, user, migrate_all=bool(flags & MPOL_MF_MOVE_ALL))


def _stat(state: State, target: Task, user: UserArrays) -> int:
    """``do_pages_stat``: chunks of 16, copied in and out as blocks."""
    done = 0
    while done < user.count:
        size = min(QUERY_CHUNK, user.count - done)
        block = user.pages[done * 8 : (done + size) * 8]
        if len(block) < size * 8:
            return -errno.EFAULT
        answers = [_stat_one(state, target, address) for address in struct.unpack(f"<{size}Q", block)]
        answer = struct.pack(f"<{size}i", *answers)
        room = max(0, len(user.status) - done * 4)
        user.status[done * 4 : done * 4 + min(room, len(answer))] = answer[:room]
        if room < len(answer):
            return -errno.EFAULT
        done += size
    return 0


def _stat_one(state: State, target: Task, address: int) -> int:
    """PS-2; whether the VMA can be migrated does not matter here (Q33)."""
    if target.memory_map.find_vma(address) is None:
        return -errno.EFAULT
    frame = follow(state, target.memory_map, address)
    if frame is Lookup.BAD:
        return -errno.EFAULT
    if not isinstance(frame, Frame) or frame.has(Flag.RESERVED) or frame.is_ksm:
        return -errno.ENOENT
    return frame.node


def _move(state: State, caller: Task, target: Task, user: UserArrays, *, migrate_all: bool) -> int:
    """``do_pages_move`` (DP-1 to DP-7)."""
    with_memory = state.memory.with_memory
    allowed = allowed_nodes(state, target)
    state.drain_all()
    buffer = [Record() for _ in range(CHUNK)]
    for start in range(0, user.count, CHUNK):
        records = buffer[: min(CHUNK, user.count - start)]
        for offset, record in enumerate(records):
            error = _fill(record, start + offset, user, with_memory, allowed)
            if error:
                return error
        result = _move_chunk(state, caller, target, records, migrate_all=migrate_all)
        if result < 0:
            return result
        for offset, record in enumerate(records):
            at = (start + offset) * 4
            if len(user.status) < at + 4:
                return -errno.EFAULT
            user.status[at : at + 4] = struct.pack("<i", record.status)
    return 0


def _fill(record: Record, entry: int, user: UserArrays, with_memory: set[int], allowed: set[int]) -> int:
    """DP-5b for one entry: 0 or the error that ends the call."""
    assert user.nodes is not None
    if len(user.pages) < entry * 8 + 8:
        return -errno.EFAULT
    (record.address,) = struct.unpack_from("<Q", user.pages, entry * 8)
    if len(user.nodes) < entry * 4 + 4:
        return -errno.EFAULT
    (record.node,) = struct.unpack_from("<i", user.nodes, entry * 4)
    if not 0 <= record.node < MAX_NUMNODES or record.node not in with_memory:
        return -errno.ENODEV
    return 0 if record.node in allowed else -errno.EACCES


def _move_chunk(state: State, caller: Task, target: Task, records: list[Record], *, migrate_all: bool) -> int:
    """``do_move_page_to_node_array`` (DM-1 to DM-4)."""
    pages: list[Frame] = []
    for record in records:
        record.status = _queue(state, caller, target, record, pages, migrate_all=migrate_all)
    if not pages:
        return 0

    def new_page(old: Frame) -> engine.Target | None:
        """``new_page_node`` (NP-1 to NP-4): the first record that names the page."""
        for record in records:
            if record.pfn == old.pfn:
                frame = policy.allocate_on(state.memory, record.node)
                if frame is None:
                    return None

                def report(result: int, record: Record = record) -> None:
                    record.status = result

                return engine.Target(frame, report)
        return None

    return engine.migrate_pages(state, state.cpu_of(caller), engine.Batch(pages, new_page))


def _queue(
    state: State, caller: Task, target: Task, record: Record, pages: list[Frame], *, migrate_all: bool
) -> int:
    """DM-2 for one record: its status, 0 when its page was queued."""
    vma = target.memory_map.find_vma(record.address)
    if vma is None or not vma.is_migratable:
        return -errno.EFAULT
    frame = follow(state, target.memory_map, record.address)
    if frame is Lookup.BAD:
        return -errno.EFAULT
    if not isinstance(frame, Frame) or frame.has(Flag.RESERVED) or frame.is_ksm:
        return -errno.ENOENT
    record.pfn = frame.pfn
    if frame.node == record.node:
        return frame.node
    if frame.mapcount > 1 and not migrate_all:
        return -errno.EACCES
    # The reference of DM-2b is dropped before anything can look at the count.
    return 0 if engine.collect(state, pages, frame) else -errno.EBUSY
