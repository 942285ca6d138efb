"""``move_pages(2)``: its checks in order, its user memory, and what is left for the engine.

Start with `move_pages`, the raw call. `prepare` does the checks MV-1 to MV-7 and reads the
user arrays; what it returns is a request that only the engine can serve. Every fault and
every bad node becomes "the first entry at which the call ends": the engine walks chunks of
169 entries and needs to know no more.

Source: syscalls 2 to 4, migration 19 to 22. Reading all arrays first is exact because the
kernel reads each entry once, and nothing that it writes can be read by a later entry; where
arrays overlap so that it could, the call is refused.
"""

from __future__ import annotations

import errno
import functools
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from .._core import Request
from ..arguments import Addresses, Nodes, integer, read_only, register
from ..call import SystemCall
from ..errors import UsageError, syscall_error
from ..flags import MPOL_MF_MOVE, MPOL_MF_MOVE_ALL, NODES_MAX
from ..permissions import (
    TaskFacts,
    flags_are_known,
    node_is_permitted,
    shared_pages_are_permitted,
    target_has_memory,
    target_is_permitted,
)
from ..user_memory import ADDRESS, NODE, UserMemory, UserPointer, read_values, writable_bytes, write_bytes

if TYPE_CHECKING:
    from ..system import System

ENTRIES_PER_CHUNK = 169
"""Entries that are checked, moved and reported together."""

QUERIES_PER_CHUNK = 16
"""Entries of a query that are read and reported together."""

_FEW = 8
"""Up to so many nodes are checked one by one; more are checked as an array."""


class Caller(Protocol):
    """The task that makes a system call."""

    @property
    def pid(self) -> int: ...
    @property
    def _system(self) -> System: ...


def system_and_pid(caller: Caller) -> tuple[System, int]:
    """Return the machine of the task that makes a call, and its pid."""
    try:
        return caller._system, caller.pid
    except AttributeError:
        raise UsageError(f"caller is {caller!r}; it must be a Task") from None


def move_pages(
    caller: Caller,
    pid: int,
    nr_pages: int,
    pages: UserPointer,
    nodes: UserPointer,
    status: UserPointer,
    flags: int,
) -> int:
    """Make the system call and return what the kernel returns.

    Parameters
    ----------
    caller
        The `pagemig.Task` that calls.
    pid
        Whose pages, 0 for the caller's own. Only the low 32 bits count.
    nr_pages
        How many entries, an unsigned number of 64 bits.
    pages
        User memory with one uint64 address an entry.
    nodes
        User memory with one int32 node an entry, or None to ask where the pages are.
    status
        User memory for one int32 an entry: a node or a negative errno. Written in place, as
        far as the kernel would.
    flags
        ``MPOL_MF_MOVE`` 2 or ``MPOL_MF_MOVE_ALL`` 4. Only the low 32 bits count.

    Returns
    -------
    int
        0, or a negative errno (syscalls 3.6). Never positive.

    Raises
    ------
    UsageError
        An argument is not of the kind described here, or ``status`` lies over entries that are still to
        be read.
    """
    system, by = system_and_pid(caller)
    count = register(nr_pages, "nr_pages")
    where = read_values(pages, ADDRESS, count, "pages")
    wanted = None if nodes is None else read_values(nodes, NODE, count, "nodes")
    room = writable_bytes(status, "status")
    chunk = QUERIES_PER_CHUNK if nodes is None else ENTRIES_PER_CHUNK
    if count > chunk:
        _refuse_overlap(pages, nodes, status, chunk)
    target, word = register(pid, "pid"), register(flags, "flags")
    request = prepare(system, by, target, count, where, wanted, room, word)
    if isinstance(request, int):
        return request
    result, statuses, written = system.do(by, request, lambda: SystemCall("move_pages"))
    write_bytes(status, statuses, 0, written)
    return int(result)


def prepare(
    system: System,
    caller: int,
    pid: int,
    count: int,
    pages: Addresses | range,
    nodes: Nodes | int | None,
    status_bytes: int,
    flags: int,
) -> Request | int:
    """Check everything that is checked before the first page, in the order of Linux.

    Parameters
    ----------
    system, caller
        The machine and the pid of the calling task.
    pid, flags
        As in the registers: only 32 bits count.
    count
        Entries asked for; ``pages`` and ``nodes`` may hold fewer, the next one faults.
    status_bytes
        How many bytes of the status array can be written.
    nodes
        One for all entries, or one for each; None to ask where they are.

    Returns
    -------
    Request or int
        What the engine shall do; or the result of the call, which is over.
    """
    flags &= 0xFFFF_FFFF
    pid &= 0xFFFF_FFFF
    source = system.facts(caller)
    if flags != MPOL_MF_MOVE:  # which is known, and needs no capability
        refusal = flags_are_known(flags) or shared_pages_are_permitted(flags, source)
        if refusal:
            return -refusal
    target = source if pid in (0, caller) else system.find(pid)
    if target is None:
        return -errno.ESRCH
    number = pid or caller
    refusal = (
        target_has_memory(target)
        or (target is not source and target_is_permitted(source, target))  # one's own uid is one's own
        or (system.security_hook.verdict(caller, number) if system.security_hook.vetoes else 0)
    )
    if refusal:
        return -refusal
    if nodes is None:
        return Request.query_pages(number, count, _places(pages), len(pages), min(status_bytes, 4 * count))
    entries, fill_error = _readable_entries(system, number, target, count, pages, nodes)
    return Request.move_pages(
        number,
        count,
        _places(pages if len(pages) == entries else pages[:entries]),
        nodes if isinstance(nodes, int) or nodes.size == entries else nodes[:entries],
        fill_error,
        min(status_bytes // 4, count),
        flags & MPOL_MF_MOVE_ALL != 0,
    )


def _places(pages: Addresses | range) -> Addresses | tuple[int, int]:
    """Return pages as the engine takes them: addresses, or where neighbours begin and how many there are."""
    return (pages.start, len(pages)) if isinstance(pages, range) else pages


def _readable_entries(
    system: System, number: int, target: TaskFacts, count: int, pages: Addresses | range, nodes: Nodes | int
) -> tuple[int, tuple[int, int] | None]:
    """Return how many entries pass the checks of DP-5b, and where and why the next does not."""
    verdicts, table = _verdicts(system.memory_mask, system.allowed_nodes(number, target))
    if isinstance(nodes, int):
        entries = min(count, len(pages))
        refusal = verdicts[nodes] if 0 <= nodes < NODES_MAX else errno.ENODEV
        if refusal and entries:
            return 0, (0, refusal)
        return entries, None if entries == count else (entries, errno.EFAULT)
    entries = min(count, len(pages), nodes.size)
    if entries <= _FEW:
        few = nodes[:entries].tolist()
        for entry, node in enumerate(few):
            refusal = verdicts[node] if 0 <= node < NODES_MAX else errno.ENODEV
            if refusal:
                return entry, (entry, refusal)
    else:
        asked = nodes[:entries]
        low, high = int(asked.min()), int(asked.max())
        if low >= 0 and high < NODES_MAX and not any(verdicts[low : high + 1]):
            return entries, None if entries == count else (entries, errno.EFAULT)
        slots = np.minimum(asked.view(np.uint32), NODES_MAX)
        refusals = table.take(slots)
        if refusals.any():
            entry = int((refusals != 0).argmax())
            return entry, (entry, int(refusals[entry]))
    return entries, None if entries == count else (entries, errno.EFAULT)


@functools.lru_cache(maxsize=256)
def _verdicts(memory_mask: int, allowed_mask: int) -> tuple[tuple[int, ...], npt.NDArray[np.uint8]]:
    """Return `node_is_permitted` of every node, once for one and once for many; last: beyond all."""
    rules = tuple(node_is_permitted(node, memory_mask, allowed_mask) for node in range(NODES_MAX + 1))
    return rules, np.array(rules, dtype=np.uint8)


def _refuse_overlap(pages: UserPointer, nodes: UserPointer, status: UserPointer, chunk: int) -> None:
    """Refuse a status array whose first chunk reaches entries that are still to be read."""
    written = _bytes_of(status)
    for name, pointer, width in (("pages", pages, 8), ("nodes", nodes, 4)):
        read = _bytes_of(pointer)
        if written is None or read is None or not np.may_share_memory(written, read):
            continue
        ahead = written.ctypes.data - read.ctypes.data
        if ahead > (width - 4) * chunk:
            raise UsageError(f"status starts {ahead} bytes inside {name}; give it memory of its own")


def _bytes_of(pointer: UserPointer) -> npt.NDArray[Any] | None:
    return pointer.array if isinstance(pointer, UserMemory) else pointer


def signed_pid(value: object) -> int:
    """Return a pid as a person may give it, which need not name a task."""
    return integer(value, "pid", -(1 << 31), (1 << 31) - 1)


def statuses_of(outcome: tuple[int, npt.NDArray[np.int32], int]) -> npt.NDArray[np.int32]:
    """Return the statuses of a ``move_pages`` call, or raise its failure with those written."""
    result, statuses, written = outcome
    if result < 0:
        raise syscall_error(-result, "move_pages", read_only(statuses[: written // 4]))
    return statuses
