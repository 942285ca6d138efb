"""Calls about ranges of a task's memory: ``mremap``, ``madvise``, and swapping out.

Neighbours: `pagemig.Task`, whose verbs these are. Source: supporting-paths 6, 11, 12 and 16.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import _core
from ..arguments import integer, page_multiple
from ..errors import UsageError
from ..flags import PAGE_SIZE, USER_END, Advice
from ..region import Region, require_own
from .value import Plain, refuse

if TYPE_CHECKING:
    from ..system import System


@dataclass(frozen=True, slots=True)
class Mremap(Plain):
    """See `pagemig.Task.mremap`."""

    region: Region
    length: int
    to: int | None

    def _request(self, system: System, pid: int) -> _core.Request:
        region = require_own(self.region, pid)
        return _core.Request.mremap(region.start, region.length, self.length, self.to)

    def _result(self, system: System, pid: int, outcome: Any) -> Region:
        refuse(outcome, "mremap")
        return Region(pid, int(outcome), self.length)


def mremap(region: Region, length: int | None = None, *, to: int | None = None) -> Mremap:
    """Move or resize a mapping; see `pagemig.Task.mremap`."""
    if not isinstance(region, Region):
        raise UsageError(f"region is {region!r}; it must be a Region")
    if not len(region):
        raise UsageError("the region is empty; mremap moves at least one page")
    size = region.length if length is None else whole_pages(length)
    start = None if to is None else page_multiple(to, "to")
    if start is not None and start + size > USER_END:
        raise UsageError(f"{size:#x} bytes at {start:#x} leave user space, which ends at {USER_END:#x}")
    return Mremap(region, size, start)


def whole_pages(length: int) -> int:
    """Return the length of a mapping, rounded up to pages as ``mmap(2)`` does."""
    return -(-integer(length, "length", 1, USER_END) // PAGE_SIZE) * PAGE_SIZE


@dataclass(frozen=True, slots=True)
class Madvise(Plain):
    """See `pagemig.Task.madvise`."""

    region: Region
    advice: Advice

    def _request(self, system: System, pid: int) -> _core.Request:
        region = require_own(self.region, pid)
        return _core.Request.madvise(region.start, region.length, int(self.advice))

    def _result(self, system: System, pid: int, outcome: Any) -> None:
        refuse(outcome, "madvise")


def madvise(region: Region, advice: Advice) -> Madvise:
    """Say what a range is for; see `pagemig.Task.madvise`."""
    if not isinstance(region, Region):
        raise UsageError(f"region is {region!r}; it must be a Region")
    if not isinstance(advice, Advice):
        raise UsageError(f"advice is {advice!r}; it must be an Advice, such as Advice.MERGEABLE")
    return Madvise(region, advice)


@dataclass(frozen=True, slots=True)
class SwapOut(Plain):
    """See `pagemig.Task.swap_out`."""

    address: int

    def _request(self, system: System, pid: int) -> _core.Request:
        return _core.Request.swap_out(self.address)

    def _result(self, system: System, pid: int, outcome: Any) -> bool:
        return bool(outcome)


def swap_out(address: int) -> SwapOut:
    """Reclaim the one page at an address; see `pagemig.Task.swap_out`."""
    return SwapOut(integer(address, "address", high=USER_END - 1))
