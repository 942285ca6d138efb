"""``get_mempolicy(2)``: which policy is in force, which nodes are allowed, where a page is.

Start with `get_mempolicy`. It writes to user memory as far as the kernel would.

Source: syscalls 6.5.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .._core import Request
from ..arguments import register
from ..flags import MPOL_F_ADDR, MPOL_F_MEMS_ALLOWED, MPOL_F_NODE, PolicyMode
from ..permissions import get_mempolicy_flags_are_known, mask_holds_all_nodes
from ..policy import Effective
from ..user_memory import NODE, UserPointer, writable_bytes, write_bytes
from .move_pages import Caller, system_and_pid
from .node_masks import require_mask_memory, write_node_mask

if TYPE_CHECKING:
    from ..system import System


class _Answer(NamedTuple):
    """What goes to user memory: a mode word or a node, and a mask."""

    mode: int
    mask: int


def get_mempolicy(
    caller: Caller, mode: UserPointer, nodemask: UserPointer, maxnode: int, address: int, flags: int
) -> int:
    """Make the system call and return what the kernel returns.

    Parameters
    ----------
    caller
        The `pagemig.Task` that calls.
    mode
        User memory for one int32: the mode with its flags, or a node; None if not wanted.
    nodemask
        User memory for a mask of 64-bit words, ``maxnode`` - 1 bits rounded up to words; None
        if not wanted.
    maxnode
        One more than the bits of the mask, at least 64.
    address
        Which area, or which page, with ``MPOL_F_ADDR``; 0 without.
    flags
        ``MPOL_F_NODE`` 1, ``MPOL_F_ADDR`` 2, ``MPOL_F_MEMS_ALLOWED`` 4.

    Returns
    -------
    int
        0, or a negative errno.

    Raises
    ------
    UsageError
        An argument is not of the kind described here.
    """
    system, pid = system_and_pid(caller)
    bits, where, word = (
        register(maxnode, "maxnode"),
        register(address, "address"),
        register(flags, "flags"),
    )
    room = writable_bytes(mode, "mode")
    require_mask_memory(nodemask, "nodemask")
    refusal = mask_holds_all_nodes(bits) if nodemask is not None else 0
    refusal = refusal or get_mempolicy_flags_are_known(word)
    if refusal:
        return -refusal
    if word & MPOL_F_MEMS_ALLOWED:
        answer: _Answer | int = _Answer(0, system.facts(pid).mems_allowed)
    else:
        answer = _policy_answer(system, pid, where, word)
    if isinstance(answer, int):
        return answer
    if mode is not None:
        if room < NODE.itemsize:
            return -errno.EFAULT
        write_bytes(mode, np.array([answer.mode], dtype=NODE), 0, NODE.itemsize)
    return 0 if nodemask is None else write_node_mask(nodemask, bits, answer.mask, "nodemask")


def _policy_answer(system: System, pid: int, address: int, flags: int) -> _Answer | int:
    """Steps 3 to 5: what to write, or a negative errno."""
    if flags & MPOL_F_ADDR:
        area = _area_policy(system, pid, address)
        if area is None:
            return -errno.EFAULT
        policy = area
    else:
        if address:
            return -errno.EINVAL
        policy = Effective.from_core(system.core.task_policy(pid))
    mode, mask = policy.reported
    if flags & MPOL_F_NODE:
        mode = _node_at(system, pid, address) if flags & MPOL_F_ADDR else _next_node(system, pid, policy)
        if mode < 0:
            return mode
    return _Answer(mode, mask)


def _area_policy(system: System, pid: int, address: int) -> Effective | None:
    """The policy of the area that contains an address, or of its file there; None where there is no area."""
    for start, end, *_ in system.core.vmas(pid):
        if start <= address < end:
            return Effective.from_core(system.core.policy_at(pid, address))
    return None


def _node_at(system: System, pid: int, address: int) -> int:
    """The node of the page at an address, faulted in for reading; -EFAULT if there is none."""
    pfn = system.core.do(pid, Request.pin(address, False))
    if pfn is None:
        return -errno.EFAULT
    # The frame beyond the last is the zero page, which counts to the first node built with memory.
    built = system.plan.memory_mask
    lowest = (built & -built).bit_length() - 1
    node = lowest if pfn == system.frames else system.core.frame(pfn)[1]
    system.core.do(pid, Request.unpin(pfn))
    return node


def _next_node(system: System, pid: int, policy: Effective) -> int:
    """The node that an interleaving task takes next; -EINVAL of a task that does not interleave."""
    if policy.mode is not PolicyMode.INTERLEAVE:
        return -errno.EINVAL
    return system.core.next_interleave(pid)
