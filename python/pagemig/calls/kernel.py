"""What the kernel does of its own accord: draining, reclaim, KSM, and memory that goes offline.

They are started by a task too, a kernel thread if you like: it is the CPU and the cpuset of that
task that count. Neighbours: `pagemig.Machine` and `pagemig.Ksm`, whose verbs these are.

Source: syscalls 7 and 8; supporting-paths 12 and 16.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import _core
from ..arguments import integer
from ..errors import UsageError
from ..flags import OFFLINE_TICKS, PageFamily
from .value import Plain, refuse

if TYPE_CHECKING:
    from ..system import System

_FRAMES_MAX = (1 << 32) - 1


@dataclass(frozen=True, slots=True)
class Drain(Plain):
    """See `pagemig.Machine.drain`."""

    def _request(self, system: System, pid: int) -> _core.Request:
        return _core.Request.drain()

    def _result(self, system: System, pid: int, outcome: Any) -> None:
        return None


def drain() -> Drain:
    """Drain all pagevecs; see `pagemig.Machine.drain`.

    Returns
    -------
    Drain
        The call. It has no result.
    """
    return Drain()


@dataclass(frozen=True, slots=True)
class Reclaim(Plain):
    """See `pagemig.Machine.reclaim`."""

    node: int
    pages: int
    family: PageFamily

    def _request(self, system: System, pid: int) -> _core.Request:
        is_anonymous = self.family is PageFamily.ANON
        return _core.Request.reclaim(system.node(self.node), self.pages, is_anonymous)

    def _result(self, system: System, pid: int, outcome: Any) -> int:
        return int(outcome)


def reclaim(node: int, pages: int, *, family: PageFamily = PageFamily.ANON) -> Reclaim:
    """Scan an inactive list and free what can be freed; see `pagemig.Machine.reclaim`.

    Parameters
    ----------
    node
        Whose list.
    pages
        How many pages are looked at, at most; at least 1.
    family
        Which of its two inactive lists.

    Returns
    -------
    Reclaim
        The call. Its result is how many pages were freed.

    Raises
    ------
    UsageError
        An argument is not of its kind.
    """
    if not isinstance(family, PageFamily):
        raise UsageError(f"family is {family!r}; it must be PageFamily.ANON or PageFamily.FILE")
    return Reclaim(integer(node, "node"), integer(pages, "pages", 1, _FRAMES_MAX), family)


@dataclass(frozen=True, slots=True)
class KsmScan(Plain):
    """See `pagemig.Ksm.scan`."""

    def _request(self, system: System, pid: int) -> _core.Request:
        return _core.Request.ksm_scan()

    def _result(self, system: System, pid: int, outcome: Any) -> int:
        return int(outcome)


def ksm_scan() -> KsmScan:
    """Look at all memory that may be merged, once; see `pagemig.Ksm.scan`.

    Returns
    -------
    KsmScan
        The call. Its result is how many pages were merged.
    """
    return KsmScan()


@dataclass(frozen=True, slots=True)
class Offline(Plain):
    """See `pagemig.Machine.offline`."""

    first_pfn: int
    count: int
    timeout: int

    def _request(self, system: System, pid: int) -> _core.Request:
        if self.first_pfn + self.count > system.frames:
            raise UsageError(
                f"frames {self.first_pfn} to {self.first_pfn + self.count - 1}; "
                f"this machine has frames 0 to {system.frames - 1}"
            )
        request = _core.Request.offline(self.first_pfn, self.count, self.timeout)
        system.expect_less_memory()
        return request

    def _result(self, system: System, pid: int, outcome: Any) -> None:
        refuse(outcome, "offline")


def offline(first_pfn: int, count: int, *, timeout: int = OFFLINE_TICKS) -> Offline:
    """Move everything out of a range of frames and withdraw it; see `pagemig.Machine.offline`.

    Parameters
    ----------
    first_pfn, count
        The range, frames: whole pageblocks of one zone.
    timeout
        Ticks of 1 ms after which it gives up; by default two minutes of them.

    Returns
    -------
    Offline
        The call. It has no result.

    Raises
    ------
    UsageError
        An argument is not of its kind.
    """
    return Offline(
        integer(first_pfn, "first_pfn", high=_FRAMES_MAX),
        integer(count, "count", 1, _FRAMES_MAX),
        integer(timeout, "timeout"),
    )


@dataclass(frozen=True, slots=True)
class SoftOffline(Plain):
    """See `pagemig.Machine.soft_offline`."""

    pfn: int

    def _request(self, system: System, pid: int) -> _core.Request:
        if self.pfn >= system.frames:
            raise UsageError(f"pfn is {self.pfn}; it must be 0 to {system.frames - 1}")
        return _core.Request.soft_offline(self.pfn)

    def _result(self, system: System, pid: int, outcome: Any) -> None:
        refuse(outcome, "soft_offline")


def soft_offline(pfn: int) -> SoftOffline:
    """Take one frame out of use; see `pagemig.Machine.soft_offline`.

    Parameters
    ----------
    pfn
        Which frame.

    Returns
    -------
    SoftOffline
        The call. It has no result.

    Raises
    ------
    UsageError
        ``pfn`` is no frame number.
    """
    return SoftOffline(integer(pfn, "pfn", high=_FRAMES_MAX))
