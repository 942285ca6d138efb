"""Filesystems as data: which methods an address space has, and how its device behaves.

Start with :class:`FileSystem`. The profiles of the data model stand below it.

Source: data model 5.1; what a write method may return, supporting paths 10.
Left out: method code, which is in ``writeback``, ``engine_methods`` and ``shmem``.
"""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class FileSystem:
    """The methods and the device of a kind of file.

    Parameters
    ----------
    migrate
        ``"fallback"`` (no method), ``"page"``, ``"buffers"``, ``"fail"``, or the
        number that a scripted method returns.
    write
        ``"never"`` (no method), ``"buffers"``, ``"page"`` or ``"swap"``.
    dirtying
        ``"buffers"``, ``"nobuffers"``, or ``"never"`` for no-writeback.
    release
        ``"buffers"``, or ``"never"`` where there is no method.
    buffer_bytes
        Size of the buffers that reading attaches, 0 for none.
    write_script
        What the next writes meet: ``"well"``, ``"activate"``, ``"io-error"``, or an errno.
    failing_reads
        How many reads fail before the first that works.
    io_ticks
        How long a transfer takes.
    area_migrate
        What the ``migrate`` method of the areas' ops returns, None for no method.
    """

    name: str
    migrate: str | int = "fallback"
    write: str = "page"
    dirtying: str = "nobuffers"
    release: str = "never"
    accounts_dirty: bool = True
    swap_backed: bool = False
    unevictable: bool = False
    buffer_bytes: int = 0
    page_mkwrite: bool = False
    congested: bool = False
    write_script: tuple[str | int, ...] = ()
    failing_reads: int = 0
    io_ticks: int = 1
    area_migrate: int | None = None
    below_policy_zone: bool = False

    @property
    def has_buffers(self) -> bool:
        """Whether reading a page attaches buffers."""
        return self.buffer_bytes > 0

    @property
    def has_disk(self) -> bool:
        """Whether pages are read from a device; otherwise absent ones are zero."""
        return self.write != "swap" and not self.unevictable


EXT = FileSystem("ext", "buffers", "buffers", "buffers", "buffers", buffer_bytes=1024)
BLOCKDEV = FileSystem("blockdev", "fallback", "buffers", "buffers", "buffers", buffer_bytes=1024)
TMPFS = FileSystem("tmpfs", "page", "swap", "never", accounts_dirty=False, swap_backed=True)
RAMFS = FileSystem("ramfs", "fallback", "never", "never", accounts_dirty=False, unevictable=True)
SWAP = FileSystem("swap", "page", "swap", "nobuffers", accounts_dirty=False, swap_backed=True)
FAILING = FileSystem("failing", "fail")
READONLY = FileSystem("readonly", "fallback", "never")
PLAIN = FileSystem("plain")
