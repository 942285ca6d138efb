"""The definitions of invariants.md, computed from scratch: ptes(p), ents(p), slot(p), priv(p) and the rest.

Start with `Recount`: everything that can be seen of a machine at one moment, copied, and counted without
any help of ``Machine.audit``. What can not be seen (which pages are on somebody's list) is told by the
caller as `Holds`. The statements themselves are in the tests, one file a section of the specification.

Neighbours: ``follow`` (what a migration holds), ``situations`` (recounts of whole migrations).

Left out: entries outside any area, such as those that ``mremap`` carries or ``munmap`` takes away at this
moment, and those of a task that is inside ``exit``.
"""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass

import pagemig as pm
from tests.invariants.follow import NOTHING, Holds

F = pm.PageFlags
PRESENT, MIGRATION, SWAP = pm.EntryKind.PRESENT, pm.EntryKind.MIGRATION, pm.EntryKind.SWAP
ROTATE = 5
"""The pagevec that is none of additions."""
SWAPPER = 0
"""The number of the swap cache among the address spaces."""


@dataclass(frozen=True)
class Leaf:
    """One page-table entry that is not empty."""

    pid: int
    address: int
    entry: pm.Entry
    area: pm.Vma

    @property
    def index(self) -> int:
        """The linear index of its address (data-model 6.1)."""
        return (self.address - self.area.start) // pm.PAGE_SIZE + self.area.pgoff

    @property
    def key(self) -> tuple[int, int]:
        """Where it is."""
        return self.pid, self.address


@dataclass(frozen=True)
class Slot:
    """One occupied slot of an address space."""

    mapping: int
    index: int
    pfn: int
    dirty: bool
    writeback: bool


@dataclass(frozen=True)
class Space:
    """An address space: a file's, or the swap cache."""

    filesystem: pm.FileSystem
    flags: pm.MappingFlags
    cached: int
    is_dirty: bool


class Recount:
    """What a machine is at one moment. A copy: it does not change."""

    def __init__(self, machine: pm.Machine, holds: Holds = NOTHING) -> None:
        self.holds = holds
        self.profile = machine.profile
        self._look_at_frames(machine)
        self._look_at_tasks(machine)
        self._look_at_stores(machine)
        self._look_at_groups(machine)
        self._count()

    def _look_at_frames(self, machine: pm.Machine) -> None:
        nodes = list(machine.nodes)
        self.frames = [machine.frame(pfn) for pfn in range(machine.frame_count)]
        self.used = {int(pfn) for node in nodes for pfn in machine.frames(node)["pfn"]}
        self.blocks = {block.first_pfn: block.state for node in nodes for block in machine.pageblocks(node)}
        self.spanned = {node: size // pm.PAGE_SIZE for node, size in machine.nodes.items()}
        self.present = {node: machine.present_pages(node) for node in nodes}
        self.zones = {node: machine.zone_counters(node) for node in nodes}
        self.total = machine.vmstat()
        self.lists = {(node, which): machine.lru(node, which) for node in nodes for which in pm.LruList}
        core = machine._system.core
        self.pagevecs = {
            (cpu, which): tuple(core.pagevec(cpu, which))
            for cpu in range(len(machine.cpus))
            for which in range(ROTATE + 1)
        }
        self.bytes = {pfn: machine.frame_bytes(pfn) for pfn in self.used} if machine.contents else {}
        self.buffers = {pfn: machine.buffers(pfn) for pfn in self.used}
        self.pins = machine.pins
        self.transfers = machine.pending_io

    def _look_at_tasks(self, machine: pm.Machine) -> None:
        self.areas: dict[int, tuple[pm.Vma, ...]] = {}
        self.counters: dict[int, pm.MemoryCounters] = {}
        self.leaves: list[Leaf] = []
        core = machine._system.core
        for task in (task for task in machine.tasks if core.task(task.pid)[7]):
            self.areas[task.pid] = task.vmas
            self.counters[task.pid] = task.counters
            for area in task.vmas:
                for address in range(area.start, area.end, pm.PAGE_SIZE):
                    entry = task.entry_at(address)
                    if entry.kind is not pm.EntryKind.NONE:
                        self.leaves.append(Leaf(task.pid, address, entry, area))

    def _look_at_stores(self, machine: pm.Machine) -> None:
        core = machine._system.core
        self.spaces = {
            file.number: Space(file.filesystem, file.flags, file.cached, file.is_dirty)
            for file in machine.files
        }
        columns = {number: core.file_pages(number).values() for number in (SWAPPER, *self.spaces)}
        self.slots = [
            Slot(number, *row)
            for number, all_of_it in columns.items()
            for row in zip(*(column.tolist() for column in all_of_it), strict=True)
        ]
        self.swap = machine.swap
        offsets = range(1, self.swap.slots + 1)
        self.swap_slots = {offset: machine.swap_slot(pm.SwapEntry(0, offset)) for offset in offsets}
        self.ksm_nodes = machine.ksm.nodes
        self.ksm = machine.ksm.pages_shared, machine.ksm.pages_sharing

    def _look_at_groups(self, machine: pm.Machine) -> None:
        self.groups = {
            group.number: (group.parent.number if group.parent else None, group.usage, group.limit)
            for group in machine.memcgs
        }
        self.statistics = {group.number: group.statistics for group in machine.memcgs}
        on = bool(self.groups)
        records = {pfn: machine.memcg_record(pfn) for pfn in range(machine.frame_count)} if on else {}
        self.charged = {pfn: record for pfn, record in records.items() if pm.RecordFlags.USED & record.flags}
        self.drift: Counter[tuple[str, int]] = Counter()
        for row in machine.drift:
            self.drift[row.ledger, row.where] += row.by

    def _count(self) -> None:
        present = [leaf for leaf in self.leaves if leaf.entry.kind is PRESENT]
        self.mapped = [leaf for leaf in present if leaf.entry.pfn is not None]
        self.specials = [leaf for leaf in present if leaf.entry.special]
        self.entries = [leaf for leaf in self.leaves if leaf.entry.kind is MIGRATION]
        self.swapped = [leaf for leaf in self.leaves if leaf.entry.kind is SWAP]
        self.ptes = Counter(leaf.entry.pfn for leaf in self.mapped)
        self.ents = Counter(leaf.entry.pfn for leaf in self.entries)
        self.slot = Counter(slot.pfn for slot in self.slots)
        self.pvec = Counter(pfn for pages in self.pagevecs.values() for pfn in pages)
        self.iso = Counter(self.holds.isolated)
        self.own = Counter(self.holds.owned)
        self.tmp = Counter(self.pins) + self.holds.held

    # of one page -------------------------------------------------------------------------

    def priv(self, pfn: int) -> int:
        """1 if it has PG_private."""
        return int(F.PRIVATE in self.frames[pfn].flags)

    def references(self, pfn: int) -> int:
        """The right side of I-10."""
        held = (self.ptes, self.slot, self.pvec, self.iso, self.own, self.tmp)
        return sum(count[pfn] for count in held) + self.priv(pfn)

    def has(self, flag: pm.PageFlags) -> set[int]:
        """The pages in use that have a flag."""
        return {pfn for pfn in self.used if flag in self.frames[pfn].flags}

    def is_anon(self, pfn: int) -> bool:
        """PageAnon: KSM included."""
        owner = self.frames[pfn].owner
        return owner is not None and owner.kind is not pm.OwnerKind.FILE

    def file_of(self, pfn: int) -> Space | None:
        """The address space that `mapping` names, if it names one."""
        owner = self.frames[pfn].owner
        return self.spaces[owner.id] if owner is not None and owner.kind is pm.OwnerKind.FILE else None

    # of sets of frames -------------------------------------------------------------------

    @property
    def offline(self) -> set[int]:
        """The frames of pageblocks that are out of the allocator."""
        starts = [*sorted(self.blocks), len(self.frames)]
        spans = itertools.pairwise(starts)
        state = pm.BlockState.OFFLINE
        return {pfn for first, last in spans if self.blocks[first] is state for pfn in range(first, last)}

    @property
    def idle(self) -> set[int]:
        """All others that are not in use: free or withheld."""
        return set(range(len(self.frames))) - self.used - self.offline

    def count(self, node: int, pages: set[int]) -> int:
        """How many of these pages are on a node."""
        return sum(self.frames[pfn].node == node for pfn in pages)

    def walk(self, pfn: int) -> list[tuple[int, int]]:
        """Where the reverse map of a page that is not KSM's leads: (pid, address), any order."""
        frame = self.frames[pfn]
        found: list[tuple[int, int]] = []
        if frame.owner is None or frame.owner.kind is pm.OwnerKind.KSM:
            return found
        is_anon = frame.owner.kind is pm.OwnerKind.ANON
        for pid, areas in self.areas.items():
            for area in areas:
                leads = frame.owner.id in area.anon_vmas if is_anon else area.file == frame.owner.id
                address = area.start + (frame.index - area.pgoff) * pm.PAGE_SIZE
                if leads and area.start <= address < area.end:
                    found.append((pid, address))
        return found
