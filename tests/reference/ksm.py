"""KSM: equal anonymous pages become one, until somebody writes.

Start with :meth:`Ksm.scan`, one round over everything that may be merged.

Source: data model 7.3, supporting paths 16.
Readings: a round begins with an empty unstable tree; address spaces come in the
order of their making, addresses ascending. An item whose page, or whose whole address space, is
gone is dropped when a scan passes it. Of a copy that a failed merge leaves behind,
the owner's policy decides where it goes, and the scanner's CPU.
Left out: checksums, sleeping between pages.
"""

from __future__ import annotations

import dataclasses

from . import faults, lru, rmap
from .entries import VM_LOCKED, VM_MERGEABLE, WRITABLE, classify, make, swap_slot
from .lookup import follow
from .memory import Flag, Frame
from .mlock_page import lock_page
from .outcomes import FAILED
from .rmap import RmapItem, StableNode
from .tasks import State, Task
from .vmas import Mm, Vma

PAGE = 4096


@dataclasses.dataclass(eq=False)
class Ksm:
    """The daemon's state.

    ``unstable`` has the items of the last round that found no equal, by what their
    page held; ``items`` all places that were looked at, with the node they are on.
    """

    spaces: list[Mm] = dataclasses.field(default_factory=list)
    nodes: list[StableNode] = dataclasses.field(default_factory=list)
    items: dict[tuple[Mm, int], RmapItem] = dataclasses.field(default_factory=dict)
    unstable: dict[bytes, RmapItem] = dataclasses.field(default_factory=dict)

    # what others tell it -----------------------------------------------------------------

    def register(self, mm: Mm) -> None:
        """Visit an address space from now on."""
        if mm not in self.spaces:
            self.spaces.append(mm)

    def moved(self, old: Frame, new: Frame) -> None:
        """MC-7: a stable node follows its page."""
        node = new.owner
        assert isinstance(node, StableNode)
        if node is not rmap.NULL_NODE:
            assert node.kpfn == old.pfn
            node.kpfn = new.pfn

    def forget_range(self, first: int, end: int) -> None:
        """Drop the nodes that still point into frames that are gone."""
        for node in [node for node in self.nodes if node.kpfn is not None and first <= node.kpfn < end]:
            self._prune(node)

    # looking -----------------------------------------------------------------------------

    def in_order(self, state: State) -> list[StableNode]:
        """The stable nodes by their frame; a stale one stays until a search meets it."""
        frames = state.memory.frames
        live = [node for node in self.nodes if node.items or frames[node.kpfn or 0].owner is node]
        return sorted(live, key=lambda node: (node.kpfn or 0, [item.address for item in node.items]))

    def counters(self) -> tuple[int, int, int]:
        """``ksm_pages_shared``, ``ksm_pages_sharing``, ``ksm_pages_unshared``."""
        sizes = [len(node.items) for node in self.nodes if node.items]
        return len(sizes), sum(sizes) - len(sizes), len(self.unstable)

    # scanning ----------------------------------------------------------------------------

    def scan(self, state: State, task: Task) -> int:
        """One round; how many pages were merged into another."""
        self.unstable.clear()
        merged = 0
        for mm in sorted(self.spaces, key=lambda mm: mm.number):
            passed = set()
            for vma in [vma for vma in mm.vmas if vma.flags & VM_MERGEABLE and vma.anon_vma is not None]:
                for address in range(vma.start, vma.end, PAGE):
                    frame = follow(state, mm, address)
                    if isinstance(frame, Frame) and frame.is_anon:
                        passed.add(address)
                        merged += self._visit(state, task, vma, address, frame)
            for key in [key for key in self.items if key[0] is mm and key[1] not in passed]:
                self._drop(state, key)
        return merged

    def _visit(self, state: State, task: Task, vma: Vma, address: int, frame: Frame) -> int:
        """``cmp_and_merge_page``; the page is held by a reference meanwhile."""
        key = vma.mm, address
        if isinstance(frame.owner, StableNode) and self.items.get(key) in frame.owner.items:
            return 0
        self._drop(state, key)
        frame.count += 1
        merged = self._merge(state, task, vma, address, frame)
        lru.put(state.memory, frame)
        return merged

    def _merge(self, state: State, task: Task, vma: Vma, address: int, frame: Frame) -> int:
        cpu = state.cpu_of(task)
        known = self._search(state, frame)
        if known is not None:
            target = state.memory.frames[known.kpfn or 0]
            if target is not frame and not _replace(state, cpu, vma, address, frame, target):
                return 0
            self._append(known, vma, address)
            return int(target is not frame)
        other = self.unstable.get(frame.content)
        if other is None:
            self._remember(vma, address, frame)
            return 0
        return self._merge_two(state, task, vma, address, frame, other)

    def _remember(self, vma: Vma, address: int, frame: Frame) -> None:
        """A page like no other so far goes into the unstable tree."""
        assert vma.anon_vma is not None
        item = RmapItem(vma.mm, address, vma.anon_vma)
        self.items[vma.mm, address] = item
        self.unstable[frame.content] = item

    def _merge_two(
        self, state: State, task: Task, vma: Vma, address: int, frame: Frame, other: RmapItem
    ) -> int:
        """The first page is upgraded, and the one from the unstable tree merged into it."""
        found = follow(state, other.mm, other.address)
        there = other.mm.containing(other.address)
        if not isinstance(found, Frame) or found is frame or not found.is_anon or there is None:
            return 0
        if found.content != frame.content:
            return 0
        cpu = state.cpu_of(task)
        if not _protect(state, vma, address, frame):
            return 0
        frame.owner = rmap.NULL_NODE
        lru.mark_accessed(state.memory, frame)
        found.count += 1
        replaced = _replace(state, cpu, there, other.address, found, frame)
        lru.put(state.memory, found)
        if not replaced:
            _break(state, task, vma, address)
            return 0
        node = StableNode(frame.pfn)
        frame.owner = node
        self.nodes.append(node)
        self._drop(state, (other.mm, other.address))
        self._append(node, there, other.address)
        self._append(node, vma, address)
        return 1

    def _append(self, node: StableNode, vma: Vma, address: int) -> None:
        assert vma.anon_vma is not None
        item = RmapItem(vma.mm, address, vma.anon_vma)
        node.items.insert(0, item)
        self.items[vma.mm, address] = item

    def _drop(self, state: State, key: tuple[Mm, int]) -> None:
        """Take a place off whatever tree it is on; a node that turns out stale goes too."""
        item = self.items.pop(key, None)
        if item is None:
            return
        for node in [node for node in self.nodes if item in node.items]:
            node.items.remove(item)
            self._page_of(state, node)
        for content in [content for content, other in self.unstable.items() if other is item]:
            del self.unstable[content]

    def _search(self, state: State, frame: Frame) -> StableNode | None:
        """The stable node of a page, or of one that holds the same; stale nodes met are removed."""
        if frame.is_ksm and frame.owner in self.nodes:
            return frame.owner if isinstance(frame.owner, StableNode) else None
        for node in list(self.nodes):
            page = self._page_of(state, node)
            if page is not None and page.content == frame.content:
                return node
        return None

    def _page_of(self, state: State, node: StableNode) -> Frame | None:
        """``get_ksm_page``: the page of a node, None and the node removed if it is stale."""
        assert node.kpfn is not None
        page = state.memory.frames[node.kpfn]
        if page.owner is node and page.count:
            return page
        self._prune(node)
        return None

    def _prune(self, node: StableNode) -> None:
        """Remove a stale node and its items."""
        for item in list(node.items):
            self.items.pop((item.mm, item.address), None)
        node.items.clear()
        self.nodes.remove(node)

    # taking apart ------------------------------------------------------------------------

    def unmerge(self, state: State, task: Task, vma: Vma, start: int, end: int) -> bool:
        """Break every KSM page of a range with a write fault; False without memory.

        One that is in the swap cache would come back merged, so it is brought back too.
        """
        for address in range(start, end, PAGE):
            entry = vma.mm.entry(address)
            frame: object = follow(state, vma.mm, address)
            if classify(entry) == "swap":
                frame = state.swap.space.pages.get(swap_slot(entry))
            if isinstance(frame, Frame) and frame.is_ksm and not _break(state, task, vma, address):
                return False
        return True


def _protect(state: State, vma: Vma, address: int, frame: Frame) -> bool:
    """``write_protect_page``: False where somebody else holds the page."""
    if not vma.flags & VM_MERGEABLE:
        return False
    entry = vma.mm.entry(address)
    if entry & WRITABLE:
        if frame.count != frame.mapcount + 1 + int(frame.has(Flag.SWAPCACHE)):
            return False
        vma.mm.store(address, entry & ~WRITABLE)
    return True


def _replace(state: State, cpu: lru.Cpu, vma: Vma, address: int, frame: Frame, target: Frame) -> bool:
    """Merge one leaf of a page into a KSM page; False where the page is held by somebody else."""
    if not _protect(state, vma, address, frame) or frame.content != target.content:
        return False
    target.count += 1
    rmap.add(state.memory, target, vma, address)
    vma.mm.store(address, make(target.pfn, vma.protection))
    rmap.remove(state.memory, frame)
    lru.put(state.memory, frame)
    if vma.flags & VM_LOCKED:
        if frame.test_and_clear(Flag.MLOCKED):
            state.memory.add(frame, "nr_mlock", -1)
            if lru.isolate(state.memory, frame):
                lru.putback(state.memory, cpu, frame)
        lock_page(state.memory, cpu, target)
    return True


def _break(state: State, task: Task, vma: Vma, address: int) -> bool:
    """Take one place out with a write fault, on behalf of its owner; False without memory."""
    owner = next((other for other in state.tasks.values() if other.mm is vma.mm), task)
    actor = dataclasses.replace(owner, cpu=task.cpu)
    return faults.handle_fault(state, actor, vma, address, write=True) not in FAILED
