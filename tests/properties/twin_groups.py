"""Memory cgroups, cpusets, KSM and memory that goes away, on both sides.

Start with :class:`Groups`, a part of :class:`tests.properties.twin.Twin`.
"""

from __future__ import annotations

from tests.reference.memory import MOVABLE

from .twin_base import Sides, errno_of

MEMS = ({0}, {1}, {2}, {0, 1}, {1, 2}, {0, 1, 2}, {0, 2})


class Groups(Sides):
    """Who pays, which nodes are allowed, and which frames are left."""

    def create_memcg(self, limit: int, parent: int) -> None:
        """A group, with a limit or without; the first one makes the machine count."""
        groups = self.reference.state.groups
        if len(groups) >= 4:
            return
        pages = None if limit % 4 == 0 else limit % 40 + 3
        above = parent % len(groups)
        theirs = self.machine.memcgs[above] if above else None
        size = None if pages is None else pages * 4096
        made = self.machine.create_memcg(f"group {len(groups)}", limit=size, parent=theirs)
        self._agree(self.reference.create_memcg("", pages, above), made.number, "create_memcg")
        self._compare(f"create_memcg limit={pages} parent={above}")

    def attach_memcg(self, which: int, who: int) -> None:
        """A task's pages are paid for by a group from now on."""
        pid, groups = self._who(who), self.reference.state.groups
        if pid is None:
            return
        group = which % len(groups)
        self.machine.memcgs[group].attach(self.tasks[pid])
        self.reference.attach_memcg(group, pid)
        self._compare(f"attach {pid} to group {group}")

    def set_memcg_limit(self, which: int, limit: int) -> None:
        """Change a limit, which is refused where more is in use."""
        groups = self.reference.state.groups
        if len(groups) < 2:
            return
        group = 1 + which % (len(groups) - 1)
        pages = None if limit % 5 == 0 else limit % 60 + 1
        ours = self.reference.set_memcg_limit(group, pages)
        their = self.machine.memcgs[group]

        def change() -> None:
            their.limit = None if pages is None else pages * 4096

        self._agree(ours, errno_of(change) == 0, f"limit of group {group} to {pages}")
        self._compare(f"limit of group {group} to {pages}: {ours}")

    def create_cpuset(self, mems: int, migrate: int) -> None:
        """A cpuset below the root."""
        cpusets = self.reference.state.cpusets
        nodes = MEMS[mems % len(MEMS)] & self.reference.state.memory.with_memory
        if len(cpusets) >= 4 or not nodes:
            return
        name = f"cpuset {len(cpusets)}"
        made = self.machine.create_cpuset(name, mems=nodes, memory_migrate=bool(migrate % 2))
        number = self.reference.create_cpuset(name, nodes, memory_migrate=bool(migrate % 2))
        self._agree(number, made.number, name)
        self._compare(f"create_cpuset {nodes} migrate={migrate % 2}")

    def attach_cpuset(self, which: int, who: int) -> None:
        """A task moves to a cpuset, with its pages where the cpuset says so."""
        pid, cpusets = self._who(who), self.reference.state.cpusets
        if pid is None or len(cpusets) < 2:
            return
        number = which % len(cpusets)
        theirs = errno_of(lambda: self.machine.cpusets[number].attach(self.tasks[pid]))
        ours = self.reference.attach_cpuset(number, pid)
        self._agree(ours, theirs, f"attach {pid} to cpuset {number}")
        self._compare(f"attach {pid} to cpuset {number} -> {ours}")

    def set_cpuset_mems(self, which: int, mems: int, by: int) -> None:
        """Change the nodes of a cpuset, the root's too."""
        cpusets = self.reference.state.cpusets
        number, nodes = which % len(cpusets), set(MEMS[mems % len(MEMS)])
        pid = self._who(by // 3) if by % 3 else None
        writer = None if pid is None else self.tasks[pid]
        theirs = errno_of(lambda: self.machine.cpusets[number].set_mems(nodes, by=writer))
        ours = self.reference.set_cpuset_mems(number, nodes, by=pid or 0)
        said = f"cpuset {number} to {nodes} by {pid}"
        self._agree(ours, theirs, said)
        self._compare(f"{said} -> {ours}")

    def offline(self, first: int, blocks: int, by: int) -> None:
        """Take a few pageblocks away, as long as most of a node stays."""
        memory = self.reference.state.memory
        size = self.shape.block
        start = first * 3 % (len(memory.frames) // size) * size
        count = min((blocks % 2 + 1) * size, len(memory.frames) - start)
        node = memory.nodes[memory.frames[start].node]
        if node.present - count < node.frames // 2 or memory.block_type(start) != MOVABLE:
            return
        pid = self._who(by // 3) if by % 3 else None
        who = None if pid is None else self.tasks[pid]
        theirs = errno_of(lambda: self.machine.offline(start, count, timeout=by % 4, by=who))
        ours = self.reference.offline(start, count, timeout=by % 4, by=pid or 0)
        said = f"offline {start} +{count} timeout={by % 4} by {pid}"
        self._agree(ours, theirs, said)
        self._compare(f"{said} -> {ours}")

    def soft_offline(self, which: int, by: int) -> None:
        """Take a single frame away; a few times only."""
        memory = self.reference.state.memory
        if self.poisoned >= 8:
            return
        used = [frame.pfn for frame in memory.frames if frame.count]
        pfn = used[which % len(used)] if used and which % 8 else which % len(memory.frames)
        if memory.block_type(pfn) != MOVABLE:
            return
        pid = self._who(by // 3) if by % 3 else None
        who = None if pid is None else self.tasks[pid]
        self.poisoned += 1
        before = memory.frames[pfn].count
        theirs = errno_of(lambda: self.machine.soft_offline(pfn, by=who))
        ours = self.reference.soft_offline(pfn, by=pid or 0)
        if ours and memory.frames[pfn].count > before:
            self.leaked.add(pfn)
        said = f"soft_offline {pfn} by {pid}"
        self._agree(ours, theirs, said)
        self._compare(f"{said} -> {ours}")

    def ksm_scan(self) -> None:
        """Let KSM look for equal pages."""
        if not self.contents:
            return
        self._agree(self.reference.ksm_scan(), self.machine.ksm.scan(), "ksm_scan")
        self._compare("ksm_scan")
