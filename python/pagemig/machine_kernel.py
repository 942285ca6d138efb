"""What the kernel of a machine does by itself: pagevecs, reclaim, memory that goes, the engine.

`MachineKernel` is part of `pagemig.Machine`, above its stores (`pagemig.machine_stores`). The same as
calls that can be stopped and raced is in `pagemig.calls`.

Source: migration 1, 2, 14 and 15, syscalls 7 and 8, supporting-paths 12.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from . import calls
from .arguments import require_bool
from .call import CallValue
from .calls.value import Progress, run_now
from .errors import UsageError, syscall_error
from .flags import OFFLINE_TICKS, PageFamily, PageFlags
from .machine_stores import MachineStores
from .region import HasPid
from .results import Anywhere, ByPage, MigrationResult, ToNode

BY_HAND = (
    PageFlags.ERROR
    | PageFlags.REFERENCED
    | PageFlags.CHECKED
    | PageFlags.RESERVED
    | PageFlags.PRIVATE_2
    | PageFlags.MAPPEDTODISK
    | PageFlags.RECLAIM
)


class MachineKernel(MachineStores):
    """The verbs of `pagemig.Machine` that no task of a person does."""

    __slots__ = ()

    def drain(self, *, cpu: int | None = None) -> None:
        """Drain the pagevecs: what waits there goes to its LRU list.

        Parameters
        ----------
        cpu
            Of which CPU; by default of all.
        """
        self._system.core.drain_cpu(None if cpu is None else self._system.cpu(cpu))

    def isolate(self, pfn: int) -> None:
        """Take a page off its LRU list, as another subsystem would.

        Parameters
        ----------
        pfn
            Its frame.

        Raises
        ------
        OSError
            EBUSY: it is on none.
        """
        code = self._system.core.isolate(self._system.pfn(pfn))
        if code:
            raise syscall_error(-code, "isolate")

    def putback(self, pfn: int) -> None:
        """Put a page back that `isolate` took, by way of CPU 0.

        Parameters
        ----------
        pfn
            Its frame.

        Raises
        ------
        UsageError
            It was not taken by `isolate`.
        """
        self._system.core.putback(self._system.pfn(pfn))

    def set_page_flag(self, pfn: int, flag: PageFlags, on: bool = True) -> None:
        """Set or clear a flag of a page by hand, as a filesystem or firmware might.

        Parameters
        ----------
        pfn
            The frame, which must be in use.
        flag
            ``ERROR``, ``REFERENCED``, ``CHECKED``, ``RESERVED``, ``PRIVATE_2``, ``MAPPEDTODISK`` or
            ``RECLAIM``; what else a page is follows from what is done with it.
        on
            Whether to set it.

        Raises
        ------
        UsageError
            The frame is free or not there, or the flag is none of these.
        """
        if not isinstance(flag, PageFlags) or flag not in BY_HAND or flag.bit_count() != 1:
            raise UsageError(f"flag is {flag!r}; by hand it must be one of {BY_HAND!r}")
        self._system.core.set_page_flag(self._system.pfn(pfn), int(flag), require_bool(on, "on"))

    def reclaim(
        self,
        node: int,
        pages: int = 32,
        *,
        family: PageFamily = PageFamily.ANON,
        by: HasPid | None = None,
        cpu: int = 0,
    ) -> int:
        """Scan the tail of a node's inactive list and free what can be freed.

        Parameters
        ----------
        node
            Whose list.
        pages
            How many pages are looked at, at most; at least 1.
        family
            Which of its two inactive lists.
        by
            Who; by default the kernel.
        cpu
            Where the kernel does it; a task runs on its own CPU.

        Returns
        -------
        int
            How many pages were freed.
        """
        return int(self._by(by, cpu, calls.reclaim(node, pages, family=family)))

    def offline(
        self,
        first_pfn: int,
        count: int,
        *,
        timeout: int = OFFLINE_TICKS,
        by: HasPid | None = None,
        cpu: int = 0,
    ) -> None:
        """Move everything out of a range of frames, and withdraw the range.

        Parameters
        ----------
        first_pfn, count
            The range, frames: whole pageblocks of one zone.
        timeout
            Ticks of 1 ms after which it gives up; by default two minutes of them.
        by
            Who; by default the kernel.
        cpu
            Where the kernel does it; a task runs on its own CPU.

        Raises
        ------
        OSError
            EINVAL: no whole pageblocks, or not of one zone; EBUSY: something cannot be moved, or is offline
            already; EAGAIN: it took too long; ENOMEM: no room elsewhere; EINTR: a signal is pending.
        UsageError
            The machine has no such frames.
        """
        self._by(by, cpu, calls.offline(first_pfn, count, timeout=timeout))

    def soft_offline(self, pfn: int, *, by: HasPid | None = None, cpu: int = 0) -> None:
        """Take one frame out of use, moving or dropping what is in it. A free frame goes at once.

        Parameters
        ----------
        pfn
            Which frame.
        by
            Who; by default the kernel.
        cpu
            Where the kernel does it; a task runs on its own CPU.

        Raises
        ------
        OSError
            EIO: its page is on no LRU list, or did not move, or the frame is withheld or offline already;
            EBUSY: its page was taken out of use meanwhile, or cannot be isolated; ENOMEM: no room elsewhere.
        UsageError
            The machine has no such frame.
        """
        self._by(by, cpu, calls.soft_offline(pfn))

    def migrate_pages(
        self,
        pfns: Iterable[int],
        target: ToNode | Anywhere | ByPage,
        *,
        offlining: bool = False,
        progress: Progress | None = None,
        cpu: int = 0,
    ) -> MigrationResult:
        """Isolate pages and move them, in up to ten passes: the engine itself.

        All pagevecs are drained first, as every caller of the engine does (migration 1), so a page that
        was only just touched can be isolated.

        Parameters
        ----------
        pfns
            Frame numbers, in the order in which they are tried.
        target
            Where to: `pagemig.ToNode`, `pagemig.Anywhere` or `pagemig.ByPage`.
        offlining
            Whether it is done for memory that goes away, which moves KSM pages too.
        progress
            Called now and then with the pages done and all pages; if it raises, the call stays in flight.
        cpu
            Where the kernel does it.

        Returns
        -------
        MigrationResult
            What became of each. A page that would not move is a number in it, not an exception.

        Raises
        ------
        UsageError
            A frame or a node is not there, a node has no memory, or ``target`` names none for a frame.
        """
        what = calls.migrate_frames(pfns, target, offlining=offlining)
        result: MigrationResult = self._by(None, cpu, what, progress)
        return result

    def _by(self, by: HasPid | None, cpu: int, what: CallValue, progress: Progress | None = None) -> Any:
        with self._system.kernel_on(cpu, by):
            return run_now(self._system, self._system.acting(by), what, progress)
