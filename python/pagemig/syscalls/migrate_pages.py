"""``migrate_pages(2)``: all pages of a process from some nodes to others.

Start with `migrate_pages`, the raw call. `prepare` does the checks that come after the masks;
what it returns is a request that only the engine can serve.

Source: syscalls 5.1 and 5.2. The pairs of nodes, the scan and the move are the core's.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from .._core import Request
from ..arguments import register
from ..call import SystemCall
from ..permissions import (
    has_nice,
    new_nodes_are_permitted,
    new_nodes_have_memory,
    target_has_memory,
    target_is_permitted,
)
from .move_pages import Caller, system_and_pid
from .node_masks import NodeMask, read_node_mask

if TYPE_CHECKING:
    from ..system import System


def migrate_pages(caller: Caller, pid: int, maxnode: int, old_nodes: NodeMask, new_nodes: NodeMask) -> int:
    """Make the system call and return what the kernel returns.

    Parameters
    ----------
    caller
        The `pagemig.Task` that calls.
    pid
        Whose pages, 0 for the caller's own. Only the low 32 bits count.
    maxnode
        One more than the bits of the masks that count, an unsigned number of 64 bits.
    old_nodes, new_nodes
        Node masks: user memory of 64-bit words, or a set of node ids.

    Returns
    -------
    int
        How many pages were isolated but did not move, or a negative errno (syscalls 5.5).

    Raises
    ------
    UsageError
        An argument is not of the kind described here.
    """
    system, by = system_and_pid(caller)
    target, bits = register(pid, "pid"), register(maxnode, "maxnode")
    old = read_node_mask(old_nodes, bits, "old_nodes")
    new = read_node_mask(new_nodes, bits, "new_nodes")
    if old < 0 or new < 0:
        return old if old < 0 else new
    request = prepare(system, by, target, old, new)
    if isinstance(request, int):
        return request
    return int(system.do(by, request, lambda: SystemCall("migrate_pages")))


def prepare(system: System, caller: int, pid: int, old_mask: int, new_mask: int) -> Request | int:
    """Check the rest, in the order of Linux; return what the engine shall do, or a negative errno.

    Parameters
    ----------
    system, caller
        The machine and the pid of the calling task.
    pid
        As in the register: only 32 bits count.
    old_mask, new_mask
        Nodes, bit n for node n.
    """
    pid &= 0xFFFF_FFFF
    source = system.facts(caller)
    target = source if pid in (0, caller) else system.find(pid)
    if target is None:
        return -errno.ESRCH
    number = pid or caller
    allowed = system.allowed_nodes(number, target)
    refusal = (
        target_has_memory(target)
        or target_is_permitted(source, target)
        or new_nodes_are_permitted(new_mask, allowed, source)
        or new_nodes_have_memory(new_mask, system.memory_mask)
        or system.security_hook.verdict(caller, number)
    )
    if refusal:
        return -refusal
    return Request.migrate_pages(number, old_mask, new_mask, has_nice(source))
