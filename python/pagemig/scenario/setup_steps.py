"""The steps that only a setup can do, at once: what a person arranges by hand.

Neighbours: `pagemig.scenario.call_steps`, whose steps a setup can do as well.
"""

from __future__ import annotations

from typing import Literal

from .call_steps import PolicyPart
from .mapped import Mapped
from .part import ByTask, Step
from .ranges import BufferIndex, Count, CpuNumber, FilePage, Ticks, UserId
from .values import (
    Bool,
    Capabilities,
    ErrnoWord,
    FileName,
    FlagByHand,
    Frame,
    NewName,
    Node,
    TaskName,
)


class SetMempolicy(ByTask):
    """Set where new pages of a task go."""

    do: Literal["set_mempolicy"]
    policy: PolicyPart
    """Its policy."""


class Mmap(Mapped, ByTask):
    """Map memory after the regions were mapped; the keys are those of a region."""

    do: Literal["mmap"]
    name: NewName
    """What the region is called."""


class Advance(Step):
    """Let virtual time pass."""

    do: Literal["advance"]
    ticks: Count
    """Milliseconds."""


class HoldBuffer(Step):
    """Take a reference on a buffer of a page, as a filesystem might."""

    do: Literal["hold_buffer"]
    file: FileName
    """Which file."""
    page: FilePage
    """Which of its pages, which must be in the page cache."""
    at: BufferIndex = 0
    """Which of its buffers."""
    lock: Bool = False
    """Whether to lock it, too."""


class ReleaseBuffer(Step):
    """Undo hold_buffer."""

    do: Literal["release_buffer"]
    file: FileName
    """Which file."""
    page: FilePage
    """Which of its pages."""
    at: BufferIndex = 0
    """Which of its buffers."""


class SetPageFlag(Step):
    """Set or clear a flag of a page by hand, as a filesystem or firmware might."""

    do: Literal["set_page_flag"]
    pfn: Frame
    """Which page."""
    flag: FlagByHand
    """Which flag."""
    on: Bool = True
    """Whether it is set or cleared."""


class Isolate(Step):
    """Take a page off its LRU list, as another subsystem would."""

    do: Literal["isolate"]
    pfn: Frame
    """Which."""


class Putback(Step):
    """Put a page back that was isolated."""

    do: Literal["putback"]
    pfn: Frame
    """Which."""


class SetSwapDevice(Step):
    """Say how the disk behind swap behaves."""

    do: Literal["set_swap_device"]
    io_ticks: Ticks = 1
    """Ticks that a transfer takes."""
    congested: Bool = False
    """Whether it has more to do than it can."""


class Veto(Step):
    """Let the security module refuse moves of one task's memory by another."""

    do: Literal["veto"]
    caller: TaskName
    """Who is refused."""
    target: TaskName
    """Whose memory it is about."""
    errno: ErrnoWord = "EACCES"
    """With what."""


class SetTask(ByTask):
    """Change who a task is and where it runs."""

    do: Literal["set_task"]
    uid: UserId | None = None
    """The real user id."""
    euid: UserId | None = None
    """The effective user id."""
    suid: UserId | None = None
    """The saved user id."""
    capabilities: Capabilities | None = None
    """What it may do."""
    cpu: CpuNumber | None = None
    """The CPU it runs on."""
    mems_allowed: tuple[Node, ...] | None = None
    """The nodes it may allocate from."""
    signal: Bool | None = None
    """Whether a signal is pending for it."""
