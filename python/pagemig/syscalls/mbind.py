"""``mbind(2)``: a policy for a range of memory, and its pages to where the policy wants them.

Start with `mbind`, the raw call. `prepare` does the checks after the node mask has been read;
what it returns is a request that only the engine can serve.

Source: syscalls 6.1, steps 1 to 9. What the policy comes to in the caller's cpuset (step 11), scan,
policy and move (6.2, 6.3) are the core's.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from .._core import Request
from ..arguments import register
from ..call import SystemCall
from ..flags import MPOL_MF_MOVE, MPOL_MF_MOVE_ALL, MPOL_MF_STRICT, PAGE_SIZE, PolicyMode
from ..permissions import (
    mbind_flags_are_known,
    shared_pages_are_permitted,
    start_is_page_aligned,
)
from ..policy import Policy, decode, mask_suits_mode, mode_flags_agree
from .move_pages import Caller, system_and_pid
from .node_masks import NodeMask, read_node_mask

if TYPE_CHECKING:
    from ..system import System

_MOVES = MPOL_MF_MOVE | MPOL_MF_MOVE_ALL
_REGISTER = (1 << 64) - 1


def mbind(
    caller: Caller, start: int, length: int, mode: int, nodemask: NodeMask, maxnode: int, flags: int
) -> int:
    """Make the system call and return what the kernel returns.

    Parameters
    ----------
    caller
        The `pagemig.Task` that calls.
    start, length
        The range, bytes; unsigned numbers of 64 bits.
    mode
        ``MPOL_DEFAULT`` 0 to ``MPOL_INTERLEAVE`` 3, with ``MPOL_F_STATIC_NODES`` 0x8000 or
        ``MPOL_F_RELATIVE_NODES`` 0x4000; an unsigned number of 64 bits.
    nodemask
        User memory of 64-bit words, or a set of node ids.
    maxnode
        One more than the bits of the mask that count.
    flags
        ``MPOL_MF_STRICT`` 1, ``MPOL_MF_MOVE`` 2, ``MPOL_MF_MOVE_ALL`` 4. Only the low 32 bits count.

    Returns
    -------
    int
        0, or a negative errno (syscalls 6.4). Never positive.

    Raises
    ------
    UsageError
        An argument is not of the kind described here.
    """
    system, by = system_and_pid(caller)
    first, size = register(start, "start"), register(length, "length")
    word = register(flags, "flags") & 0xFFFF_FFFF
    mask = read_node_mask(nodemask, register(maxnode, "maxnode"), "nodemask")
    policy = decode(register(mode, "mode"), max(mask, 0))
    if isinstance(policy, int):
        return -policy
    if mask < 0:
        return mask
    request = prepare(system, by, first, size, policy, word)
    if isinstance(request, int):
        return request
    return int(system.do(by, request, lambda: SystemCall("mbind")))


def prepare(
    system: System, caller: int, start: int, length: int, policy: Policy, flags: int
) -> Request | int:
    """Check the rest up to step 9, in the order of Linux; return what the engine shall do, or the result.

    Parameters
    ----------
    system, caller
        The machine and the pid of the calling task.
    start, length
        As in the registers.
    policy
        What new pages shall follow, as it was asked for.
    flags
        ``MPOL_MF_*``, 32 bits.
    """
    facts = system.facts(caller)
    refusal = (
        mode_flags_agree(policy)
        or mbind_flags_are_known(flags)
        or shared_pages_are_permitted(flags, facts)
        or start_is_page_aligned(start)
    )
    if refusal:
        return -refusal
    end = (start + -(-length // PAGE_SIZE) * PAGE_SIZE) & _REGISTER
    if end <= start:
        return 0 if end == start else -errno.EINVAL
    refusal = mask_suits_mode(policy)
    if refusal:
        return -refusal
    may_move = flags & _MOVES != 0
    return Request.mbind(
        start,
        end - start,
        policy.row,
        policy.mask,
        flags & MPOL_MF_STRICT != 0 and policy.mode is not PolicyMode.DEFAULT,
        may_move,
        flags & MPOL_MF_MOVE_ALL != 0,
    )
