"""The verbs of files, swap, groups, cpusets, KSM, memory that goes away, and time.

Start with :class:`StoreVerbs`, a part of :class:`tests.reference.machine.ReferenceMachine`.
``by`` is the pid of whoever acts, 0 for the kernel.
"""

from __future__ import annotations

from . import cpusets, groups, offlining, placement, reading, reclaim, transfers, truncation
from .cache import AddressSpace
from .filesystems import EXT, FileSystem
from .placement import MOVE_ALL
from .tasks import State, Task


class StoreVerbs:
    """What a machine can do besides running tasks."""

    state: State

    def _by(self, pid: int) -> Task:
        return self.state.tasks[pid] if pid else self.state.kernel

    # files -------------------------------------------------------------------------------

    def create_file(self, name: str, size: int, filesystem: FileSystem = EXT) -> int:
        """Make a file of zeroes; return its number."""
        number = self.state.next_file
        self.state.next_file += 1
        self.state.files[number] = AddressSpace(number, filesystem, size, name)
        return number

    def read_file(self, file: int, offset: int, size: int, *, by: int = 0) -> bytes | int:
        """``read(2)``: the bytes, or -errno."""
        return reading.read_file(self.state, self._by(by), self.state.files[file], offset, size)

    def write_file(self, file: int, offset: int, size: int, data: bytes | None = None, *, by: int = 0) -> int:
        """``write(2)``: how many bytes, or -errno."""
        return reading.write_file(self.state, self._by(by), self.state.files[file], offset, size, data)

    def truncate(self, file: int, size: int, *, by: int = 0) -> None:
        """Change a file's size."""
        truncation.truncate(self.state, self._by(by), self.state.files[file], size)

    def look_up(self, file: int, page: int) -> int | None:
        """The frame of a cached page, with a reference more, or None."""
        return reading.look_up(self.state.files[file], page)

    def write_back(self, file: int, page: int) -> int:
        """Write a page back: what the method answers, 1 for nothing to do."""
        return reading.write_back(self.state, self.state.files[file], page)

    def invalidate(self, file: int, page: int, *, by: int = 0) -> bool:
        """Drop a page that is clean and unused; whether it is gone."""
        return reading.invalidate(self.state, self._by(by), self.state.files[file], page)

    # time --------------------------------------------------------------------------------

    def advance(self, ticks: int) -> None:
        """Let time pass."""
        transfers.advance(self.state, ticks)

    def complete_io(self) -> bool:
        """End the transfer that ends next; whether there was one."""
        return transfers.end_next(self.state)

    # reclaim -----------------------------------------------------------------------------

    def swap_out(self, pid: int, address: int) -> bool:
        """Reclaim the page at an address; whether it was freed."""
        return reclaim.swap_out(self.state, self.state.tasks[pid], address)

    def reclaim(self, node: int, pages: int, *, anonymous: bool, by: int = 0) -> int:
        """Scan an inactive list of a node; how many pages were freed."""
        return reclaim.reclaim(self.state, self._by(by), node, pages, anonymous=anonymous)

    # groups and cpusets ------------------------------------------------------------------

    def create_memcg(self, name: str, limit: int | None = None, parent: int = 0) -> int:
        """Make a memory cgroup, limit in pages; return its number."""
        state = self.state
        group = groups.Group(len(state.groups), name, state.groups[parent], limit)
        state.groups.append(group)
        return group.number

    def attach_memcg(self, group: int, pid: int) -> None:
        """Let a group pay for a task from now on."""
        self.state.tasks[pid].group = self.state.groups[group]

    def set_memcg_limit(self, group: int, limit: int | None) -> bool:
        """Change a limit, pages; False where more is in use."""
        chosen = self.state.groups[group]
        if limit is not None and chosen.usage > limit:
            return False
        chosen.limit = limit
        return True

    def create_cpuset(
        self, name: str, mems: set[int], *, memory_migrate: bool = False, parent: int = 0
    ) -> int:
        """Make a cpuset; return its number."""
        state = self.state
        made = cpusets.Cpuset(
            len(state.cpusets), name, state.cpusets[parent], frozenset(mems), memory_migrate
        )
        state.cpusets.append(made)
        return made.number

    def set_cpuset_mems(self, cpuset: int, mems: set[int], *, by: int = 0) -> int:
        """Change the nodes of a cpuset: 0 or -errno."""
        return cpusets.set_mems(self.state, self._by(by), self.state.cpusets[cpuset], mems, _move)

    def attach_cpuset(self, cpuset: int, pid: int, *, by: int = 0) -> int:
        """Move a task into a cpuset: 0 or -errno."""
        task = self.state.tasks[pid]
        return cpusets.attach(self.state, self._by(by), self.state.cpusets[cpuset], task, _move)

    # memory that goes away, and KSM ------------------------------------------------------

    def offline(self, first: int, count: int, *, timeout: int = 120_000, by: int = 0) -> int:
        """Take a range of frames away: 0 or -errno."""
        return offlining.offline(self.state, self._by(by), first, count, timeout)

    def soft_offline(self, pfn: int, *, by: int = 0) -> int:
        """Take one frame away: 0 or -errno."""
        return offlining.soft_offline(self.state, self._by(by), pfn)

    def ksm_scan(self, *, by: int = 0) -> int:
        """Let KSM scan; how many pages were merged."""
        return self.state.ksm.scan(self.state, self._by(by))


def _move(state: State, writer: Task, task: Task, old: set[int], new: set[int]) -> None:
    """A cpuset with memory_migrate: pages follow the task's nodes."""
    placement.do_migrate_pages(state, writer, task, old, new, MOVE_ALL)
