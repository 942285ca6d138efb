"""Calls that read, write and cut files, and write their pages back.

A file is given as a `pagemig.File` or its number; values hold the number.

Neighbours: `pagemig.File`, whose verbs these are. Source: supporting-paths 7 to 10.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import _core
from ..arguments import file_page, file_size, integer
from ..call import HandleNumber
from ..errors import UsageError
from ..flags import FILE_BYTES_MAX, GiB, Written
from .value import HasNumber, Plain, refuse

if TYPE_CHECKING:
    from ..system import System

TRANSFER_MAX = GiB
"""Bytes of the longest read or write: the host must hold them."""

_FILE_MAX = (1 << 32) - 1


def file_number(file: HasNumber | int) -> int:
    """Return the number of a file; 0 would be the swap cache, which is none."""
    return HandleNumber.of(file, integer(getattr(file, "number", file), "file", 1, _FILE_MAX))


def _file_span(offset: int, size: int) -> tuple[int, int]:
    first, length = file_size(offset, "offset"), integer(size, "size", high=TRANSFER_MAX)
    if first + length > FILE_BYTES_MAX:
        raise UsageError(f"{length} bytes at {first:#x} end beyond {FILE_BYTES_MAX:#x}, where files end")
    return first, length


@dataclass(frozen=True, slots=True)
class ReadFile(Plain):
    """See `pagemig.File.read`."""

    file: int
    offset: int
    size: int

    def _request(self, system: System, pid: int) -> _core.Request:
        return _core.Request.read_file(self.file, self.offset, self.size)

    def _result(self, system: System, pid: int, outcome: Any) -> bytes:
        if isinstance(outcome, int):
            refuse(outcome, "read")
        count, data = outcome
        return bytes(data[:count])


def read_file(file: HasNumber | int, offset: int, size: int) -> ReadFile:
    """Read through the page cache; see `pagemig.File.read`.

    Parameters
    ----------
    file
        Which one, or its number.
    offset
        Of the first byte.
    size
        How many bytes, at most 1 GiB.

    Returns
    -------
    ReadFile
        The call. Its result is the bytes, up to the end of the file.

    Raises
    ------
    UsageError
        The bytes are too many, or beyond where files end.
    """
    return ReadFile(file_number(file), *_file_span(offset, size))


@dataclass(frozen=True, slots=True)
class WriteFile(Plain):
    """See `pagemig.File.write`."""

    file: int
    offset: int
    size: int
    data: bytes | None

    def _request(self, system: System, pid: int) -> _core.Request:
        data = self.data if system.contents else None
        return _core.Request.write_file(self.file, self.offset, self.size, data)

    def _result(self, system: System, pid: int, outcome: Any) -> int:
        refuse(outcome, "write")
        return int(outcome)


def write_file(
    file: HasNumber | int, offset: int, data: bytes | None = None, *, size: int | None = None
) -> WriteFile:
    """Write through the page cache; see `pagemig.File.write`.

    Parameters
    ----------
    file
        Which one, or its number.
    offset
        Of the first byte.
    data
        What to write, at most 1 GiB; copied.
    size
        Instead of ``data``: how many bytes that nobody looks at.

    Returns
    -------
    WriteFile
        The call. Its result is how many bytes were written.

    Raises
    ------
    UsageError
        Both or neither of ``data`` and ``size`` are given, or the bytes are too many, or beyond where
        files end.
    """
    if (data is None) == (size is None):
        raise UsageError("a write needs data, or size=... for bytes that nobody looks at: one of the two")
    if data is None:
        return WriteFile(file_number(file), *_file_span(offset, 0 if size is None else size), None)
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise UsageError(f"data is {type(data).__name__}; it must be bytes")
    kept = bytes(data)
    return WriteFile(file_number(file), *_file_span(offset, len(kept)), kept)


@dataclass(frozen=True, slots=True)
class Truncate(Plain):
    """See `pagemig.File.truncate`."""

    file: int
    size: int

    def _request(self, system: System, pid: int) -> _core.Request:
        return _core.Request.truncate(self.file, self.size)

    def _result(self, system: System, pid: int, outcome: Any) -> None:
        refuse(outcome, "truncate")


def truncate(file: HasNumber | int, size: int) -> Truncate:
    """Change the size of a file; see `pagemig.File.truncate`.

    Parameters
    ----------
    file
        Which one, or its number.
    size
        Its new size, bytes.

    Returns
    -------
    Truncate
        The call. It has no result.

    Raises
    ------
    UsageError
        The size is none that a file can have.
    """
    return Truncate(file_number(file), file_size(size))


@dataclass(frozen=True, slots=True)
class Lookup(Plain):
    """See `pagemig.File.lookup`."""

    file: int
    page: int

    def _request(self, system: System, pid: int) -> _core.Request:
        return _core.Request.lookup(self.file, self.page)

    def _result(self, system: System, pid: int, outcome: Any) -> int | None:
        return None if outcome is None else int(outcome)


def lookup(file: HasNumber | int, page: int) -> Lookup:
    """Look a page up without locks; see `pagemig.File.lookup`.

    Parameters
    ----------
    file
        Which one, or its number.
    page
        Which of its pages, from 0.

    Returns
    -------
    Lookup
        The call. Its result is the frame number, None if the page is not in the page cache.

    Raises
    ------
    UsageError
        The page is none that a file can have.
    """
    return Lookup(file_number(file), file_page(page))


@dataclass(frozen=True, slots=True)
class Writeback(Plain):
    """See `pagemig.File.writeback`."""

    file: int
    page: int

    def _request(self, system: System, pid: int) -> _core.Request:
        return _core.Request.writeback(self.file, self.page)

    def _result(self, system: System, pid: int, outcome: Any) -> Written:
        refuse(outcome, "writepage")
        return Written(outcome)


def writeback(file: HasNumber | int, page: int) -> Writeback:
    """Write a dirty page back; see `pagemig.File.writeback`.

    Parameters
    ----------
    file
        Which one, or its number.
    page
        Which of its pages, from 0.

    Returns
    -------
    Writeback
        The call. Its result is a `pagemig.Written`.

    Raises
    ------
    UsageError
        The page is none that a file can have.
    """
    return Writeback(file_number(file), file_page(page))


@dataclass(frozen=True, slots=True)
class Invalidate(Plain):
    """See `pagemig.File.invalidate`."""

    file: int
    page: int

    def _request(self, system: System, pid: int) -> _core.Request:
        return _core.Request.invalidate(self.file, self.page)

    def _result(self, system: System, pid: int, outcome: Any) -> bool:
        return bool(outcome)


def invalidate(file: HasNumber | int, page: int) -> Invalidate:
    """Drop a clean page that nothing maps; see `pagemig.File.invalidate`.

    Parameters
    ----------
    file
        Which one, or its number.
    page
        Which of its pages, from 0.

    Returns
    -------
    Invalidate
        The call. Its result is whether the page is gone, a bool.

    Raises
    ------
    UsageError
        The page is none that a file can have.
    """
    return Invalidate(file_number(file), file_page(page))


@dataclass(frozen=True, slots=True)
class CompleteIo(Plain):
    """See `pagemig.Machine.complete_io`."""

    def _request(self, system: System, pid: int) -> _core.Request:
        return _core.Request.complete_io()

    def _result(self, system: System, pid: int, outcome: Any) -> bool:
        return bool(outcome)


def complete_io() -> CompleteIo:
    """End the transfer that ends next; see `pagemig.Machine.complete_io`.

    Returns
    -------
    CompleteIo
        The call. Its result is whether there was one, a bool.
    """
    return CompleteIo()
