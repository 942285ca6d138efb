"""Files as they were written: plain, or packed by gzip, xz or zstd.

How a file is packed is read off its first bytes. Its name may be silent about it, but must
not contradict. Start with `look`; `pieces` then reads the file in bounded memory and tells
where it is. Above: `trace` and `space_file`.

Unpacking takes up to 1 GiB of memory for what a file asks to be remembered (``zstd --long=30``); more
is refused. zstd is Python's own from 3.14 on, and the extra ``pagemig[zstd]`` before. Left out: bzip2,
.lzma and archives, which are recognised and refused by name, and what is packed twice.
"""

from __future__ import annotations

import enum
import importlib
import lzma
import os
import re
import zlib
from collections.abc import Callable, Generator, Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from ..arguments import host_path
from ..errors import UsageError
from ..flags import GiB, KiB

_IN_BYTES = 256 * KiB
_MEMORY_MAX = GiB
_WINDOW_LOG_MAX = 30
_LOOKED_AT = 16


class Compression(enum.Enum):
    """How a file is packed."""

    PLAIN = "plain"
    GZIP = "gzip"
    XZ = "xz"
    ZSTD = "zstd"


_MAGIC = {
    b"\x1f\x8b": Compression.GZIP,
    b"\xfd7zXZ\x00": Compression.XZ,
    b"\x28\xb5\x2f\xfd": Compression.ZSTD,
}
_SUFFIX = {
    ".gz": Compression.GZIP,
    ".xz": Compression.XZ,
    ".zst": Compression.ZSTD,
    ".zstd": Compression.ZSTD,
}
_UNKNOWN = {
    b"BZh": "bzip2",
    b"\x04\x22\x4d\x18": "lz4",
    b"PK\x03\x04": "zip",
    b"7z\xbc\xaf\x27\x1c": "7z",
}
# What zstd passes over: ``pzstd`` puts it before each frame.
_SKIPPED_FRAME = re.compile(rb"[\x50-\x5f]\x2a\x4d\x18", re.DOTALL)
# As ``xz --format=lzma`` writes it: the size is not told.
_LZMA = re.compile(rb"\x5d\x00\x00..\xff{8}", re.DOTALL)
_TOO_MUCH_MEMORY = re.compile("too much memory|[Mm]emory usage limit")


class _Unpacker(Protocol):
    """One packed stream, as `zlib` and `lzma` unpack it."""

    @property
    def eof(self) -> bool: ...
    @property
    def rest(self) -> bytes:
        """What follows the stream, once its end was seen."""

    @property
    def is_hungry(self) -> bool:
        """Whether it has used up what it was given."""

    def feed(self, data: bytes, most: int) -> bytes: ...


class _Gzip:
    def __init__(self) -> None:
        self._stream = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._stream.eof

    @property
    def rest(self) -> bytes:
        return self._stream.unused_data

    @property
    def is_hungry(self) -> bool:
        return not self._stream.unconsumed_tail

    def feed(self, data: bytes, most: int) -> bytes:
        return self._stream.decompress(self._stream.unconsumed_tail + data, most)


class _Xz:
    def __init__(self) -> None:
        self._stream = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY_MAX)

    @property
    def eof(self) -> bool:
        return self._stream.eof

    @property
    def rest(self) -> bytes:
        return self._stream.unused_data

    @property
    def is_hungry(self) -> bool:
        return self._stream.needs_input

    def feed(self, data: bytes, most: int) -> bytes:
        return self._stream.decompress(data, most)


class _Zstd:
    def __init__(self, zstd: Any) -> None:
        limit = {zstd.DecompressionParameter.window_log_max: _WINDOW_LOG_MAX}
        self._stream = zstd.ZstdDecompressor(options=limit)

    @property
    def eof(self) -> bool:
        return bool(self._stream.eof)

    @property
    def rest(self) -> bytes:
        return bytes(self._stream.unused_data)

    @property
    def is_hungry(self) -> bool:
        return bool(self._stream.needs_input)

    def feed(self, data: bytes, most: int) -> bytes:
        return bytes(self._stream.decompress(data, most))


def zstd_module(path: str | os.PathLike[str]) -> Any:
    """Return Python's module for zstd, or its twin for older Pythons.

    Raises
    ------
    UsageError
        There is none: with the file that is concerned, and what to install.
    """
    for name in ("compression.zstd", "backports.zstd"):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise UsageError(f"{os.fspath(path)}: zstd needs pip install 'pagemig[zstd]'; or use gzip or xz instead")


def regular_file(path: str | os.PathLike[str]) -> Path:
    """Return ``path`` if it names a file that can be read from its beginning to its end.

    Raises
    ------
    UsageError
        It names nothing, a directory, a pipe or a device.
    """
    file = host_path(path)
    try:
        is_file, exists = file.is_file(), file.exists()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    if not exists:
        raise UsageError(f"{file}: there is no such file")
    if not is_file:
        raise UsageError(f"{file}: this is not a regular file; a trace or a capture is")
    return file


def look(path: Path) -> Compression:
    """Return how a file is packed, by its content.

    Raises
    ------
    UsageError
        The file is empty, cannot be read, is packed in a way that is not known here, or its
        name says that it is packed in another way.
    """
    with _opened(path) as raw:
        try:
            beginning = raw.read(_LOOKED_AT)
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror or error}") from None
    if not beginning:
        raise UsageError(f"{path}: the file is empty")
    is_lzma = path.suffix.lower() == ".lzma" and beginning.startswith(b"\x5d\x00\x00")
    unknown = "lzma" if is_lzma else _unknown_packing(beginning)
    if unknown is not None:
        raise UsageError(f"{path}: packed with {unknown}; unpack it first, or pack it with gzip, xz or zstd")
    found = _known_packing(beginning)
    named = _SUFFIX.get(path.suffix.lower(), found)
    if named is not found:
        raise UsageError(
            f"{path}: not {named.value} as its name says; it begins with {beginning[:8]!r}, "
            f"which is {found.value}: rename it"
        )
    return found


def packing_within(beginning: bytes) -> str | None:
    """Return how something that begins so is packed, None if it is plain.

    >>> packing_within(bytes([31, 139, 8])), packing_within(b" L 1fff000650,8")
    ('gzip', None)
    """
    known = _known_packing(beginning)
    return known.value if known is not Compression.PLAIN else _unknown_packing(beginning)


def _known_packing(beginning: bytes) -> Compression:
    if _SKIPPED_FRAME.match(beginning):
        return Compression.ZSTD
    return next((kind for magic, kind in _MAGIC.items() if beginning.startswith(magic)), Compression.PLAIN)


def _unknown_packing(beginning: bytes) -> str | None:
    if _LZMA.match(beginning):
        return "lzma"
    return next((name for magic, name in _UNKNOWN.items() if beginning.startswith(magic)), None)


def pieces(path: Path, compression: Compression, most: int) -> Generator[tuple[bytes, int], None, None]:
    """Read a file, unpacked, in pieces.

    Parameters
    ----------
    path
        A regular file.
    compression
        What `look` found.
    most
        Bytes of a piece at most, unpacked.

    Yields
    ------
    tuple
        A piece, never empty, and how many bytes of the file have been read for it.

    Raises
    ------
    UsageError
        The file cannot be read, is damaged, or is cut off.
    """
    errors: tuple[type[Exception], ...] = (zlib.error, lzma.LZMAError)
    unpacker: Callable[[], _Unpacker] = _Gzip if compression is Compression.GZIP else _Xz
    if compression is Compression.ZSTD:
        zstd = zstd_module(path)
        errors, unpacker = (zstd.ZstdError,), partial(_Zstd, zstd)
    with _opened(path) as raw:
        try:
            if compression is Compression.PLAIN:
                while piece := raw.read(most):
                    yield piece, raw.tell()
            else:
                for piece in _unpacked(raw, unpacker, most):
                    yield piece, raw.tell()
        except EOFError:
            raise UsageError(
                f"{path}: the {compression.value} data is cut off after {raw.tell()} bytes"
            ) from None
        except errors as error:
            if _TOO_MUCH_MEMORY.search(str(error)):
                raise UsageError(
                    f"{path}: unpacking this {compression.value} data takes more than 1 GiB of memory; "
                    "unpack it first, or pack it without an option such as --long=31"
                ) from None
            raise UsageError(
                f"{path}: the {compression.value} data is damaged before byte {raw.tell()}: {error}"
            ) from None
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror or error}") from None


def _unpacked(raw: BinaryIO, unpacker: Callable[[], _Unpacker], most: int) -> Iterator[bytes]:
    """Unpack the streams of a file, one after the other, as ``gzip`` and ``xz`` do."""
    data = raw.read(_IN_BYTES)
    while data:
        stream = unpacker()
        while not stream.eof:
            if not data and stream.is_hungry:
                data = raw.read(_IN_BYTES)
                is_over = not data
            else:
                is_over = False
            piece = stream.feed(data, most)
            data = b""
            if piece:
                yield piece
            elif is_over and not stream.eof:
                raise EOFError
        data = stream.rest
        # Streams may be padded with zeros.
        while not data.lstrip(b"\0"):
            data = raw.read(_IN_BYTES)
            if not data:
                return
        data = data.lstrip(b"\0")


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
