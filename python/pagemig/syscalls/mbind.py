"""``mbind(2)`` and ``set_mempolicy(2)``: setting policies, without moving pages.

Both take a decoded `pagemig.Policy` instead of a node mask in user memory, and return 0 or a
negative errno. The checks are in the order of Linux.

Source: syscalls 6.1, 6.2 and 6.5. Left out so far: MPOL_MF_MOVE and MPOL_MF_MOVE_ALL, the raw
forms, ``get_mempolicy``.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from ..errors import UsageError
from ..flags import PAGE_SIZE, MbindFlags, PolicyMode, VmFlags
from ..permissions import allowed_nodes
from ..policy import Policy, contextualise

if TYPE_CHECKING:
    from ..system import System

_MOVES = MbindFlags.MOVE | MbindFlags.MOVE_ALL


def set_mempolicy(system: System, caller: int, policy: Policy) -> int:
    """Replace the task policy of ``caller``; return 0 or a negative errno."""
    effective = contextualise(policy, allowed_nodes(system.facts(caller), system.memory_mask))
    if isinstance(effective, int):
        return -effective
    system.core.set_task_policy(caller, int(effective.mode), effective.mask)
    if effective.mode is PolicyMode.DEFAULT:
        system.policies.pop(caller, None)
    else:
        system.policies[caller] = policy
    return 0


def mbind(system: System, caller: int, start: int, length: int, policy: Policy, flags: MbindFlags) -> int:
    """Give a range of the caller's memory a policy; return 0 or a negative errno.

    Parameters
    ----------
    system, caller
        The machine and the pid of the calling task.
    start, length
        The range, bytes, page aligned.
    policy
        What new pages shall follow.
    flags
        ``STRICT``: fail with -EIO if a page is elsewhere already.
    """
    if flags & _MOVES:
        raise UsageError("mbind does not move pages yet: MOVE and MOVE_ALL arrive with the memory policies")
    if length == 0:
        return 0
    end = start + length
    is_default = policy.mode is PolicyMode.DEFAULT
    effective = contextualise(policy, allowed_nodes(system.facts(caller), system.memory_mask))
    if isinstance(effective, int):
        return -effective
    is_strict = MbindFlags.STRICT in flags and not is_default
    refusal = _check_range(system, caller, start, end, policy.mask if is_strict else None, is_default)
    if refusal:
        return refusal
    return system.core.set_range_policy(caller, start, end, int(effective.mode), effective.mask)


def _check_range(
    system: System, caller: int, start: int, end: int, wanted_mask: int | None, may_have_gaps: bool
) -> int:
    """Walk the areas of a range as ``check_range`` does (6.3), without collecting pages.

    ``wanted_mask`` None means that it does not matter where pages are.
    """
    areas = [area[:3] for area in system.core.vmas(caller) if area[1] > start]
    if not areas:
        return -errno.EFAULT
    for number, (first, beyond, flags) in enumerate(areas):
        if first >= end:
            break
        if not may_have_gaps:
            is_last_too_short = number == len(areas) - 1 and beyond < end
            if is_last_too_short or (number and areas[number - 1][1] < first):
                return -errno.EFAULT
        if wanted_mask is None or flags & VmFlags.HUGETLB:
            continue
        for _ in _misplaced(system, caller, max(start, first), min(end, beyond), wanted_mask):
            return -errno.EIO
    return 0


def _misplaced(system: System, caller: int, start: int, end: int, mask: int) -> Iterator[int]:
    """Yield the addresses of pages in a range that are on none of the nodes of ``mask``."""
    addresses = np.arange(start, end, PAGE_SIZE, dtype=np.uint64)
    nodes = system.core.nodes_of(caller, addresses)
    is_wanted = np.array([mask >> node & 1 for node in range(64)], dtype=np.bool_)
    for address in addresses[(nodes >= 0) & ~is_wanted[nodes]].tolist():
        special = system.core.entry(caller, address)[4]
        if not special:
            yield address
