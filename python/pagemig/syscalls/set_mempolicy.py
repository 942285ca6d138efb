"""``set_mempolicy(2)``: where new pages go, for a whole task.

`set_mempolicy` is the raw call; `replace` takes a decoded `pagemig.Policy`.

Source: syscalls 6.5, and of 6.1 the steps 1, 2, 8 and 11.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..arguments import register
from ..policy import Policy, decode, mask_suits_mode, mode_flags_agree
from .move_pages import Caller, system_and_pid
from .node_masks import NodeMask, read_node_mask

if TYPE_CHECKING:
    from ..system import System


def set_mempolicy(caller: Caller, mode: int, nodemask: NodeMask, maxnode: int) -> int:
    """Make the system call and return what the kernel returns.

    Parameters
    ----------
    caller
        The `pagemig.Task` that calls.
    mode
        As of `pagemig.syscalls.mbind`, but only the low 32 bits count.
    nodemask
        User memory of 64-bit words, or a set of node ids.
    maxnode
        One more than the bits of the mask that count.

    Returns
    -------
    int
        0, or a negative errno.

    Raises
    ------
    UsageError
        An argument is not of the kind described here.
    """
    system, by = system_and_pid(caller)
    mask = read_node_mask(nodemask, register(maxnode, "maxnode"), "nodemask")
    policy = decode(register(mode, "mode") & 0xFFFF_FFFF, max(mask, 0))
    if isinstance(policy, int):
        return -policy
    return mask if mask < 0 else replace(system, by, policy)


def replace(system: System, caller: int, policy: Policy) -> int:
    """Replace the task policy of ``caller``; return 0 or a negative errno."""
    refusal = mode_flags_agree(policy) or mask_suits_mode(policy)
    return -refusal if refusal else system.core.set_task_policy(caller, policy.row)
