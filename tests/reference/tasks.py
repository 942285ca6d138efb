"""Tasks, and the state that all operations share.

Start with :class:`State`: memory, CPUs, tasks. It has no behaviour beyond
looking things up.

Source: data model 10.
"""

from __future__ import annotations

import dataclasses

from . import lru, policy
from .memory import Memory
from .vmas import Mm

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

    @property
    def memory_map(self) -> Mm:
        """The mm of a task that has one."""
        assert self.mm is not None
        return self.mm


@dataclasses.dataclass(eq=False)
class State:
    """Everything there is."""

    memory: Memory
    cpus: list[lru.Cpu]
    zonelists: dict[int, list[int]]
    tasks: dict[int, Task] = dataclasses.field(default_factory=dict)
    next_pid: int = 1

    def cpu_of(self, task: Task) -> lru.Cpu:
        """The CPU a task runs on."""
        return self.cpus[task.cpu]

    def drain_all(self) -> None:
        """``lru_add_drain_all``."""
        for cpu in self.cpus:
            lru.drain(self.memory, cpu)

    def put(self, pfn: int) -> None:
        """Drop a reference on a frame; the zero page has a frame number of -1."""
        if pfn == self.memory.zero_page.pfn:
            self.memory.zero_page.count -= 1
            return
        lru.put(self.memory, self.memory.frames[pfn])
