"""What a task does with its memory: mapping it, accessing it, holding on to pages of it.

`TaskMemory` is part of `pagemig.Task`, between `pagemig.task_view`, which only looks, and the verbs
that place pages, which are in `pagemig.task`. Everything here runs to its end at once; the same
as calls that can be stopped and raced is in `pagemig.calls`.

Source: supporting-paths 1, 2, 6, 11, 12 and 15 to 17.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable
from functools import partial, reduce
from typing import Any

import numpy.typing as npt

from . import calls
from .arguments import listed, page_multiple, require_bool, require_protection, whole_pages
from .calls.batch import access_request, accesses_of
from .calls.value import Progress, run_now
from .errors import UsageError
from .file import File
from .flags import FILE_BYTES_MAX, USER_END, Advice, Protection, VmFlags
from .region import Region, Where, addresses_in
from .results import AccessResult
from .task_view import TaskView

_MAY = VmFlags.MAYREAD | VmFlags.MAYWRITE | VmFlags.MAYEXEC
BY_PROTECTION = VmFlags.READ | VmFlags.WRITE | VmFlags.EXEC | VmFlags.SHARED | VmFlags.MAYSHARE


class TaskMemory(TaskView):
    """The verbs of `pagemig.Task` that are about its own memory."""

    __slots__ = ()

    # its mappings -----------------------------------------------------------------------

    def mmap(
        self,
        length: int,
        *,
        at: int | None = None,
        protection: Protection = Protection.READ | Protection.WRITE,
        file: File | None = None,
        offset: int = 0,
        shared: bool = False,
        flags: VmFlags | Iterable[VmFlags] = (),
    ) -> Region:
        """Map memory: a file, or anonymous memory without one. Areas are never merged.

        Parameters
        ----------
        length
            Bytes, rounded up to pages as ``mmap(2)`` does.
        at
            Where, page aligned; by default the kernel chooses.
        protection
            What accesses are permitted.
        file
            What to map; it may end before the mapping does.
        offset
            From which byte of the file on, a multiple of the page size.
        shared
            Whether stores reach the file, and others that map it. Without a file: whether children
            share the memory, which is a new file of shmem then.
        flags
            Further flags of the area: none that ``protection`` and ``shared`` say.

        Returns
        -------
        Region
            What was mapped, whole pages.

        Raises
        ------
        UsageError
            The range is empty, taken, unaligned or beyond user space, or leaves what a file can have.
        """
        system = self._system
        size = whole_pages(length)
        start = None if at is None else page_multiple(at, "at")
        if start is not None and start + size > USER_END:
            raise UsageError(f"{size:#x} bytes at {start:#x} leave user space, which ends at {USER_END:#x}")
        first = page_multiple(offset, "offset")
        if file is None and first:
            raise UsageError(f"offset is {first:#x}, but there is no file: leave it out")
        if file is not None and not isinstance(file, File):
            raise UsageError(f"file is {file!r}; it must be a File, such as machine.file('name')")
        if file is not None and file._system is not system:
            raise UsageError(f"{file!r} belongs to another machine")
        if first + size > FILE_BYTES_MAX:
            raise UsageError(
                f"{size:#x} bytes from {first:#x} on end beyond {FILE_BYTES_MAX:#x}: no file does"
            )
        vm_flags = int(require_protection(protection)) | _MAY | _area_flags(flags)
        if require_bool(shared, "shared"):
            vm_flags |= VmFlags.SHARED | VmFlags.MAYSHARE
        number = None if file is None else file.number
        return Region(self._pid, system.core.mmap(self._pid, size, start, int(vm_flags), number, first), size)

    def munmap(self, region: Region) -> None:
        """Remove what is mapped in a region, which may have holes.

        Parameters
        ----------
        region
            What to unmap: a region of this task, at least a page.
        """
        self._run(calls.munmap(region))

    def mprotect(self, region: Region, protection: Protection) -> None:
        """Change what accesses a region permits.

        Parameters
        ----------
        region
            What to change: a region of this task, at least a page.
        protection
            What is permitted afterwards.

        Raises
        ------
        OSError
            ENOMEM: part of the region is not mapped. What lies below that part is changed.
        """
        self._run(calls.mprotect(region, protection))

    def mlock(self, region: Region) -> None:
        """Fault the pages of a region in and keep them off the reclaimable lists.

        Parameters
        ----------
        region
            What to lock: a region of this task, at least a page.

        Raises
        ------
        OSError
            ENOMEM: part of the region is not mapped, or may not be accessed; EAGAIN: no frame for a page.
        """
        self._run(calls.mlock(region))

    def munlock(self, region: Region) -> None:
        """Undo `mlock`.

        Parameters
        ----------
        region
            What to unlock: a region of this task, at least a page.

        Raises
        ------
        OSError
            ENOMEM: part of the region is not mapped.
        """
        self._run(calls.munlock(region))

    def mremap(self, region: Region, length: int | None = None, *, to: int | None = None) -> Region:
        """Move a mapping, or change its length.

        Parameters
        ----------
        region
            What is mapped now.
        length
            How long it shall be, bytes, rounded up to pages; by default as it is.
        to
            Where it shall be, page aligned; what is mapped there goes. By default it stays if it
            can, and the kernel chooses if it cannot.

        Returns
        -------
        Region
            Where it is now.

        Raises
        ------
        OSError
            EFAULT: nothing, or more than one area, is mapped there, or the area must not grow; EINVAL: old
            and new overlap, or the area has huge pages; ENOMEM: no room.
        UsageError
            The region is empty, or what it shall become is not of whole pages in user space.
        """
        moved: Region = self._run(calls.mremap(region, length, to=to))
        return moved

    def madvise(self, region: Region, advice: Advice) -> None:
        """Say what a region is for.

        Parameters
        ----------
        region
            The range: of this task, at least a page.
        advice
            What for.

        Raises
        ------
        OSError
            ENOMEM: part of the region is not mapped, or no frame to take merged pages apart; EINVAL: not for
            such areas, such as dropping what is locked.
        """
        self._run(calls.madvise(region, advice))

    def swap_out(self, where: Where) -> int:
        """Reclaim pages, one after the other, as the kernel does when memory is short.

        Anonymous pages go to swap, file pages to their file; what has to be written first is
        waited for. Uses before do not count, as if the pages had aged; whatever else keeps a page,
        such as a pin or a full swap device, keeps it here.

        Parameters
        ----------
        where
            A region, or addresses, one a page.

        Returns
        -------
        int
            How many pages were freed.

        Raises
        ------
        UsageError
            A page would have to wait for a call in flight; then none is reclaimed.
        """
        addresses = addresses_in(where, self._pid, "where").tolist()
        each = [calls.swap_out(address) for address in addresses]
        if len(each) > 1 and self._system.calls:
            trial = self._system.clone()
            for call in each:
                run_now(trial, self._pid, call)
        return sum(bool(self._run(call)) for call in each)

    def same(self, region: Region) -> Region:
        """Return this task's view of a region of another task, such as its parent's.

        Parameters
        ----------
        region
            A region of any task.

        Returns
        -------
        Region
            The same addresses in the memory of this task.

        Raises
        ------
        UsageError
            ``region`` is no `pagemig.Region`.
        """
        if not isinstance(region, Region):
            raise UsageError(f"region is {region!r}; it must be a Region")
        return Region(self._pid, region.start, region.length)

    # its accesses -----------------------------------------------------------------------

    def touch(self, where: Where, *, write: bool = True, progress: Progress | None = None) -> AccessResult:
        """Access every page once, faulting it in.

        Parameters
        ----------
        where
            A region, or addresses, in the order of the accesses.
        write
            Whether to store (the byte that is there already) or to load.
        progress
            Called now and then during a long call with the pages done and the pages asked for. The
            machine refuses it, being busy. What it raises ends the call there, as Ctrl-C does; beside
            other calls in flight, or while events are recorded, the call stays in flight instead.

        Returns
        -------
        AccessResult
            Hits, faults, and the addresses that could not be accessed.

        Raises
        ------
        OutOfMemoryError
            A page found no frame. What happened until then stays.
        """
        return self._accesses(where, require_bool(write, "write"), progress)

    def access(
        self, addresses: Where, writes: npt.ArrayLike, *, progress: Progress | None = None
    ) -> AccessResult:
        """Play a batch of accesses, in order.

        Parameters
        ----------
        addresses
            Where, one entry an access; or a region.
        writes
            Whether each is a store: bool array of the same length, or one bool for all.
        progress
            As for `touch`.

        Returns
        -------
        AccessResult
            As of `touch`.

        Raises
        ------
        OutOfMemoryError
            As `touch`.
        """
        return self._accesses(addresses, writes, progress)

    def read(self, address: int, size: int) -> bytes:
        """Read bytes through the page tables, faulting as needed.

        Parameters
        ----------
        address
            Of the first byte.
        size
            How many bytes, at most 1 GiB.

        Returns
        -------
        bytes
            All of them.

        Raises
        ------
        OSError
            EFAULT, where a program would get SIGSEGV or SIGBUS.
        OutOfMemoryError
            A page found no frame.
        UsageError
            The machine has no contents, or the bytes are too many or leave user space.
        """
        return bytes(self._run(calls.read(address, size)))

    def write(self, address: int, data: bytes) -> None:
        """Write bytes through the page tables, faulting as needed.

        Parameters
        ----------
        address
            Of the first byte.
        data
            What to write.

        Raises
        ------
        OSError
            EFAULT, where a program would get SIGSEGV or SIGBUS; what lies before that is written.
        OutOfMemoryError
            A page found no frame; as before.
        UsageError
            The machine has no contents, or the bytes leave user space.
        """
        self._run(calls.write(address, data))

    def pin(self, address: int, *, write: bool = False) -> int | None:
        """Take a reference on the page at an address, as direct I/O does.

        While it is held the page cannot be moved.

        Parameters
        ----------
        address
            Any byte of the page.
        write
            Whether the page shall be written to, so that a shared one is copied first.

        Returns
        -------
        int or None
            The frame number; None if there is no page to be had: no mapping, one that does not permit the
            access, or no frame.
        """
        pfn: int | None = self._run(calls.pin(address, write=write))
        return pfn

    def unpin(self, pfn: int) -> None:
        """Drop a reference taken by `pin`, by any task, or by `pagemig.File.lookup`.

        Parameters
        ----------
        pfn
            The frame number that was returned.

        Raises
        ------
        UsageError
            The frame is not pinned.
        """
        self._run(calls.unpin(pfn))

    def _run(self, what: Any) -> Any:
        return run_now(self._system, self._pid, what)

    def _accesses(self, where: Where, writes: npt.ArrayLike, progress: Progress | None) -> AccessResult:
        request = access_request(where, writes, self._pid)
        what = partial(calls.access, where, writes)
        return accesses_of(self._system.do(self._pid, request, what, progress))


def _area_flags(flags: VmFlags | Iterable[VmFlags]) -> VmFlags:
    kept = [flags] if isinstance(flags, VmFlags) else listed(flags)
    if kept is None:
        raise UsageError(f"flags is {flags!r}; it must be VmFlags")
    for flag in kept:
        if not isinstance(flag, VmFlags):
            raise UsageError(f"flags holds {flag!r}; it must be VmFlags, such as VmFlags.LOCKED")
    extra = reduce(operator.or_, kept, VmFlags(0))
    if extra & BY_PROTECTION:
        raise UsageError(f"flags holds {extra & BY_PROTECTION!r}: say that with protection and shared")
    return extra
