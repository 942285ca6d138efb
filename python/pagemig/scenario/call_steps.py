"""The steps that can be calls in flight, one class a verb; a setup can do them, too.

The names and the arguments are those of `pagemig.calls`. Neighbours: `pagemig.scenario.values`
for what the keys take, `pagemig.scenario.acting` for what the steps do.
"""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from .part import ByTask, Part, Step
from .ranges import Count, Count32, FilePage, FileSize, Frames32, ReadSize, RegionSize, Transfer
from .values import (
    Address,
    Advice,
    AnyNode,
    BindFlags,
    Bool,
    CpusetName,
    Family,
    FileName,
    Frame,
    Frames,
    Mode,
    NewName,
    Node,
    Protection,
    RegionRef,
    Scope,
    Start,
    Target,
    TaskName,
    Text,
    WantedNodes,
    Where,
)


class PolicyPart(Part):
    """A memory policy."""

    mode: Mode
    """Which."""
    nodes: tuple[AnyNode, ...] = ()
    """The nodes it names."""
    static: Bool = False
    """Whether they are physical ids whatever the cpuset is."""
    relative: Bool = False
    """Whether they are positions in the cpuset."""


# system calls ----------------------------------------------------------------------------


class MovePages(ByTask):
    """Move pages to nodes, or ask where they are."""

    do: Literal["move_pages"]
    pages: Where
    """Which pages, in the memory of ``target`` if there is one."""
    nodes: WantedNodes | None = None
    """Where to: one node for all, or one for each page. Left out: only ask."""
    target: Target | None = None
    """Whose pages; its own if left out."""
    scope: Scope = "exclusive"
    """Whether pages that something else maps too are moved."""
    bad_pointer: Literal["pages", "nodes", "status"] | None = None
    """Which of its arrays lies where the caller has no memory."""


class MigratePages(ByTask):
    """Move all pages of a task from some nodes to others."""

    do: Literal["migrate_pages"]
    target: Target | None = None
    """Whose pages; its own if left out."""
    old_nodes: tuple[AnyNode, ...]
    """From where."""
    new_nodes: tuple[AnyNode, ...]
    """To where."""
    bad_pointer: Literal["old_nodes", "new_nodes"] | None = None
    """Which of its masks lies where the caller has no memory."""


class Mbind(ByTask):
    """Give a range a memory policy, and move its pages there if asked."""

    do: Literal["mbind"]
    region: RegionRef
    """The range."""
    policy: PolicyPart
    """Its policy."""
    flags: BindFlags = ()
    """What to do about pages that are there already."""
    bad_pointer: Literal["nodes"] | None = None
    """Which of its masks lies where the caller has no memory."""


# memory ----------------------------------------------------------------------------------


class Touch(ByTask):
    """Access every page once."""

    do: Literal["touch"]
    where: Where
    """Which pages."""
    write: Bool = True
    """Whether to store or to load."""


class Read(ByTask):
    """Read bytes through the page tables; the machine needs contents."""

    do: Literal["read"]
    address: Address
    """Where."""
    size: ReadSize
    """How many bytes."""


class Write(ByTask):
    """Write bytes through the page tables; the machine needs contents."""

    do: Literal["write"]
    address: Address
    """Where."""
    data: Text
    """What, as text (UTF-8)."""


class Fork(ByTask):
    """Make a child that shares all pages copy-on-write."""

    do: Literal["fork"]
    name: NewName
    """What the child is called from now on."""


class Exit(ByTask):
    """End the task."""

    do: Literal["exit"]


class Munmap(ByTask):
    """Remove a mapping."""

    do: Literal["munmap"]
    region: RegionRef
    """What."""


class Mprotect(ByTask):
    """Change what a mapping permits."""

    do: Literal["mprotect"]
    region: RegionRef
    """What."""
    protection: Protection
    """To what."""


class Mremap(ByTask):
    """Move or resize a mapping."""

    do: Literal["mremap"]
    region: RegionRef
    """What."""
    length: RegionSize | None = None
    """How long it shall be; as it is if left out."""
    to: Start | None = None
    """Where it shall be."""
    name: NewName | None = None
    """What the mapping is called where it is then."""


class Madvise(ByTask):
    """Say what a range is for."""

    do: Literal["madvise"]
    region: RegionRef
    """Which."""
    advice: Advice
    """What it is for."""


class Mlock(ByTask):
    """Keep pages in memory."""

    do: Literal["mlock"]
    region: RegionRef
    """Which."""


class Munlock(ByTask):
    """Undo mlock."""

    do: Literal["munlock"]
    region: RegionRef
    """Which."""


class SwapOut(ByTask):
    """Reclaim the page at an address of the task, or in a setup pages, one after the other."""

    do: Literal["swap_out"]
    address: Where
    """Where."""


class Pin(ByTask):
    """Take a reference on the page at an address, as direct I/O does."""

    do: Literal["pin"]
    address: Address
    """Where."""
    write: Bool = False
    """Whether it is going to be written to."""
    name: NewName | None = None
    """What the pin is called, so that it can be dropped."""


class Unpin(Step):
    """Drop a reference."""

    do: Literal["unpin"]
    pfn: Frame
    """Which: the name of a pin, or the id of the call that took it."""


# files -----------------------------------------------------------------------------------


class ReadFile(Step):
    """Read through the page cache."""

    do: Literal["read_file"]
    file: FileName
    """Which file."""
    offset: FileSize = 0
    """From which byte on."""
    size: Transfer
    """How many bytes."""


class WriteFile(Step):
    """Write through the page cache."""

    do: Literal["write_file"]
    file: FileName
    """Which file."""
    offset: FileSize = 0
    """From which byte on."""
    data: Text | None = None
    """What, as text (UTF-8)."""
    size: Transfer | None = None
    """Instead of data: how many bytes that nobody looks at."""

    @model_validator(mode="after")
    def _one_of_two(self) -> WriteFile:
        if (self.data is None) == (self.size is None):
            raise ValueError("write_file wants either data or size")
        return self


class Truncate(Step):
    """Change the size of a file."""

    do: Literal["truncate"]
    file: FileName
    """Which file."""
    size: FileSize
    """How long it shall be."""


class Lookup(Step):
    """Look a page up without locks, and keep the reference."""

    do: Literal["lookup"]
    file: FileName
    """Which file."""
    page: FilePage
    """Which of its pages."""
    name: NewName | None = None
    """What the reference is called, so that it can be dropped."""


class Writeback(Step):
    """Write a dirty page back."""

    do: Literal["writeback"]
    file: FileName
    """Which file."""
    page: FilePage
    """Which of its pages."""


class Invalidate(Step):
    """Drop a clean page that nothing maps."""

    do: Literal["invalidate"]
    file: FileName
    """Which file."""
    page: FilePage
    """Which of its pages."""


class CompleteIo(Step):
    """End the transfer that ends next, now."""

    do: Literal["complete_io"]


# the kernel ------------------------------------------------------------------------------


class Drain(Step):
    """Drain all pagevecs."""

    do: Literal["drain"]


class Reclaim(Step):
    """Scan an inactive list of a node and free what can be freed."""

    do: Literal["reclaim"]
    node: Node
    """Whose list."""
    pages: Frames32 = 32
    """How many pages are looked at, at most."""
    family: Family = "anon"
    """Which of its two inactive lists."""


class KsmScan(Step):
    """Let KSM look at all memory that may be merged, once."""

    do: Literal["ksm_scan"]


class Offline(Step):
    """Move everything out of a range of frames, and withdraw it."""

    do: Literal["offline"]
    first_pfn: Count32 | None = None
    """The first frame, or..."""
    node: Node | None = None
    """... the node, all of it."""
    count: Frames32 | None = None
    """How many frames; to the end of the node if left out."""
    timeout: Count = 120_000
    """Ticks after which it gives up."""

    @model_validator(mode="after")
    def _one_of_two(self) -> Offline:
        if (self.first_pfn is None) == (self.node is None):
            raise ValueError("offline wants either first_pfn and count, or node")
        if self.first_pfn is not None and self.count is None:
            raise ValueError("offline with first_pfn wants count, too")
        return self


class SoftOffline(Step):
    """Take one frame out of use."""

    do: Literal["soft_offline"]
    pfn: Frame
    """Which: the one under a page."""


class MigrateFrames(Step):
    """The engine itself: isolate frames and move them."""

    do: Literal["migrate_frames"]
    pfns: Frames
    """Which: those under pages, in the order in which they are tried."""
    node: Node | None = None
    """Where to; anywhere if left out."""
    offlining: Bool = False
    """Whether it is done for memory that goes away."""


class SetCpusetMems(Step):
    """Give a cpuset other nodes."""

    do: Literal["set_cpuset_mems"]
    cpuset: CpusetName
    """Which."""
    mems: tuple[Node, ...]
    """Its nodes."""


class AttachCpuset(Step):
    """Put a task into a cpuset."""

    do: Literal["attach_cpuset"]
    cpuset: CpusetName
    """Which."""
    task: TaskName
    """Who."""
