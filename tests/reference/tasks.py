"""Tasks, and the state that all operations share.

Start with :class:`State`: memory, CPUs, tasks, files, swap, groups, time. It has
little behaviour beyond looking things up and taking frames.

Source: data model 10, supporting paths 14.
"""

from __future__ import annotations

import collections
import dataclasses
from typing import TYPE_CHECKING

from . import lru, policy
from .cache import AddressSpace
from .groups import Group
from .memory import Frame, Memory
from .vmas import Mm, Vma

if TYPE_CHECKING:
    from .cpusets import Cpuset
    from .ksm import Ksm
    from .swap import SwapArea
    from .transfers import Transfer

CAP_SYS_NICE = 1 << 23


@dataclasses.dataclass(eq=False)
class Task:
    """A simulated process. ``mm`` is None for a kernel thread."""

    pid: int
    mm: Mm | None
    uid: int = 0
    euid: int = 0
    suid: int = 0
    capabilities: int = 0
    mems_allowed: int = (1 << 64) - 1
    cpu: int = 0
    policy: policy.Policy | None = None
    il_next: int = 0
    group: Group | None = None
    cpuset: Cpuset | None = None

    @property
    def memory_map(self) -> Mm:
        """The mm of a task that has one."""
        assert self.mm is not None
        return self.mm


@dataclasses.dataclass(eq=False)
class State:
    """Everything there is. ``kernel`` acts where no task does."""

    memory: Memory
    cpus: list[lru.Cpu]
    zonelists: dict[int, list[int]]
    swap: SwapArea
    ksm: Ksm
    repaired: bool = False
    tasks: dict[int, Task] = dataclasses.field(default_factory=dict)
    next_pid: int = 1
    next_mm: int = 0
    kernel: Task = dataclasses.field(default_factory=lambda: Task(0, None))
    files: dict[int, AddressSpace] = dataclasses.field(default_factory=dict)
    next_file: int = 1
    now: int = 0
    transfers: list[Transfer] = dataclasses.field(default_factory=list)
    transfer_number: int = 0
    groups: list[Group] = dataclasses.field(default_factory=lambda: [Group(0, "root", None)])
    cpusets: list[Cpuset] = dataclasses.field(default_factory=list)
    drift: collections.Counter[tuple[str, int]] = dataclasses.field(default_factory=collections.Counter)

    def new_mm(self) -> Mm:
        """An empty address space, numbered as it is made."""
        self.next_mm += 1
        return Mm(self.next_mm)

    def cpu_of(self, task: Task) -> lru.Cpu:
        """The CPU a task runs on."""
        return self.cpus[task.cpu]

    def drain_all(self) -> None:
        """``lru_add_drain_all``."""
        for cpu in self.cpus:
            lru.drain(self.memory, cpu)

    def put(self, pfn: int) -> None:
        """Drop a reference on a frame; the zero page has a frame number of -1."""
        zero = self.memory.zero_page
        lru.put(self.memory, zero if pfn == zero.pfn else self.memory.frames[pfn])

    def group_of(self, task: Task) -> Group | None:
        """Who pays for a task's pages: nobody before the first group is made."""
        return (task.group or self.groups[0]) if len(self.groups) > 1 else None

    def policy_at(self, task: Task, vma: Vma, address: int) -> policy.Policy | None:
        """The policy for a page: of the shared file, else of the area, else of the task."""
        if vma.file is not None and vma.file.is_shmem:
            return vma.file.policies.get(vma.linear_index(address), task.policy)
        return vma.policy if vma.policy is not None else task.policy

    def allocate(self, task: Task, rule: policy.Policy | None, index: int | None) -> Frame | None:
        """Take a frame on behalf of a task; ``index`` as in :func:`policy.allocate`."""
        node = self.cpu_of(task).node
        requester = policy.Requester(node, task.mems_allowed, task.il_next)
        frame = policy.allocate(self.memory, self.zonelists, rule, requester, index)
        task.il_next = requester.il_next
        return frame

    def allocate_at(self, task: Task, vma: Vma, address: int) -> Frame | None:
        """Take a frame for an address of an area."""
        rule = self.policy_at(task, vma, address)
        return self.allocate(task, rule, vma.linear_index(address))
