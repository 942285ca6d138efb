"""A file of the simulated machine: its pages in the page cache, and what is on disk.

`File` is a handle: a machine and a number. Verbs run to their end at once; the same verbs as
calls that can be stopped and raced are in `pagemig.calls`. What a filesystem can do is data:
`pagemig.filesystems`. Files are mapped by `pagemig.Task.mmap`.

Source: data-model 5, supporting-paths 7 to 10. Files are never deleted.
"""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from . import calls
from .arguments import file_page, integer, read_only, require_bool
from .calls.value import run_now
from .errors import UsageError, said_by
from .filesystems import TMPFS, FileSystem
from .flags import BufferState, MappingFlags, Written
from .region import HasPid, Region
from .storage import Buffer
from .system import System


class File:
    """A file. Made by `pagemig.Machine.create_file`.

    Two handles are equal if they name the same file of the same machine. ``by`` of a verb is the
    task that does it and pays for its pages; by default the kernel does.

    Examples
    --------
    >>> import pagemig as pm
    >>> machine = pm.Machine(nodes=[pm.MiB], contents=True)
    >>> file = machine.create_file("notes", 0)
    >>> file.write(0, b"hello")
    5
    >>> file.read(1, 3), file.size, file.cached
    (b'ell', 5, 1)
    """

    __slots__ = ("_number", "_system")

    def __init__(self, system: System, number: int) -> None:
        self._system = system
        self._number = number

    # what it is --------------------------------------------------------------------------

    @property
    def number(self) -> int:
        """Its number on the machine: what the owner of its pages is called by."""
        return self._number

    @property
    def name(self) -> str:
        """What it is called; no two files of a machine are called the same."""
        return str(self._row[1])

    @property
    def size(self) -> int:
        """Bytes."""
        return int(self._row[2])

    @property
    def filesystem(self) -> FileSystem:
        """What its filesystem can do; shared anonymous memory is `pagemig.filesystems.TMPFS`."""
        return self._system.filesystems.get(self._number, TMPFS)

    @property
    def flags(self) -> MappingFlags:
        """What its address space remembers: errors of writes, whether it can be reclaimed."""
        return MappingFlags(self._row[4])

    @property
    def is_dirty(self) -> bool:
        """Whether it was marked as having dirty pages; nothing takes that mark away (supporting-paths 10)."""
        return bool(self._row[5])

    @property
    def cached(self) -> int:
        """Pages in the page cache."""
        return int(self._row[3])

    @property
    def areas(self) -> tuple[Region, ...]:
        """The areas that map it, in the order in which they are visited (``i_mmap``).

        One that is on its way out, of a task that exits or half way through a ``munmap``, is left out:
        no task has it any more.
        """
        core = self._system.core
        by_id = {
            vma: Region(pid, start, end - start)
            for pid in core.pids()
            if self._system.facts(pid).has_memory
            for start, end, _, _, _, vma, _ in core.vmas(pid)
        }
        return tuple(by_id[vma] for vma in core.file_areas(self._number) if vma in by_id)

    # its pages ---------------------------------------------------------------------------

    @property
    def pages(self) -> dict[str, npt.NDArray[Any]]:
        """Its pages in the page cache as columns, in ascending order.

        ``offset`` (uint64, in pages), ``pfn`` (uint32), ``dirty`` and ``writeback`` (bool: the
        tags of the tree, which are not the flags of the page).
        """
        columns = self._system.core.file_pages(self._number)
        return {name: read_only(column) for name, column in columns.items()}

    def pfn_of(self, page: int) -> int | None:
        """Tell which frame holds a page.

        Parameters
        ----------
        page
            Which of its pages, from 0.

        Returns
        -------
        int or None
            The frame number; None if the page is not in the page cache.
        """
        return self._system.core.file_page(self._number, file_page(page))

    def disk(self, page: int) -> bytes:
        """Tell what is on disk of a page.

        Parameters
        ----------
        page
            Which of its pages, from 0.

        Returns
        -------
        bytes
            4096 of them, zeroes where nothing was ever written.

        Raises
        ------
        UsageError
            The machine has no contents.
        """
        return self._system.core.file_disk(self._number, file_page(page))

    def buffers(self, page: int) -> tuple[Buffer, ...]:
        """Tell the buffers of a page.

        Parameters
        ----------
        page
            Which of its pages, from 0.

        Returns
        -------
        tuple
            A `pagemig.Buffer` each, in the order of their offsets; nothing for a page without, or one that
            is not in the page cache.
        """
        pfn = self.pfn_of(page)
        rows = [] if pfn is None else self._system.core.buffers(pfn)
        return tuple(Buffer(BufferState(state), count, block) for state, count, block in rows)

    def hold_buffer(self, page: int, at: int, *, lock: bool = False) -> None:
        """Take a reference on a buffer by hand, and its lock if ``lock``, as a filesystem might.

        Parameters
        ----------
        page
            Which page, which must be in the page cache and have buffers.
        at
            Which of its buffers, from 0.
        lock
            Whether to lock it too.

        Raises
        ------
        UsageError
            There is no such buffer, or it is locked already.
        """
        pfn, index = self._buffer(page, at)
        self._system.core.hold_buffer(pfn, index, require_bool(lock, "lock"))

    def release_buffer(self, page: int, at: int) -> None:
        """Undo `hold_buffer`, wherever the page is now: half way through a move, or cut off, too.

        Parameters
        ----------
        page
            Which page.
        at
            Which of its buffers, from 0.

        Raises
        ------
        UsageError
            The page has no such buffer, or it is not held by hand.
        """
        pfn = self._system.core.buffered_page(self._number, file_page(page))
        if pfn is None:
            raise UsageError(f"page {page} of {self.name!r} has no buffers")
        high = len(self._system.core.buffers(pfn)) - 1
        self._system.core.release_buffer(pfn, integer(at, "at", high=high))

    def _buffer(self, page: int, at: int) -> tuple[int, int]:
        pfn = self.pfn_of(page)
        if pfn is None:
            raise UsageError(f"page {page} of {self.name!r} is not in the page cache")
        buffers = len(self._system.core.buffers(pfn))
        if not buffers:
            raise UsageError(f"page {page} of {self.name!r} has no buffers")
        return pfn, integer(at, "at", high=buffers - 1)

    # what can be done with it ------------------------------------------------------------

    def read(self, offset: int, size: int, *, by: HasPid | None = None) -> bytes:
        """Read bytes through the page cache, up to the end of the file.

        Parameters
        ----------
        offset
            Of the first byte.
        size
            How many bytes, at most 1 GiB.
        by
            Who; by default the kernel.

        Returns
        -------
        bytes
            Those that there are; zeroes on a machine without contents.

        Raises
        ------
        OSError
            EIO: the disk failed; ENOMEM: no frame, or a refused charge.
        """
        return bytes(self._run(calls.read_file(self, offset, size), by))

    def write(
        self,
        offset: int,
        data: bytes | None = None,
        *,
        size: int | None = None,
        by: HasPid | None = None,
    ) -> int:
        """Write through the page cache; the file grows if it must.

        Parameters
        ----------
        offset
            Of the first byte.
        data
            What to write, at most 1 GiB.
        size
            Instead of ``data``: how many bytes that nobody looks at.
        by
            Who; by default the kernel.

        Returns
        -------
        int
            How many bytes were written.

        Raises
        ------
        OSError
            EIO: the disk failed; ENOMEM: no frame, or a refused charge.
        UsageError
            Both or neither of ``data`` and ``size`` are given, or the bytes are beyond where files end.
        """
        return int(self._run(calls.write_file(self, offset, data, size=size), by))

    def truncate(self, size: int, *, by: HasPid | None = None) -> None:
        """Change its size; pages beyond are unmapped and leave the page cache.

        Parameters
        ----------
        size
            Its new size, bytes, up to 2^51.
        by
            Who; by default the kernel.
        """
        self._run(calls.truncate(self, size), by)

    def lookup(self, page: int, *, by: HasPid | None = None) -> int | None:
        """Look a page up without locks and keep the reference, as ``read(2)`` does for a moment.

        The reference counts as a pin: drop it with `pagemig.Task.unpin`.

        Parameters
        ----------
        page
            Which of its pages, from 0.
        by
            Who; by default the kernel.

        Returns
        -------
        int or None
            The frame number; None if the page is not in the page cache.
        """
        pfn: int | None = self._run(calls.lookup(self, page), by)
        return pfn

    def writeback(self, page: int, *, by: HasPid | None = None) -> Written:
        """Write a page back, if it is dirty and not being written already.

        The page is under writeback until the transfer ends: when somebody waits for it, or by
        `pagemig.Machine.advance` or `pagemig.Machine.complete_io`.

        Parameters
        ----------
        page
            Which of its pages, from 0.
        by
            Who; by default the kernel.

        Returns
        -------
        Written
            What came of it; also where there was nothing to write.

        Raises
        ------
        OSError
            What the ``writepage`` method failed with; EINVAL if the filesystem has none.
        """
        return Written(self._run(calls.writeback(self, page), by))

    def invalidate(self, page: int, *, by: HasPid | None = None) -> bool:
        """Drop a page that is clean, unmapped and can be locked at once.

        Parameters
        ----------
        page
            Which of its pages, from 0.
        by
            Who; by default the kernel.

        Returns
        -------
        bool
            Whether it has gone.
        """
        return bool(self._run(calls.invalidate(self, page), by))

    # itself ------------------------------------------------------------------------------

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, File):
            return NotImplemented
        return self._system is other._system and self._number == other._number

    def __hash__(self) -> int:
        return hash((id(self._system), self._number))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle it with its machine."""
        return File, (self._system, self._number)

    def __repr__(self) -> str:
        return f"<File {self._number} {said_by(lambda: repr(self.name))}>"

    @property
    def _row(self) -> tuple[int, str, int, int, int, bool]:
        return self._system.core.files(self._number)[0]

    def _run(self, what: Any, by: HasPid | None) -> Any:
        return run_now(self._system, self._system.acting(by), what)
