"""A task as it is: its credentials, its cpuset, and what its memory looks like.

`TaskView` is what `pagemig.Task` is below its verbs. `Vma` is one area of its memory.

Neighbours: `pagemig.proc_texts` for the kernel's own words.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import proc_texts
from .arguments import Nodes, integer, nodes_in, read_only
from .errors import UsageError
from .flags import USER_END, Capability, VmFlags
from .permissions import TaskFacts
from .policy import Effective, Policy
from .region import Region, Where, addresses_in
from .results import Entry, FrameInfo, MemoryCounters

if TYPE_CHECKING:
    from .system import System

_ID_MAX = (1 << 32) - 1


@dataclass(frozen=True, slots=True)
class Vma:
    """One area of a task's memory (data-model 6.1)."""

    start: int
    """Its first address."""
    end: int
    """First address beyond."""
    flags: VmFlags
    """What it permits, and what else it is."""
    pgoff: int
    """Where in its file it starts, pages; of anonymous memory its first address when it was mapped, in
    pages."""
    policy: Policy | None
    """Its own memory policy, with the nodes that hold now; None to follow the task's."""
    anon_vmas: tuple[int, ...]
    """The reverse-map lists it is linked to, newest first, under numbers of the model's own."""
    file: int | None = None
    """The number of the file it maps (`pagemig.File.number`), None for anonymous memory."""

    @staticmethod
    def _from_core(
        row: tuple[int, int, int, int, tuple[int, int, int, int] | None, int, tuple[int, ...]],
        file: int | None,
    ) -> Vma:
        """Make one from the core's tuple.

        Parameters
        ----------
        row
            Start, end, flags, offset in pages, policy, id, reverse-map lists.
        file
            The number of the file it maps, if any.

        Returns
        -------
        Vma
            The same as a value.
        """
        start, end, flags, pgoff, holds, _, links = row
        policy = None if holds is None else Effective.from_core(holds).held
        return Vma(start, end, VmFlags(flags), pgoff, policy, tuple(links), file)


class TaskView:
    """The properties and questions of `pagemig.Task`."""

    __slots__ = ("_pid", "_system")

    _system: System
    _pid: int

    # who it is ---------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        """Its number on the machine."""
        return self._pid

    @property
    def name(self) -> str:
        """What it is called; names need not differ."""
        return self._facts.name

    @property
    def is_kernel_thread(self) -> bool:
        """Whether it has no memory of its own."""
        return self._facts.is_kernel_thread

    @property
    def uid(self) -> int:
        """The real user id. Setting it changes nothing else, not even the capabilities."""
        return self._facts.uid

    @uid.setter
    def uid(self, uid: int) -> None:
        self._set_credentials(self._facts._replace(uid=integer(uid, "uid", high=_ID_MAX)))

    @property
    def euid(self) -> int:
        """The effective user id."""
        return self._facts.euid

    @euid.setter
    def euid(self, euid: int) -> None:
        self._set_credentials(self._facts._replace(euid=integer(euid, "euid", high=_ID_MAX)))

    @property
    def suid(self) -> int:
        """The saved user id."""
        return self._facts.suid

    @suid.setter
    def suid(self, suid: int) -> None:
        self._set_credentials(self._facts._replace(suid=integer(suid, "suid", high=_ID_MAX)))

    @property
    def capabilities(self) -> Capability:
        """What it may do besides what its user ids permit."""
        return Capability(self._facts.capabilities)

    @capabilities.setter
    def capabilities(self, capabilities: Capability) -> None:
        self._set_credentials(self._facts._replace(capabilities=int(require_capabilities(capabilities))))

    @property
    def mems_allowed(self) -> frozenset[int]:
        """The nodes it may allocate from.

        In a `pagemig.Cpuset` they are that one's, and change with it. Set by hand, to any that
        include one with memory, they are its own: it is in no cpuset then.
        """
        return frozenset(nodes_in(self._facts.mems_allowed))

    @mems_allowed.setter
    def mems_allowed(self, nodes: Iterable[int]) -> None:
        self._system.core.set_mems_allowed(self._pid, self._system.allowed_mask(nodes))

    @property
    def cpu(self) -> int:
        """The CPU it runs on."""
        return self._facts.cpu

    @cpu.setter
    def cpu(self, cpu: int) -> None:
        self._system.core.set_cpu(self._pid, self._system.cpu(cpu))

    @property
    def _facts(self) -> TaskFacts:
        return self._system.facts(self._pid)

    def _set_credentials(self, facts: TaskFacts) -> None:
        self._system.core.set_credentials(self._pid, facts.uid, facts.euid, facts.suid, facts.capabilities)

    # what is there -----------------------------------------------------------------------

    def nodes_of(self, where: Where) -> Nodes:
        """Tell on which node each page is. Changes nothing.

        Parameters
        ----------
        where
            A region of this task, or addresses, shape (pages,).

        Returns
        -------
        numpy.ndarray
            Node ids, -1 where nothing is present: int32, shape (pages,), read-only.
        """
        return read_only(self._system.core.nodes_of(self._pid, addresses_in(where, self._pid, "where")))

    def page_at(self, address: int) -> FrameInfo | None:
        """Tell which page an address maps.

        Parameters
        ----------
        address
            Any byte of the page.

        Returns
        -------
        FrameInfo or None
            None if no page is present, or the zero page.
        """
        entry = self.entry_at(address)
        if entry.pfn is None or entry.kind.name != "PRESENT":
            return None
        return FrameInfo._from_core(self._system.core.frame(entry.pfn))

    def entry_at(self, address: int) -> Entry:
        """Tell the page-table entry of an address.

        Parameters
        ----------
        address
            Any byte of the page, in user space.

        Returns
        -------
        Entry
            As it is; of kind ``NONE`` where there is none.
        """
        number = integer(address, "address", high=USER_END - 1)
        return Entry._from_core(self._system.core.entry(self._pid, number))

    @property
    def regions(self) -> tuple[Region, ...]:
        """Its areas (VMAs), lowest address first."""
        return tuple(
            Region(self._pid, start, end - start) for start, end, *_ in self._system.core.vmas(self._pid)
        )

    @property
    def vmas(self) -> tuple[Vma, ...]:
        """The same with all that the kernel keeps of each."""
        core, pid = self._system.core, self._pid
        return tuple(map(Vma._from_core, core.vmas(pid), core.vma_files(pid)))

    @property
    def counters(self) -> MemoryCounters:
        """The resident counters as stored, pages."""
        return MemoryCounters(*self._system.core.mm_counters(self._pid))

    @property
    def rss(self) -> int:
        """Resident memory in pages, as the kernel shows it: negative counters read 0."""
        counters = self.counters
        return max(0, counters.file) + max(0, counters.anon)

    def numa_maps(self) -> str:
        """Say in the kernel's own format where the pages of each area are.

        Returns
        -------
        str
            The text of ``/proc/PID/numa_maps``.
        """
        return proc_texts.numa_maps(self._system, self._pid)

    def status(self) -> str:
        """Say in the kernel's own format what the task is, as far as it is modelled.

        Returns
        -------
        str
            The text of ``/proc/PID/status``.
        """
        return proc_texts.status(self._system, self._pid)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TaskView):
            return NotImplemented
        return self._system is other._system and self._pid == other._pid

    def __hash__(self) -> int:
        return hash((id(self._system), self._pid))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle it with its machine."""
        return type(self), (self._system, self._pid)

    def __repr__(self) -> str:
        return f"<Task {self._pid}>"


def require_capabilities(capabilities: Capability) -> Capability:
    """Return ``capabilities`` if they are a set of them."""
    if not isinstance(capabilities, Capability):
        raise UsageError(f"capabilities is {capabilities!r}; it must be Capability, such as Capability.NONE")
    return capabilities
