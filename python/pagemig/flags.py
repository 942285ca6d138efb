"""The numbers that Linux gives to things, by name.

Sizes, flag words and small enumerations, all as in ``docs/spec/data-model.md``. Nothing here
does anything. A name without its prefix is the kernel's name: `PageFlags.DIRTY` is
``PG_dirty``, `VmFlags.LOCKED` is ``VM_LOCKED``.
"""

from __future__ import annotations

import enum
from typing import Final

KiB: Final = 1 << 10
MiB: Final = 1 << 20
GiB: Final = 1 << 30

PAGE_SIZE: Final = 4096
"""Bytes in a page."""

FILE_PAGES_MAX: Final = 1 << 39
"""Pages that a file may reach to: their index has 39 bits."""

FILE_BYTES_MAX: Final = FILE_PAGES_MAX * PAGE_SIZE
"""Bytes that a file may reach to."""

USER_END: Final = (1 << 47) - PAGE_SIZE
"""First address beyond user space."""

OFFLINE_TICKS: Final = 120_000
"""After so many ticks an operator gives up by default: 120 s."""

NODES_MAX: Final = 64
"""Node ids are below this number (``MAX_NUMNODES``)."""

MPOL_MF_STRICT: Final = 1
MPOL_MF_MOVE: Final = 2
MPOL_MF_MOVE_ALL: Final = 4

MPOL_F_STATIC_NODES: Final = 0x8000
MPOL_F_RELATIVE_NODES: Final = 0x4000

MPOL_F_NODE: Final = 1
MPOL_F_ADDR: Final = 2
MPOL_F_MEMS_ALLOWED: Final = 4


class Protection(enum.IntFlag):
    """What a mapping permits."""

    NONE = 0
    READ = 1
    WRITE = 2
    EXEC = 4


class VmFlags(enum.IntFlag):
    """Flags of a virtual memory area (data-model 6.1)."""

    READ = 0x1
    WRITE = 0x2
    EXEC = 0x4
    SHARED = 0x8
    MAYREAD = 0x10
    MAYWRITE = 0x20
    MAYEXEC = 0x40
    MAYSHARE = 0x80
    GROWSDOWN = 0x100
    PFNMAP = 0x400
    LOCKED = 0x2000
    IO = 0x4000
    SEQ_READ = 0x8000
    RAND_READ = 0x10000
    DONTCOPY = 0x20000
    DONTEXPAND = 0x40000
    RESERVED = 0x80000
    HUGETLB = 0x400000
    NONLINEAR = 0x800000
    INSERTPAGE = 0x2000000
    MIXEDMAP = 0x10000000
    MERGEABLE = 0x80000000


class PageFlags(enum.IntFlag):
    """Flags of a page frame (data-model 2.2)."""

    LOCKED = 1 << 0
    ERROR = 1 << 1
    REFERENCED = 1 << 2
    UPTODATE = 1 << 3
    DIRTY = 1 << 4
    LRU = 1 << 5
    ACTIVE = 1 << 6
    SLAB = 1 << 7
    CHECKED = 1 << 8
    ARCH_1 = 1 << 9
    RESERVED = 1 << 10
    PRIVATE = 1 << 11
    PRIVATE_2 = 1 << 12
    WRITEBACK = 1 << 13
    HEAD = 1 << 14
    TAIL = 1 << 15
    SWAPCACHE = 1 << 16
    MAPPEDTODISK = 1 << 17
    RECLAIM = 1 << 18
    BUDDY = 1 << 19
    SWAPBACKED = 1 << 20
    UNEVICTABLE = 1 << 21
    MLOCKED = 1 << 22
    UNCACHED = 1 << 23
    HWPOISON = 1 << 24


class ZoneKind(enum.IntEnum):
    """Zone types in order of preference value (data-model 1.2)."""

    DMA = 0
    DMA32 = 1
    NORMAL = 2
    MOVABLE = 3


class LruList(enum.IntEnum):
    """The five lists of a zone (data-model 4.1)."""

    INACTIVE_ANON = 0
    ACTIVE_ANON = 1
    INACTIVE_FILE = 2
    ACTIVE_FILE = 3
    UNEVICTABLE = 4


class OwnerKind(enum.IntEnum):
    """What the ``mapping`` of a page names."""

    ANON = 1
    FILE = 2
    KSM = 3


class EntryKind(enum.IntEnum):
    """What a page-table entry is (data-model 6.3, 6.4)."""

    NONE = 0
    PRESENT = 1
    SWAP = 2
    MIGRATION = 3


class PageFamily(enum.Enum):
    """Which of its two families of LRU lists a page is on."""

    ANON = "anonymous memory and shmem: what goes to swap"
    FILE = "pages of all other files"


class MappingFlags(enum.IntFlag):
    """What an address space remembers of its pages (data-model 5.1)."""

    NONE = 0
    EIO = 1
    """A write failed."""
    ENOSPC = 2
    """A write found no room."""
    UNEVICTABLE = 4
    """Pages are never reclaimed."""


class BufferState(enum.IntFlag):
    """What is known of one block of a page (data-model 5.3)."""

    NONE = 0
    UPTODATE = 1 << 0
    DIRTY = 1 << 1
    LOCK = 1 << 2
    REQ = 1 << 3
    MAPPED = 1 << 4
    NEW = 1 << 5
    ASYNC_READ = 1 << 6
    ASYNC_WRITE = 1 << 7
    DELAY = 1 << 8
    WRITE_EIO = 1 << 9
    UNWRITTEN = 1 << 10


class IoDirection(enum.Enum):
    """Which way a transfer goes."""

    READ = "read"
    """Into the page, which the disk keeps locked meanwhile."""
    WRITE = "write"
    """Out of the page, which is under writeback meanwhile."""


class Written(enum.IntEnum):
    """What a request to write a page back came to (supporting-paths 10)."""

    STARTED = 0
    """``writepage`` was called and took the page."""
    NOTHING = 1
    """There was nothing to write: the page is not there, clean, or under writeback."""
    ACTIVATE = 0x80000
    """``AOP_WRITEPAGE_ACTIVATE``: the filesystem would not, and the page is dirty again."""


class Advice(enum.IntEnum):
    """What ``madvise`` is told about a range."""

    DONTNEED = 4
    """Its pages may go."""
    DONTFORK = 10
    """Children do not get it."""
    DOFORK = 11
    """Children do get it."""
    MERGEABLE = 12
    """KSM may merge its pages."""
    UNMERGEABLE = 13
    """KSM may not, and what is merged is taken apart."""


class BlockState(enum.IntEnum):
    """What a pageblock is for (data-model 1.2)."""

    MOVABLE = 2
    ISOLATED = 4
    """Its free frames cannot be allocated: it is about to go offline."""
    OFFLINE = 5
    """It is out of the allocator."""


class RecordFlags(enum.IntFlag):
    """What the memory cgroups' record of a frame says (data-model 9)."""

    NONE = 0
    USED = 1
    """Charged."""
    CACHE = 2
    """Charged as page cache."""
    FILE_MAPPED = 4
    ACCT_LRU = 8


class Capability(enum.IntFlag):
    """Privileges of a task. The model asks for one only."""

    NONE = 0
    SYS_NICE = 1 << 23
    ALL = (1 << 34) - 1


class MoveScope(enum.Enum):
    """Which pages a caller may move."""

    EXCLUSIVE = MPOL_MF_MOVE
    """Only pages that nothing else maps."""
    SHARED = MPOL_MF_MOVE_ALL
    """Shared pages too; needs `Capability.SYS_NICE`."""


class PolicyMode(enum.IntEnum):
    """Where a memory policy puts new pages (data-model 10)."""

    DEFAULT = 0
    PREFERRED = 1
    BIND = 2
    INTERLEAVE = 3


class MbindFlags(enum.IntFlag):
    """What ``mbind`` does about pages that are there already."""

    NONE = 0
    STRICT = MPOL_MF_STRICT
    MOVE = MPOL_MF_MOVE
    MOVE_ALL = MPOL_MF_MOVE_ALL


class Profile(enum.Enum):
    """Which of the modelled behaviours is wanted (spec README, section 5)."""

    EXACT = "as Linux 2.6.34, defects included"
    REPAIRED = "with the quirks that are plain defects turned off"


class Granularity(enum.Enum):
    """Where a call that is stepped may stop (concurrency 1)."""

    FINE = "at every yield point, also while a spinlock is held"
    COARSE = "only where no spinlock is held"
