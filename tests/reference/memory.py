"""Frames and nodes: what is free, what is not, and who counts it.

Start with :class:`Memory`. A frame is found by its number; its node never
changes. References are counted here; the LRU above decides what happens on the
way to zero.

Source: data model 1 and 2, supporting paths 14 (zonelists are in ``policy``).
Left out: several zones on a node, pageblocks, poisoned frames.
"""

from __future__ import annotations

import dataclasses
import enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .rmap import AnonVma

MAX_NUMNODES = 64


class Flag(enum.IntFlag):
    """Page flags by bit number (data model 2.2), those anonymous memory uses."""

    LOCKED = 1 << 0
    ERROR = 1 << 1
    REFERENCED = 1 << 2
    UPTODATE = 1 << 3
    DIRTY = 1 << 4
    LRU = 1 << 5
    ACTIVE = 1 << 6
    CHECKED = 1 << 8
    RESERVED = 1 << 10
    MAPPEDTODISK = 1 << 17
    SWAPBACKED = 1 << 20
    UNEVICTABLE = 1 << 21
    MLOCKED = 1 << 22


MUST_BE_CLEAR_WHEN_FREED = (
    Flag.LRU | Flag.LOCKED | Flag.RESERVED | Flag.ACTIVE | Flag.UNEVICTABLE | Flag.MLOCKED
)

LRU_COUNTERS = (
    "nr_inactive_anon",
    "nr_active_anon",
    "nr_inactive_file",
    "nr_active_file",
    "nr_unevictable",
)
COUNTERS = (*LRU_COUNTERS, "nr_mlock", "nr_anon_pages", "nr_isolated_anon", "nr_isolated_file")


@dataclasses.dataclass(eq=False)
class Frame:
    """One frame and its descriptor; ``mapcount`` counts from 0.

    ``index`` is None where the specification says it is stale.
    """

    pfn: int
    node: int
    count: int = 0
    mapcount: int = 0
    flags: Flag = Flag(0)
    owner: AnonVma | None = None
    index: int | None = None
    content: bytes = b""

    def has(self, flag: Flag) -> bool:
        """Return whether a flag is set."""
        return bool(self.flags & flag)

    def test_and_clear(self, flag: Flag) -> bool:
        """Clear a flag; return whether it was set."""
        was = self.has(flag)
        self.flags &= ~flag
        return was


@dataclasses.dataclass(eq=False)
class Node:
    """One node with its single NORMAL zone."""

    node: int
    first_pfn: int
    frames: int
    watermark_min: int = 0
    watermark_low: int = 0
    free: set[int] = dataclasses.field(default_factory=set)
    lists: list[list[int]] = dataclasses.field(default_factory=lambda: [[], [], [], [], []])
    counters: dict[str, int] = dataclasses.field(default_factory=lambda: dict.fromkeys(COUNTERS, 0))


@dataclasses.dataclass(eq=False)
class Memory:
    """All nodes and frames of a machine.

    Parameters
    ----------
    sizes
        Frames of each node, by node id. A node may have none.
    """

    sizes: dict[int, int]
    contents: bool = False
    nodes: dict[int, Node] = dataclasses.field(default_factory=dict)
    frames: list[Frame] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        for node_id in sorted(self.sizes):
            first = len(self.frames)
            size = self.sizes[node_id]
            node = Node(node_id, first, size, free=set(range(first, first + size)))
            self.nodes[node_id] = node
            self.frames.extend(Frame(pfn, node_id) for pfn in range(first, first + size))
        # Outside all zones, on the lowest node with memory (data model 1.4).
        lowest = min((n for n, size in self.sizes.items() if size), default=0)
        self.zero_page = Frame(-1, lowest, count=1, flags=Flag.RESERVED)

    @property
    def with_memory(self) -> set[int]:
        """The nodes of N_HIGH_MEMORY."""
        return {node.node for node in self.nodes.values() if node.frames}

    def add(self, frame: Frame, counter: str, change: int) -> None:
        """Change a counter of the frame's zone."""
        self.nodes[frame.node].counters[counter] += change

    def take(self, node_id: int) -> Frame:
        """Take the lowest free frame of a node."""
        node = self.nodes[node_id]
        pfn = min(node.free)
        node.free.remove(pfn)
        frame = self.frames[pfn]
        assert frame.count == 0 and frame.mapcount == 0 and frame.owner is None
        frame.count = 1
        frame.flags = Flag(0)
        frame.index = None
        frame.content = bytes(4096) if self.contents else b""
        return frame

    def give_back(self, frame: Frame) -> None:
        """Free a frame whose count has reached 0, with the freeing check."""
        if frame.test_and_clear(Flag.MLOCKED):
            self.add(frame, "nr_mlock", -1)
        frame.owner = None
        assert frame.count == 0 and frame.mapcount == 0, frame
        assert not frame.flags & MUST_BE_CLEAR_WHEN_FREED, frame
        frame.flags = Flag(0)
        self.nodes[frame.node].free.add(frame.pfn)
