"""Calls about ranges of a task's memory: unmapping, protecting, locking, moving, advice, swapping out.

Neighbours: `pagemig.Task`, whose verbs these are. Source: supporting-paths 6, 11, 12, 15 and 16.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import _core
from ..arguments import integer, page_multiple, require_protection, whole_pages
from ..errors import UsageError
from ..flags import USER_END, Advice, Protection
from ..region import Region, require_own
from .value import Plain, refuse

if TYPE_CHECKING:
    from ..system import System


@dataclass(frozen=True, slots=True)
class Munmap(Plain):
    """See `pagemig.Task.munmap`."""

    region: Region

    def _request(self, system: System, pid: int) -> _core.Request:
        region = require_own(self.region, pid)
        return _core.Request.munmap(region.start, region.length)

    def _result(self, system: System, pid: int, outcome: Any) -> None:
        refuse(outcome, "munmap")


def munmap(region: Region) -> Munmap:
    """Remove a mapping; see `pagemig.Task.munmap`.

    Parameters
    ----------
    region
        What to unmap, holes included; of the task that makes the call.

    Returns
    -------
    Munmap
        The call. It has no result.
    """
    return Munmap(region)


@dataclass(frozen=True, slots=True)
class Mprotect(Plain):
    """See `pagemig.Task.mprotect`."""

    region: Region
    protection: Protection

    def _request(self, system: System, pid: int) -> _core.Request:
        region = require_own(self.region, pid)
        return _core.Request.mprotect(region.start, region.length, int(self.protection))

    def _result(self, system: System, pid: int, outcome: Any) -> None:
        refuse(outcome, "mprotect")


def mprotect(region: Region, protection: Protection) -> Mprotect:
    """Change what a mapping permits; see `pagemig.Task.mprotect`.

    Parameters
    ----------
    region
        What to change; of the task that makes the call.
    protection
        What accesses are permitted afterwards.

    Returns
    -------
    Mprotect
        The call. It has no result.

    Raises
    ------
    UsageError
        ``protection`` is no `pagemig.Protection`.
    """
    return Mprotect(region, require_protection(protection))


@dataclass(frozen=True, slots=True)
class Mlock(Plain):
    """See `pagemig.Task.mlock` and `pagemig.Task.munlock`."""

    region: Region
    lock: bool

    def _request(self, system: System, pid: int) -> _core.Request:
        region = require_own(self.region, pid)
        return _core.Request.mlock(region.start, region.length, self.lock)

    def _result(self, system: System, pid: int, outcome: Any) -> None:
        refuse(outcome, "mlock" if self.lock else "munlock")


def mlock(region: Region) -> Mlock:
    """Lock pages in memory; see `pagemig.Task.mlock`.

    Parameters
    ----------
    region
        What to lock; of the task that makes the call.

    Returns
    -------
    Mlock
        The call. It has no result.
    """
    return Mlock(region, True)


def munlock(region: Region) -> Mlock:
    """Unlock them; see `pagemig.Task.munlock`.

    Parameters
    ----------
    region
        What to unlock; of the task that makes the call.

    Returns
    -------
    Mlock
        The call. It has no result.
    """
    return Mlock(region, False)


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
    """Move or resize a mapping; see `pagemig.Task.mremap`.

    Parameters
    ----------
    region
        What is mapped now; of the task that makes the call.
    length
        How long it shall be, bytes, rounded up to pages; by default as it is.
    to
        Where it shall be, page aligned; by default the kernel chooses, if it cannot stay.

    Returns
    -------
    Mremap
        The call. Its result is the `pagemig.Region` where it is then.

    Raises
    ------
    UsageError
        The region is none or empty, or what it shall become is not of whole pages in user space.
    """
    if not isinstance(region, Region):
        raise UsageError(f"region is {region!r}; it must be a Region")
    if not len(region):
        raise UsageError("the region is empty; mremap moves at least one page")
    size = region.length if length is None else whole_pages(length)
    start = None if to is None else page_multiple(to, "to")
    if start is not None and start + size > USER_END:
        raise UsageError(f"{size:#x} bytes at {start:#x} leave user space, which ends at {USER_END:#x}")
    return Mremap(region, size, start)


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
    """Say what a range is for; see `pagemig.Task.madvise`.

    Parameters
    ----------
    region
        The range; of the task that makes the call.
    advice
        What for.

    Returns
    -------
    Madvise
        The call. It has no result.

    Raises
    ------
    UsageError
        An argument is not of its kind.
    """
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
    """Reclaim the one page at an address; see `pagemig.Task.swap_out`, which takes many.

    Parameters
    ----------
    address
        Any byte of the page.

    Returns
    -------
    SwapOut
        The call. Its result is whether the page was freed, a bool.

    Raises
    ------
    UsageError
        The address is not in user space.
    """
    return SwapOut(integer(address, "address", high=USER_END - 1))
