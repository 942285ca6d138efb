"""Accesses as numpy arrays in one file (``.npz``), read piece by piece.

``addresses`` must be there; ``sizes`` (1 by default) and ``kinds``, ``writes`` or ``reads`` (loads by
default) may be, also under the other names that columns of CSV have (`column_names`). Where several tell
the direction they must agree. Nothing in the file is run (no pickles), and no more memory is taken than
a piece needs, whatever the file says of itself. Start with `pieces_of`.

Source: numpy's description of its formats npy and npz. Below: `accesses`, `column_names`. Above: `trace`.
"""

from __future__ import annotations

import contextlib
import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from ..errors import UsageError
from .accesses import Accesses, AccessKind
from .column_names import Role, require_clear

_SIZE_MAX = 4096
_PIECE = 128
_DAMAGED = (
    OSError,
    EOFError,
    ValueError,
    KeyError,
    IndexError,
    OverflowError,
    RuntimeError,
    SyntaxError,
    TypeError,
    MemoryError,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    zipfile.BadZipFile,
)


class _Column:
    """One array of the file, of which the next entries are read."""

    def __init__(self, file: IO[bytes], name: str, path: Path) -> None:
        self.name = name
        self._file = file
        version = np.lib.format.read_magic(self._file)
        read_header = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = read_header(self._file)
        if len(shape) != 1:
            raise UsageError(f"{path}: {name} has the shape {shape}; it must have one dimension")
        if dtype.kind not in "iub":
            raise UsageError(f"{path}: {name} is of {dtype}; it must be of whole numbers")
        self.length: int = shape[0]
        self._dtype: np.dtype[Any] = dtype

    def next(self, count: int) -> npt.NDArray[Any]:
        """Return the next ``count`` entries."""
        wanted = count * self._dtype.itemsize
        data = self._file.read(wanted)
        while len(data) < wanted:
            more = self._file.read(wanted - len(data))
            if not more:
                raise EOFError(f"{self.name} is cut off")
            data += more
        return np.frombuffer(data, dtype=self._dtype)

    def is_over(self) -> bool:
        """Return whether nothing comes after the last entry; the checksum is compared here."""
        return not self._file.read(1)


def pieces_of(path: Path, count: int) -> Iterator[tuple[Accesses, int, int]]:
    """Read a file, at most ``count`` accesses at a time.

    Yields
    ------
    tuple
        Accesses, how many have been read, and of how many.

    Raises
    ------
    UsageError
        With the file, and the record where one is wrong (the first is 1): it is no archive, is
        damaged, has no ``addresses``, or arrays that do not go together.
    """
    try:
        with contextlib.ExitStack() as opened:
            archive = opened.enter_context(zipfile.ZipFile(path))
            names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
            roles = _roles(path, names)
            columns = {
                role: _Column(opened.enter_context(archive.open(f"{name}.npy")), name, path)
                for role, name in roles.items()
            }
            total = columns[Role.ADDRESS].length
            for column in columns.values():
                if column.length != total:
                    raise UsageError(f"{path}: {column.length} {column.name} for {total} addresses")
            yield from _read(path, columns, total, count)
    except _DAMAGED as error:
        raise UsageError(f"{path}: this npz cannot be read: {error}".splitlines()[0]) from None


def _roles(path: Path, names: list[str]) -> dict[Role, str]:
    """Return which array tells what."""
    try:
        roles = require_clear(dict.fromkeys(names))
    except UsageError as error:
        raise UsageError(f"{path}: among its arrays, {error}") from None
    if Role.ADDRESS not in roles:
        raise UsageError(f"{path}: a zip archive without addresses.npy is no trace")
    return roles


def _read(
    path: Path, columns: dict[Role, _Column], total: int, count: int
) -> Iterator[tuple[Accesses, int, int]]:
    done = 0
    while done < total:
        length = min(count, total - done)
        read = {name: column.next(length) for name, column in columns.items()}
        yield _accesses(path, read, done), done + length, total
        done += length
    for column in columns.values():
        if not column.is_over():
            raise UsageError(f"{path}: {column.name} goes on after its last entry")


def _accesses(path: Path, read: dict[Role, npt.NDArray[Any]], before: int) -> Accesses:
    """Check the entries of one piece and make them accesses."""
    addresses = read[Role.ADDRESS]
    sizes = read.get(Role.SIZE, np.ones(len(addresses), dtype=np.uint8))
    _refuse(path, before, addresses < 0, addresses, "an address", "0 or more")
    _refuse(path, before, (sizes < 1) | (sizes > _SIZE_MAX), sizes, "a size", f"1 to {_SIZE_MAX} bytes")
    first, bytes_each = addresses.astype(np.uint64), sizes.astype(np.uint64)
    beyond = first + bytes_each - np.uint64(1) < first
    _refuse(path, before, beyond, addresses, "an address", "within 64 bits with all its bytes")
    return _cut(first, bytes_each, _kinds(path, read, before))


def _kinds(path: Path, read: dict[Role, npt.NDArray[Any]], before: int) -> npt.NDArray[np.uint8]:
    """Return what each access did, by all arrays that tell."""
    writes, reads = read.get(Role.WRITE), read.get(Role.READ)
    for told, what in ((writes, "a write"), (reads, "a read")):
        if told is not None:
            _refuse(path, before, (told != 0) & (told != 1), told, what, "true or false")
    kinds = read.get(Role.KIND)
    if kinds is not None:
        _refuse(path, before, (kinds < 0) | (kinds > max(AccessKind)), kinds, "a kind", "0 to 3")
        is_write = (kinds == AccessKind.STORE) | (kinds == AccessKind.MODIFY)
        if writes is not None:
            _refuse(path, before, (writes != 0) != is_write, writes, "a write", "what its kind says")
        if reads is not None:
            wrong = (reads != 0) != (kinds != AccessKind.STORE)
            wrong &= kinds != AccessKind.INSTRUCTION
            _refuse(path, before, wrong, reads, "a read", "what its kind says")
        return kinds.astype(np.uint8)
    if reads is None:
        return np.zeros(len(read[Role.ADDRESS]), np.uint8) if writes is None else writes.astype(np.uint8)
    if writes is None:
        return np.where(reads, AccessKind.LOAD, AccessKind.STORE).astype(np.uint8)
    _refuse(path, before, (reads == 0) & (writes == 0), reads, "a read", "true where a write is false")
    both = (reads != 0) & (writes != 0)
    return np.where(both, AccessKind.MODIFY, writes).astype(np.uint8)


def _refuse(
    path: Path, before: int, is_wrong: npt.NDArray[np.bool_], values: npt.NDArray[Any], what: str, right: str
) -> None:
    wrong = np.flatnonzero(is_wrong)
    if wrong.size:
        at = int(wrong[0])
        raise UsageError(f"{path}: record {before + at + 1}: expected {what} of {right}, found {values[at]}")


def _cut(
    addresses: npt.NDArray[np.uint64], sizes: npt.NDArray[np.uint64], kinds: npt.NDArray[np.uint8]
) -> Accesses:
    """Return accesses whose sizes fit: what is wider than 255 bytes becomes neighbours."""
    wide = sizes > 255
    if not wide.any():
        return Accesses(addresses, sizes.astype(np.uint8), kinds)
    parts = np.where(wide, -(-sizes.astype(np.int64) // _PIECE), 1)
    origin = np.repeat(np.arange(len(sizes)), parts)
    step = np.arange(len(origin)) - np.repeat(np.cumsum(parts) - parts, parts)
    offsets = step.astype(np.uint64) * np.uint64(_PIECE)
    left = sizes[origin] - offsets
    pieces = np.where(wide[origin], np.minimum(left, np.uint64(_PIECE)), left)
    return Accesses(addresses[origin] + offsets, pieces.astype(np.uint8), kinds[origin])
