"""A machine as it is: what it is made of, and everything that can be seen of it.

`MachineView` is what `pagemig.Machine` is below its verbs: nothing here changes the machine.

Source: data-model 1 to 4 and 8; spec README, section 3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from . import machine_texts
from .arguments import nodes_in, read_only
from .bugs import Bug, bugs_of
from .call import Lock, holder_of
from .errors import InvariantError, UsageError
from .flags import PAGE_SIZE, BlockState, BufferState, IoDirection, LruList, Profile, RecordFlags, ZoneKind
from .results import Drift, Entry, Finding, FrameInfo, MemcgRecord, Pageblock, lists_of
from .storage import Buffer, SwapEntry, SwapInfo, SwapSlot, Transfer
from .trace import Trace

if TYPE_CHECKING:
    from .system import System


class MachineView:
    """The properties and questions of `pagemig.Machine`."""

    __slots__ = ("_system",)

    _system: System

    # what it is --------------------------------------------------------------------------

    @property
    def nodes(self) -> dict[int, int]:
        """Bytes of each node, by id."""
        sizes = dict.fromkeys(self._system.plan.nodes, 0)
        for node, _, frames, *_ in self._system.plan.zones:
            sizes[node] += frames * PAGE_SIZE
        return sizes

    @property
    def cpus(self) -> tuple[int, ...]:
        """The node of each CPU."""
        return self._system.plan.cpu_nodes

    @property
    def contents(self) -> bool:
        """Whether frames have bytes."""
        return self._system.contents

    @property
    def profile(self) -> Profile:
        """Which of the modelled behaviours it has."""
        return self._system.profile

    @property
    def frame_count(self) -> int:
        """How many frames it has; their numbers are below this."""
        return self._system.frames

    @property
    def nodes_with_memory(self) -> frozenset[int]:
        """The nodes that have memory now (N_HIGH_MEMORY): going offline can take one out."""
        return frozenset(nodes_in(self._system.memory_mask))

    # its frames --------------------------------------------------------------------------

    def frame(self, pfn: int) -> FrameInfo:
        """Tell what is known of one frame.

        Parameters
        ----------
        pfn
            Its number; the one beyond the last is the zero page.

        Returns
        -------
        FrameInfo
            As it is now.

        Raises
        ------
        UsageError
            There is no such frame.
        """
        return FrameInfo._from_core(self._system.core.frame(self._system.pfn(pfn)))

    def frames(self, node: int) -> dict[str, npt.NDArray[Any]]:
        """Tell the allocated frames of a node as columns, in frame order.

        Parameters
        ----------
        node
            Its id.

        Returns
        -------
        dict
            Read-only arrays of one length, by the names of the fields of `pagemig.FrameInfo`; ``owner``
            is the kind of the owner, 0 for none, ``owner_id`` its number, and ``lru`` a
            `pagemig.LruList`, -1 for none.

        Raises
        ------
        UsageError
            There is no such node.
        """
        columns = self._system.core.frames(self._system.node(node))
        columns["node"] = columns["node"].astype(np.int32)
        columns["lru"] = lists_of(columns["flags"])
        return {name: read_only(column) for name, column in columns.items()}

    def entries_to(self, pfn: int) -> tuple[tuple[int, int, Entry], ...]:
        """Tell who maps a frame, those included whose page is on its way.

        A migration entry names the frame that its page is moved from until the move has ended.

        Parameters
        ----------
        pfn
            Which frame.

        Returns
        -------
        tuple
            Pid, address and `pagemig.Entry` of each place.

        Raises
        ------
        UsageError
            There is no such frame.

        Examples
        --------
        >>> import pagemig as pm
        >>> machine = pm.Machine(nodes=[pm.MiB])
        >>> app = machine.spawn()
        >>> heap = app.mmap(pm.PAGE_SIZE)
        >>> app.touch(heap).minor
        1
        >>> [(pid, address == heap.start) for pid, address, _ in machine.entries_to(0)]
        [(1, True)]
        """
        core = self._system.core
        places = core.entries_to(self._system.pfn(pfn))
        return tuple((pid, at, Entry._from_core(core.entry(pid, at))) for pid, at in places)

    def frame_bytes(self, pfn: int) -> bytes:
        """Return the contents of a frame.

        Parameters
        ----------
        pfn
            Which frame.

        Returns
        -------
        bytes
            4096 of them.

        Raises
        ------
        UsageError
            The machine has no contents, or no such frame.
        """
        return self._system.core.frame_bytes(self._system.pfn(pfn))

    def lru(self, node: int, which: LruList, zone: ZoneKind = ZoneKind.NORMAL) -> tuple[int, ...]:
        """Tell the frames of one LRU list of a zone.

        Parameters
        ----------
        node
            Its id.
        which
            Which of the lists.
        zone
            Which zone of the node.

        Returns
        -------
        tuple
            Frame numbers, head first.

        Raises
        ------
        UsageError
            There is no such list.
        """
        if not isinstance(which, LruList) or not isinstance(zone, ZoneKind):
            raise UsageError(f"{which!r} of {zone!r}; they must be a LruList and a ZoneKind")
        return tuple(self._system.core.lru(self._system.node(node), int(zone), int(which)))

    def pagevec(self, cpu: int, which: LruList) -> tuple[int, ...]:
        """Tell the frames that wait on a CPU for an LRU list.

        Parameters
        ----------
        cpu
            Its number.
        which
            For which list.

        Returns
        -------
        tuple
            Frame numbers, in the order of their coming.

        Raises
        ------
        UsageError
            There is no such CPU or list.
        """
        if not isinstance(which, LruList):
            raise UsageError(f"which is {which!r}; it must be a LruList")
        return tuple(self._system.core.pagevec(self._system.cpu(cpu), int(which)))

    def zonelist(self, node: int) -> tuple[tuple[int, ZoneKind], ...]:
        """Tell the zones in which an allocation for a node looks.

        Parameters
        ----------
        node
            Its id.

        Returns
        -------
        tuple
            Node and kind of each zone, in the order in which they are tried.

        Raises
        ------
        UsageError
            There is no such node.
        """
        return tuple((n, ZoneKind(z)) for n, z in self._system.core.zonelist(self._system.node(node)))

    @property
    def pins(self) -> dict[int, int]:
        """The pinned frames, and how often each is pinned."""
        return self._system.core.pins()

    def vmstat(self) -> dict[str, int]:
        """Count pages and events of the whole machine.

        Returns
        -------
        dict
            Counters by name, spelled as in ``/proc/vmstat``.
        """
        return self._system.core.vmstat()

    def vmstat_text(self) -> str:
        """Say the same for tools that read it.

        Returns
        -------
        str
            The text of ``/proc/vmstat``.
        """
        return machine_texts.vmstat_text(self._system)

    def zoneinfo_text(self) -> str:
        """Say what every zone has, its watermarks and counters, for tools that read it.

        Returns
        -------
        str
            The text of ``/proc/zoneinfo``.
        """
        return machine_texts.zoneinfo_text(self._system)

    def ftrace_text(self) -> str:
        """Say which migrations there were since `record`, for tools that read it.

        Returns
        -------
        str
            Lines of ftrace with the tracepoint ``migrate:mm_migrate_pages``.
        """
        return machine_texts.ftrace_text(self._system)

    def zone_counters(self, node: int) -> dict[str, int]:
        """Count pages of one node, over its zones.

        Parameters
        ----------
        node
            Its id.

        Returns
        -------
        dict
            Counters by name, as of `vmstat`.

        Raises
        ------
        UsageError
            There is no such node.
        """
        return self._system.core.zone_counters(self._system.node(node))

    def buffers(self, pfn: int) -> tuple[Buffer, ...]:
        """Tell the buffers of the page in a frame.

        Parameters
        ----------
        pfn
            Which frame.

        Returns
        -------
        tuple
            A `pagemig.Buffer` each, in the order of their offsets; nothing without.

        Raises
        ------
        UsageError
            There is no such frame.
        """
        rows = self._system.core.buffers(self._system.pfn(pfn))
        return tuple(Buffer(BufferState(state), count, block) for state, count, block in rows)

    def memcg_record(self, pfn: int) -> MemcgRecord:
        """Tell which memory cgroup pays for a frame.

        Parameters
        ----------
        pfn
            Which frame.

        Returns
        -------
        MemcgRecord
            Flags and group.

        Raises
        ------
        UsageError
            There is no such frame.
        """
        flags, owner = self._system.core.frame_memcg(self._system.pfn(pfn))
        return MemcgRecord(RecordFlags(flags), owner)

    def present_pages(self, node: int) -> int:
        """Count the frames of a node that are not offline.

        Parameters
        ----------
        node
            Its id.

        Returns
        -------
        int
            How many.

        Raises
        ------
        UsageError
            There is no such node.
        """
        return self._system.core.present_pages(self._system.node(node))

    def pageblocks(self, node: int) -> tuple[Pageblock, ...]:
        """Tell the pageblocks of a node: what can go offline, and what has.

        Parameters
        ----------
        node
            Its id.

        Returns
        -------
        tuple
            A `pagemig.Pageblock` each, in frame order.

        Raises
        ------
        UsageError
            There is no such node.
        """
        rows = self._system.core.pageblocks(self._system.node(node))
        return tuple(Pageblock(first, BlockState(state)) for first, state in rows)

    # its swap and its transfers ----------------------------------------------------------

    @property
    def swap(self) -> SwapInfo:
        """Its swap space."""
        return SwapInfo(*self._system.core.swap())

    def swap_slot(self, entry: SwapEntry) -> SwapSlot:
        """Tell what is known of a slot of swap space.

        Parameters
        ----------
        entry
            Which slot, as `pagemig.Entry.swap` names it.

        Returns
        -------
        SwapSlot
            As it is now.

        Raises
        ------
        UsageError
            There is none such.
        """
        if not isinstance(entry, SwapEntry):
            raise UsageError(f"entry is {entry!r}; it must be a SwapEntry, such as task.entry_at(...).swap")
        slots = self._system.core.swap()[0]
        if entry.device or not 1 <= entry.offset <= slots:
            raise UsageError(
                f"no slot {entry.offset} of device {entry.device}; device 0 has slots 1 to {slots}"
            )
        return SwapSlot(*self._system.core.swap_slot(entry.value))

    @property
    def pending_io(self) -> tuple[Transfer, ...]:
        """Transfers that have not ended, in the order in which they will."""
        return tuple(
            Transfer(number, pfn, IoDirection(direction), due)
            for number, pfn, direction, due in self._system.core.pending_io()
        )

    @property
    def now(self) -> int:
        """Virtual time, ticks: it passes when it is told to, and when everybody waits for a transfer."""
        return self._system.core.now

    @property
    def steps(self) -> int:
        """Steps made so far by calls that were stepped; a call that runs through counts none."""
        return self._system.core.steps

    @property
    def locks(self) -> tuple[Lock, ...]:
        """Every lock that a call in flight holds or waits for, outermost first (I-35)."""
        return tuple(
            Lock(kind, number, tuple(map(holder_of, holders)), tuple(waiters))
            for kind, number, holders, waiters in self._system.core.locks()
        )

    # what can be said of it --------------------------------------------------------------

    def audit(self) -> list[Finding]:
        """Run the invariants.

        Returns
        -------
        list
            A `pagemig.Finding` for each rule that does not hold; empty if all do.
        """
        return [Finding(*row) for row in self._system.core.audit()]

    def check(self) -> None:
        """Run the invariants, as `audit`.

        Raises
        ------
        InvariantError
            For the first rule that does not hold.
        """
        for finding in self.audit():
            raise InvariantError(finding.rule, f"{finding.detail} ({finding.invariants})")

    @property
    def bugs(self) -> tuple[Bug, ...]:
        """The rules that it breaks on purpose; normally none."""
        return bugs_of(self._system.core.bugs)

    @property
    def watches_stores(self) -> bool:
        """Whether every store is noted: see `pagemig.Machine.watch_stores`."""
        return self._system.core.watches_stores

    @property
    def drift(self) -> tuple[Drift, ...]:
        """What documented quirks have carried off the counters; always nothing in Profile.REPAIRED."""
        return tuple(Drift(*row) for row in self._system.core.drift())

    @property
    def cost(self) -> dict[str, int]:
        """How many of each elementary operation have been made so far."""
        return self._system.core.cost()

    @property
    def trace(self) -> Trace:
        """What happened since `record`."""
        return Trace(self._system.core.trace())
