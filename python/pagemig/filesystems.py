"""Kinds of files: what a filesystem can do with its pages, as data.

`EXT`, `BLOCKDEV`, `TMPFS`, `RAMFS`, `READONLY` and `FAILING` are the kinds that come with the
package. `FileSystem` makes others; ``dataclasses.replace(EXT, io_ticks=None)`` makes one that
differs in one thing, here a disk that never answers.

Source: data-model 5.1. The methods themselves are the core's; a scripted one is a number or a
list of outcomes here.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

from .arguments import integer, listed
from .errors import UsageError
from .flags import PAGE_SIZE

_ERRNO_MAX = 4095
_INT_MAX = (1 << 31) - 1


class MigrateMethod(enum.Enum):
    """The ``migratepage`` method of an address space (migration 8 to 12)."""

    FALLBACK = "fallback"
    """None: clean pages are moved, dirty ones written first."""
    PAGE = "page"
    """``migrate_page``."""
    BUFFERS = "buffers"
    """``buffer_migrate_page``."""
    FAIL = "fail"
    """``fail_migrate_page``."""


class WriteMethod(enum.Enum):
    """The ``writepage`` method."""

    NEVER = "never"
    """None."""
    BUFFERS = "buffers"
    """Buffer by buffer."""
    PAGE = "page"
    """The whole page."""
    SWAP = "swap"
    """To swap, as shmem does."""


class DirtyMethod(enum.Enum):
    """The ``set_page_dirty`` method (supporting-paths 10)."""

    BUFFERS = "buffers"
    """Every buffer becomes dirty too."""
    NO_BUFFERS = "nobuffers"
    """The page and its tag."""
    NO_WRITEBACK = "never"
    """The bare flag: nothing is ever written back."""


class ReleaseMethod(enum.Enum):
    """The ``releasepage`` method."""

    BUFFERS = "buffers"
    """None: ``try_to_free_buffers``."""
    NEVER = "never"
    """One that refuses always."""


class WriteOutcome(enum.Enum):
    """How one call of ``writepage`` goes."""

    WELL = "well"
    ACTIVATE = "activate"
    """``AOP_WRITEPAGE_ACTIVATE``: the page is dirty again, and still locked."""
    IO_ERROR = "io-error"
    """The write is submitted and ends in an I/O error."""


@dataclass(frozen=True, slots=True)
class FileSystem:
    """A kind of files.

    Parameters
    ----------
    name
        What to call it.
    migrate
        How its pages move; a number, not 0, for a method that does nothing and returns that.
    write, dirtying, release
        Its other methods.
    accounts_dirty
        Whether dirty pages are counted (``nr_dirty``), so that the first write to a page of a
        shared mapping is noticed.
    swap_backed
        Whether pages belong to the anonymous family of LRU lists.
    unevictable
        Whether pages are never reclaimed.
    buffer_bytes
        Bytes of a buffer: a power of two from 512 to 4096; 0 for a filesystem without buffers.
    page_mkwrite
        Whether its areas have a ``page_mkwrite`` method.
    congested
        Whether the device behind it has more to do than it can.
    write_script
        How the first calls of ``writepage`` on each file go: `WriteOutcome` or an errno, positive,
        with which the method fails. Later calls go well.
    failing_reads
        How many reads of each file's pages fail before they go well.
    io_ticks
        Ticks that a transfer takes; None: it never ends.
    area_migrate
        What the ``migrate`` method of its areas returns (``migrate_vmas``); None: there is none.
    below_policy_zone
        Whether pages come from a zone type below ``policy_zone``, so that its areas cannot be
        migrated.

    Raises
    ------
    UsageError
        A field is not of its kind, or two contradict each other.

    Examples
    --------
    >>> slow = FileSystem("slow", io_ticks=500)
    >>> slow.migrate, slow.buffer_bytes
    (<MigrateMethod.FALLBACK: 'fallback'>, 0)
    >>> FileSystem("broken", buffer_bytes=1000)
    Traceback (most recent call last):
        ...
    pagemig.errors.UsageError: buffer_bytes is 1000; it must be 0, or a power of two from 512 to 4096
    """

    name: str
    migrate: MigrateMethod | int = MigrateMethod.FALLBACK
    write: WriteMethod = WriteMethod.PAGE
    dirtying: DirtyMethod = DirtyMethod.NO_BUFFERS
    release: ReleaseMethod = ReleaseMethod.BUFFERS
    accounts_dirty: bool = True
    swap_backed: bool = False
    unevictable: bool = False
    buffer_bytes: int = 0
    page_mkwrite: bool = False
    congested: bool = False
    write_script: Iterable[WriteOutcome | int] = ()
    failing_reads: int = 0
    io_ticks: int | None = 1
    area_migrate: int | None = None
    below_policy_zone: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name or not self.name.isprintable():
            raise UsageError(f"name of a filesystem is {self.name!r}; it must be printable text")
        for field, kind in _METHODS.items():
            _require_member(getattr(self, field), kind, field)
        for field in _SWITCHES:
            if not isinstance(getattr(self, field), bool):
                raise UsageError(f"{field} is {getattr(self, field)!r}; it must be True or False")
        numbers = {
            "migrate": _migrate_method(self.migrate),
            "buffer_bytes": _buffer_bytes(self.buffer_bytes),
            "write_script": _script(self.write_script),
            "failing_reads": integer(self.failing_reads, "failing_reads", high=(1 << 32) - 1),
            "io_ticks": None if self.io_ticks is None else integer(self.io_ticks, "io_ticks"),
            "area_migrate": (
                None
                if self.area_migrate is None
                else integer(self.area_migrate, "area_migrate", -_INT_MAX, _INT_MAX)
            ),
        }
        for field, value in numbers.items():
            object.__setattr__(self, field, value)
        self._require_sense()

    def _require_sense(self) -> None:
        """Refuse combinations that no filesystem can have."""
        if self.write is WriteMethod.BUFFERS and not self.buffer_bytes:
            raise UsageError("WriteMethod.BUFFERS needs buffers: give buffer_bytes, such as 1024")
        if self.write is WriteMethod.SWAP and not self.swap_backed:
            raise UsageError("WriteMethod.SWAP is for shmem: give swap_backed=True")
        if self.migrate is MigrateMethod.PAGE and self.buffer_bytes:
            raise UsageError(
                "MigrateMethod.PAGE leaves buffers behind: give MigrateMethod.BUFFERS, or buffer_bytes=0"
            )
        if self.accounts_dirty and self.dirtying is DirtyMethod.NO_WRITEBACK:
            raise UsageError(
                "DirtyMethod.NO_WRITEBACK counts no dirty page: give accounts_dirty=False, "
                "or DirtyMethod.NO_BUFFERS"
            )

    @property
    def for_core(self) -> dict[str, Any]:
        """The same as the core takes it."""
        row = {field.name: getattr(self, field.name) for field in fields(self)}
        for field in ("migrate", "write", "dirtying", "release"):
            row[field] = _plain(row[field])
        row["write_script"] = [_plain(outcome) for outcome in row["write_script"]]
        return row


_METHODS: dict[str, type[enum.Enum]] = {
    "write": WriteMethod,
    "dirtying": DirtyMethod,
    "release": ReleaseMethod,
}
_SWITCHES = ("accounts_dirty", "swap_backed", "unevictable", "page_mkwrite", "congested", "below_policy_zone")


def _plain(value: enum.Enum | int) -> Any:
    return value.value if isinstance(value, enum.Enum) else value


def _require_member(value: object, kind: type[enum.Enum], field: str) -> None:
    if not isinstance(value, kind):
        members = ", ".join(member.name for member in kind)
        raise UsageError(f"{field} is {value!r}; it must be one of {kind.__name__}: {members}")


def _migrate_method(value: object) -> MigrateMethod | int:
    if isinstance(value, MigrateMethod):
        return value
    if isinstance(value, (enum.Enum, str)):
        _require_member(value, MigrateMethod, "migrate")
    number = integer(value, "migrate", -_INT_MAX, _INT_MAX)
    if number == 0:
        raise UsageError("migrate is 0; a method that moves nothing cannot succeed: give an errno, negative")
    return number


def _buffer_bytes(value: object) -> int:
    number = integer(value, "buffer_bytes", -_INT_MAX, _INT_MAX)
    if number and (not 512 <= number <= PAGE_SIZE or number & (number - 1)):
        raise UsageError(f"buffer_bytes is {number}; it must be 0, or a power of two from 512 to {PAGE_SIZE}")
    return number


def _script(outcomes: object) -> tuple[WriteOutcome | int, ...]:
    items = listed(outcomes)
    if items is None:
        raise UsageError(f"write_script is {outcomes!r}; it must be a list of WriteOutcome and errnos")
    return tuple(map(_outcome, items))


def _outcome(value: object) -> WriteOutcome | int:
    if isinstance(value, WriteOutcome):
        return value
    if isinstance(value, (enum.Enum, str)):
        _require_member(value, WriteOutcome, "an outcome of write_script")
    return integer(value, "an errno of write_script", 1, _ERRNO_MAX)


_BUFFERED: dict[str, Any] = {
    "write": WriteMethod.BUFFERS,
    "dirtying": DirtyMethod.BUFFERS,
    "buffer_bytes": 1024,
}

EXT = FileSystem("ext", MigrateMethod.BUFFERS, **_BUFFERED)
"""A journalling filesystem: four buffers a page, which move with it."""

BLOCKDEV = FileSystem("blockdev", MigrateMethod.FALLBACK, **_BUFFERED)
"""A block device: buffers, but no migrate method, so dirty pages are written first."""

TMPFS = FileSystem(
    "tmpfs",
    MigrateMethod.PAGE,
    WriteMethod.SWAP,
    DirtyMethod.NO_WRITEBACK,
    accounts_dirty=False,
    swap_backed=True,
)
"""shmem: pages that go to swap; also what shared anonymous memory is."""

RAMFS = FileSystem(
    "ramfs",
    MigrateMethod.FALLBACK,
    WriteMethod.NEVER,
    DirtyMethod.NO_WRITEBACK,
    accounts_dirty=False,
    unevictable=True,
)
"""Pages that are nowhere else and never leave memory."""

READONLY = FileSystem("readonly", MigrateMethod.FALLBACK, WriteMethod.NEVER)
"""Neither a migrate nor a write method: a dirty page cannot move (Q30)."""

FAILING = FileSystem("failing", MigrateMethod.FAIL)
"""Pages that refuse to move, such as metadata of some filesystems."""

__all__ = [
    "BLOCKDEV",
    "EXT",
    "FAILING",
    "RAMFS",
    "READONLY",
    "TMPFS",
    "DirtyMethod",
    "FileSystem",
    "MigrateMethod",
    "ReleaseMethod",
    "WriteMethod",
    "WriteOutcome",
]
