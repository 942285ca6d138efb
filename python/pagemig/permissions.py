"""Who may move whose pages: one pure function a rule.

Each rule answers with 0 or with the errno, positive, that Linux gives. They are small on
purpose: `pagemig.syscalls` decides in which order they are asked.

Source: syscalls 1, 2, 5.2, 6.1 and 6.5, migration MV-1 to MV-6, data-model 10.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

from .arguments import integer
from .errors import UsageError
from .flags import (
    MPOL_F_ADDR,
    MPOL_F_MEMS_ALLOWED,
    MPOL_F_NODE,
    MPOL_MF_MOVE,
    MPOL_MF_MOVE_ALL,
    MPOL_MF_STRICT,
    NODES_MAX,
    PAGE_SIZE,
    Capability,
)

_SYS_NICE = int(Capability.SYS_NICE)


class TaskFacts(NamedTuple):
    """What the rules look at, in the order in which the core tells it."""

    name: str
    uid: int
    euid: int
    suid: int
    capabilities: int
    mems_allowed: int
    cpu: int
    has_memory: bool
    is_kernel_thread: bool


class CpusetFacts(NamedTuple):
    """What the rules look at in a cpuset."""

    parent: int | None
    mems: int


@dataclass(frozen=True, slots=True)
class SecurityHook:
    """Which moves a security module vetoes: data, looked up by (caller pid, target pid).

    Parameters
    ----------
    vetoes
        The errno, positive, with which each pair is refused. Pairs that are not listed may.

    Raises
    ------
    UsageError
        A pair is not of two pids, or an errno is not 1 to 4095.

    Examples
    --------
    >>> hook = SecurityHook({(1, 2): errno.EACCES})
    >>> hook.verdict(1, 2), hook.verdict(2, 1)
    (13, 0)
    """

    vetoes: Mapping[tuple[int, int], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.vetoes, Mapping):
            raise UsageError(f"vetoes is {self.vetoes!r}; it must be {{(caller pid, target pid): errno}}")
        checked = {}
        for pair, code in self.vetoes.items():
            if not isinstance(pair, tuple) or len(pair) != 2:
                raise UsageError(f"a veto is for {pair!r}; it must be for (caller pid, target pid)")
            caller, target = (integer(pid, "a pid of a veto", high=(1 << 31) - 1) for pid in pair)
            checked[caller, target] = integer(code, "the errno of a veto", 1, 4095)
        object.__setattr__(self, "vetoes", MappingProxyType(checked))

    def __reduce__(self) -> tuple[Any, ...]:
        return SecurityHook, (dict(self.vetoes),)

    def __repr__(self) -> str:
        return f"SecurityHook(vetoes={dict(self.vetoes)})"

    def __hash__(self) -> int:
        return hash(tuple(sorted(self.vetoes.items())))

    def verdict(self, caller: int, target: int) -> int:
        """Say whether one task may move another's pages.

        Parameters
        ----------
        caller
            Pid of the task that asks.
        target
            Pid of the task whose pages they are.

        Returns
        -------
        int
            0, or the errno of the veto.
        """
        return self.vetoes.get((caller, target), 0)


def has_nice(task: TaskFacts) -> bool:
    """Return whether the task has CAP_SYS_NICE."""
    return task.capabilities & _SYS_NICE != 0


def flags_are_known(flags: int) -> int:
    """EINVAL for any flag besides MPOL_MF_MOVE and MPOL_MF_MOVE_ALL (MV-1)."""
    return errno.EINVAL if flags & ~(MPOL_MF_MOVE | MPOL_MF_MOVE_ALL) else 0


def shared_pages_are_permitted(flags: int, caller: TaskFacts) -> int:
    """EPERM for MPOL_MF_MOVE_ALL without CAP_SYS_NICE (MV-2)."""
    return errno.EPERM if flags & MPOL_MF_MOVE_ALL and not has_nice(caller) else 0


def target_has_memory(target: TaskFacts) -> int:
    """EINVAL for a kernel thread, or a task whose memory is gone (MV-4)."""
    return 0 if target.has_memory and not target.is_kernel_thread else errno.EINVAL


def target_is_permitted(caller: TaskFacts, target: TaskFacts) -> int:
    """EPERM unless one of four pairs of user ids agrees, or the caller has CAP_SYS_NICE (MV-5).

    The caller's euid and uid are compared with the target's suid and uid. The target's euid
    does not matter.
    """
    if (
        caller.euid == target.suid
        or caller.euid == target.uid
        or caller.uid == target.suid
        or caller.uid == target.uid
        or has_nice(caller)
    ):
        return 0
    return errno.EPERM


def node_is_permitted(node: int, memory_mask: int, allowed_mask: int) -> int:
    """ENODEV for a node that is out of range or has no memory, EACCES outside the cpuset (DP-5b)."""
    if not 0 <= node < 64 or not memory_mask >> node & 1:
        return errno.ENODEV
    return 0 if allowed_mask >> node & 1 else errno.EACCES


def new_nodes_are_permitted(new_mask: int, allowed_mask: int, caller: TaskFacts) -> int:
    """EPERM for a new node outside the target's cpuset, without CAP_SYS_NICE (syscalls 5.2, step 6)."""
    return errno.EPERM if new_mask & ~allowed_mask and not has_nice(caller) else 0


def new_nodes_have_memory(new_mask: int, memory_mask: int) -> int:
    """EINVAL for a new node without memory (syscalls 5.2, step 7)."""
    return errno.EINVAL if new_mask & ~memory_mask else 0


def mbind_flags_are_known(flags: int) -> int:
    """EINVAL for any flag besides STRICT, MOVE and MOVE_ALL (syscalls 6.1, step 3)."""
    return errno.EINVAL if flags & ~(MPOL_MF_STRICT | MPOL_MF_MOVE | MPOL_MF_MOVE_ALL) else 0


def start_is_page_aligned(start: int) -> int:
    """EINVAL for a range that does not begin with a page (syscalls 6.1, step 5)."""
    return errno.EINVAL if start % PAGE_SIZE else 0


def mask_holds_all_nodes(maxnode: int) -> int:
    """EINVAL for a mask to be written that is smaller than MAX_NUMNODES (syscalls 6.5, step 1)."""
    return errno.EINVAL if maxnode < NODES_MAX else 0


def get_mempolicy_flags_are_known(flags: int) -> int:
    """EINVAL for an unknown flag, or MEMS_ALLOWED with another (syscalls 6.5, steps 1 and 2)."""
    others = MPOL_F_NODE | MPOL_F_ADDR
    if flags & ~(others | MPOL_F_MEMS_ALLOWED):
        return errno.EINVAL
    return errno.EINVAL if flags & MPOL_F_MEMS_ALLOWED and flags & others else 0


def allowed_nodes(task: TaskFacts, memory_mask: int) -> int:
    """Return the nodes that a task was given by hand and that have memory; all with memory if none has."""
    return task.mems_allowed & memory_mask or memory_mask


def cpuset_nodes(cpuset: int, facts: Callable[[int], CpusetFacts], memory_mask: int) -> int:
    """Return the nodes of the nearest cpuset towards the root that has some with memory (data-model 10).

    >>> facts = {0: CpusetFacts(None, 0b11), 1: CpusetFacts(0, 0b100)}
    >>> cpuset_nodes(1, facts.__getitem__, memory_mask=0b11)
    3
    """
    at: int | None = cpuset
    while at is not None:
        parent, mems = facts(at)
        if mems & memory_mask:
            return mems & memory_mask
        at = parent
    return memory_mask
