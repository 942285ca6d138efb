"""Frames and nodes: what is free, what is not, and who counts it.

Start with :class:`Memory`. A frame is found by its number; its node never
changes. References are counted here; the LRU above decides what happens on the
way to zero.

Source: data model 1 and 2, supporting paths 14 (zonelists are in ``policy``).
Left out: several zones on a node.
"""

from __future__ import annotations

import dataclasses
import enum
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from .buffers import Buffer
    from .groups import Record

MAX_NUMNODES = 64
MOVABLE, ISOLATE, OFFLINE = 2, 4, 5
"""Pageblock types; the last one stands for a block that was taken offline."""


class Flag(enum.IntFlag):
    """Page flags by bit number (data-model 2.2)."""

    LOCKED = 1 << 0
    ERROR = 1 << 1
    REFERENCED = 1 << 2
    UPTODATE = 1 << 3
    DIRTY = 1 << 4
    LRU = 1 << 5
    ACTIVE = 1 << 6
    CHECKED = 1 << 8
    RESERVED = 1 << 10
    PRIVATE = 1 << 11
    PRIVATE_2 = 1 << 12
    WRITEBACK = 1 << 13
    SWAPCACHE = 1 << 16
    MAPPEDTODISK = 1 << 17
    RECLAIM = 1 << 18
    SWAPBACKED = 1 << 20
    UNEVICTABLE = 1 << 21
    MLOCKED = 1 << 22
    HWPOISON = 1 << 24


MUST_BE_CLEAR_WHEN_FREED = (
    Flag.LRU
    | Flag.LOCKED
    | Flag.RESERVED
    | Flag.PRIVATE
    | Flag.PRIVATE_2
    | Flag.WRITEBACK
    | Flag.SWAPCACHE
    | Flag.ACTIVE
    | Flag.UNEVICTABLE
    | Flag.MLOCKED
)

LRU_COUNTERS = (
    "nr_inactive_anon",
    "nr_active_anon",
    "nr_inactive_file",
    "nr_active_file",
    "nr_unevictable",
)
COUNTERS = (
    *LRU_COUNTERS,
    "nr_mlock",
    "nr_anon_pages",
    "nr_mapped",
    "nr_file_pages",
    "nr_dirty",
    "nr_writeback",
    "nr_shmem",
    "nr_vmscan_write",
    "nr_isolated_anon",
    "nr_isolated_file",
)


class Owner:
    """What the ``mapping`` of a page can name: an anon_vma, a file, a KSM node."""

    is_anon: ClassVar[bool]
    is_ksm: ClassVar[bool] = False


@dataclasses.dataclass(eq=False)
class Frame:
    """One frame and its descriptor; ``mapcount`` counts from 0.

    ``index`` is None where the specification says it is stale. ``private`` holds
    the swap entry of a page in the swap cache; ``buffers`` is the ring that
    PG_private speaks of. ``record`` is the memory cgroup's and outlives the page.
    """

    pfn: int
    node: int
    count: int = 0
    mapcount: int = 0
    flags: Flag = Flag(0)
    owner: Owner | None = dataclasses.field(default=None, repr=False)
    index: int | None = None
    private: int = 0
    buffers: list[Buffer] = dataclasses.field(default_factory=list)
    content: bytes = dataclasses.field(default=b"", repr=False)
    record: Record | None = dataclasses.field(default=None, repr=False)

    def has(self, flag: Flag) -> bool:
        """Return whether any of some flags is set."""
        return bool(self.flags & flag)

    def test_and_clear(self, flag: Flag) -> bool:
        """Clear a flag; return whether it was set."""
        was = self.has(flag)
        self.flags &= ~flag
        return was

    @property
    def is_anon(self) -> bool:
        """PageAnon; KSM pages are anonymous too."""
        return self.owner is not None and self.owner.is_anon

    @property
    def is_ksm(self) -> bool:
        """PageKsm."""
        return self.owner is not None and self.owner.is_ksm

    @property
    def has_private(self) -> bool:
        """``page_has_private``."""
        return self.has(Flag.PRIVATE | Flag.PRIVATE_2)


@dataclasses.dataclass(eq=False)
class Node:
    """One node with its single NORMAL zone. ``isolated`` frames are free but never handed out."""

    node: int
    first_pfn: int
    frames: int
    watermark_min: int = 0
    watermark_low: int = 0
    free: set[int] = dataclasses.field(default_factory=set)
    isolated: set[int] = dataclasses.field(default_factory=set)
    lists: list[list[int]] = dataclasses.field(default_factory=lambda: [[], [], [], [], []])
    counters: dict[str, int] = dataclasses.field(default_factory=lambda: dict.fromkeys(COUNTERS, 0))
    blocks: dict[int, int] = dataclasses.field(default_factory=dict)
    present: int = 0

    @property
    def free_frames(self) -> int:
        """``NR_FREE_PAGES``, frames of ISOLATE pageblocks included."""
        return len(self.free) + len(self.isolated)


@dataclasses.dataclass(eq=False)
class Memory:
    """All nodes and frames of a machine.

    Parameters
    ----------
    sizes
        Frames of each node, by node id. A node may have none.
    block
        Frames in a pageblock; blocks are aligned, the first and last of a node may be short.
    """

    sizes: dict[int, int]
    contents: bool = False
    block: int = 512
    nodes: dict[int, Node] = dataclasses.field(default_factory=dict)
    frames: list[Frame] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        for node_id in sorted(self.sizes):
            first = len(self.frames)
            size = self.sizes[node_id]
            node = Node(node_id, first, size, free=set(range(first, first + size)), present=size)
            node.blocks = {pfn - pfn % self.block: MOVABLE for pfn in range(first, first + size)}
            self.nodes[node_id] = node
            self.frames.extend(Frame(pfn, node_id) for pfn in range(first, first + size))
        # Outside all zones, on the lowest node with memory (data model 1.4).
        lowest = min((n for n, size in self.sizes.items() if size), default=0)
        self.zero_page = Frame(-1, lowest, count=1, flags=Flag.RESERVED)

    @property
    def with_memory(self) -> set[int]:
        """The nodes of N_HIGH_MEMORY."""
        return {node.node for node in self.nodes.values() if node.present}

    def add(self, frame: Frame, counter: str, change: int) -> None:
        """Change a counter of the frame's zone."""
        self.nodes[frame.node].counters[counter] += change

    def block_type(self, pfn: int) -> int:
        """The migrate type of the pageblock a frame lies in."""
        return self.nodes[self.frames[pfn].node].blocks[pfn - pfn % self.block]

    def take(self, node_id: int) -> Frame | None:
        """Take the lowest free frame of a node; poisoned ones are thrown away on the way."""
        node = self.nodes[node_id]
        while node.free:
            pfn = min(node.free)
            node.free.remove(pfn)
            frame = self.frames[pfn]
            if frame.has(Flag.HWPOISON):
                continue
            assert frame.count == 0 and frame.mapcount == 0 and frame.owner is None
            frame.count = 1
            frame.flags = Flag(0)
            frame.index = None
            frame.private = 0
            frame.content = bytes(4096) if self.contents else b""
            return frame
        return None

    def give_back(self, frame: Frame) -> None:
        """Free a frame whose count has reached 0, with the freeing check."""
        assert frame.count == 0, frame
        if frame.has(Flag.HWPOISON):
            return
        if frame.test_and_clear(Flag.MLOCKED):
            self.add(frame, "nr_mlock", -1)
        if frame.is_anon:
            frame.owner = None
        assert frame.mapcount == 0 and frame.owner is None, frame
        assert not frame.flags & MUST_BE_CLEAR_WHEN_FREED, frame
        assert not frame.buffers, frame
        frame.flags = Flag(0)
        node = self.nodes[frame.node]
        isolated = self.block_type(frame.pfn) == ISOLATE
        (node.isolated if isolated else node.free).add(frame.pfn)
