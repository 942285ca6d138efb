"""The steps that only a setup can do, at once: what a person arranges by hand.

Neighbours: `pagemig.scenario.call_steps`, whose steps a setup can do as well.
"""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from .call_steps import PolicyPart
from .part import ByTask, Step
from .values import (
    AreaFlags,
    Bool,
    Capabilities,
    ErrnoWord,
    FileName,
    Frame,
    Int,
    NewName,
    Node,
    PageFlag,
    PageSize,
    Protection,
    Size,
    Start,
    TaskName,
)


class SetMempolicy(ByTask):
    """Set where new pages of a task go."""

    do: Literal["set_mempolicy"]
    policy: PolicyPart
    """Its policy."""


class Mmap(ByTask):
    """Map memory after the regions were mapped; the keys are those of a region."""

    do: Literal["mmap"]
    name: NewName
    """What the region is called."""
    size: Size | None = None
    """How long it is, or..."""
    pages: Int | None = None
    """... how many pages it has."""
    at: Start | None = None
    """Where; the kernel chooses if left out."""
    protection: Protection = "rw"
    """What accesses are permitted."""
    file: FileName | None = None
    """What it maps; anonymous memory if left out."""
    offset: PageSize = 0
    """From which byte of the file on."""
    shared: Bool = False
    """Whether stores reach the file, or children."""
    flags: AreaFlags = ()
    """Further flags of the area."""

    @model_validator(mode="after")
    def _one_of_two(self) -> Mmap:
        require_length(self.size, self.pages)
        return self


def require_length(size: int | None, pages: int | None) -> None:
    """Refuse a region that says neither or both."""
    if (size is None) == (pages is None):
        raise ValueError("a region wants either size or pages")
    if not (size if pages is None else pages) or (pages is not None and pages < 0):
        raise ValueError("a region has at least one page")


class Advance(Step):
    """Let virtual time pass."""

    do: Literal["advance"]
    ticks: Int
    """Milliseconds."""


class HoldBuffer(Step):
    """Take a reference on a buffer of a page, as a filesystem might."""

    do: Literal["hold_buffer"]
    file: FileName
    """Which file."""
    page: Int
    """Which of its pages, which must be in the page cache."""
    at: Int = 0
    """Which of its buffers."""
    lock: Bool = False
    """Whether to lock it, too."""


class ReleaseBuffer(Step):
    """Undo hold_buffer."""

    do: Literal["release_buffer"]
    file: FileName
    """Which file."""
    page: Int
    """Which of its pages."""
    at: Int = 0
    """Which of its buffers."""


class SetPageFlag(Step):
    """Set or clear a flag of a page by hand, as a filesystem or firmware might."""

    do: Literal["set_page_flag"]
    pfn: Frame
    """Which page."""
    flag: PageFlag
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
    io_ticks: Int | Literal["never"] = 1
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
    uid: Int | None = None
    """The real user id."""
    euid: Int | None = None
    """The effective user id."""
    suid: Int | None = None
    """The saved user id."""
    capabilities: Capabilities | None = None
    """What it may do."""
    cpu: Int | None = None
    """The CPU it runs on."""
    mems_allowed: tuple[Node, ...] | None = None
    """The nodes it may allocate from."""
    signal: Bool | None = None
    """Whether a signal is pending for it."""
