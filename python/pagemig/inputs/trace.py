"""Traces: files that hold the accesses of a program.

Start with `read_trace`. It looks at what the file holds, whatever it is called, and returns a
`Trace`, from which accesses come in chunks of bounded memory, or all at once. What there is:
`trace_format`, and `other_output` for what is none. Below: `compressed`, `npz`, `accesses`.
Beside it: `writing`.

Left out: traces from a pipe.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from .. import _core
from ..arguments import integer
from ..errors import UsageError
from ..flags import GiB, KiB, MiB
from . import npz
from .accesses import Accesses, AccessKind
from .compressed import Compression, look, packing_within, pieces, regular_file
from .other_output import advice
from .trace_format import TraceFormat, expected, hint, recognised, require_format, unreadable

Progress: TypeAlias = Callable[[int, int], None]
"""Told, after each piece, how many bytes of the file have been read, and of how many."""

_LOOKED_AT = 64

_BEGINNING = 64 * KiB
"""Bytes, unpacked, that a format is known by: perf puts a long head before its first sample."""

# A chunk of text makes about one access in so many bytes.
_BYTES_AN_ACCESS = 16

_Columns: TypeAlias = tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint8], npt.NDArray[np.uint8]]


class Trace:
    """A trace on disk; made by `pagemig.inputs.read_trace`, which finds out what the arguments are.

    The file is opened by `chunks` and `columns`, as often as they are called.

    Parameters
    ----------
    path
        The file.
    format
        What it is written in.
    compression
        How it is packed.
    chunk
        Bytes of text, unpacked, that one chunk is made of.
    instructions
        Whether fetches of instructions count as accesses.
    """

    __slots__ = ("_chunk", "_instructions", "_read", "_size", "compression", "format", "path")

    def __init__(
        self, path: Path, format: TraceFormat, compression: Compression, *, chunk: int, instructions: bool
    ) -> None:
        self.path = path
        """The file."""
        self.format = format
        """What it is written in."""
        self.compression = compression
        """How it is packed."""
        self._chunk = chunk
        self._instructions = instructions
        self._size = path.stat().st_size
        self._read = 0

    @property
    def size(self) -> int:
        """Bytes of the file, as packed."""
        return self._size

    @property
    def share_read(self) -> float:
        """How much of the file the latest reading has read, 0.0 to 1.0."""
        return min(1.0, self._read / self._size) if self._size else 0.0

    def chunks(self, *, progress: Progress | None = None) -> Iterator[Accesses]:
        """Read the file from its beginning; memory stays bounded, however long it is.

        Parameters
        ----------
        progress
            Called after each piece with the bytes read so far and the bytes of the file.

        Yields
        ------
        Accesses
            The accesses of one piece of the file, in order; never empty.

        Raises
        ------
        UsageError
            With file and line: a line that is none of the format, a last line that is cut
            off, damaged or cut off packing, or a trace without any access. The chunks before
            it have been given out by then; `columns` gives all or nothing.
        """
        self._read = 0
        accesses = 0
        for chunk in self._pieces():
            if progress is not None:
                progress(self._read, self._size)
            if len(chunk):
                accesses += len(chunk)
                yield chunk
        if not accesses:
            raise UsageError(f"{self.path}: it holds no access to data; {hint(self.format)}")

    def _pieces(self) -> Iterator[Accesses]:
        """Read the file, one piece after the other; a piece may be empty."""
        if self.format is TraceFormat.NPZ:
            for chunk, done, total in npz.pieces_of(self.path, self._chunk // _BYTES_AN_ACCESS):
                self._read = self._size * done // total
                yield chunk if self._instructions else _data_only(chunk)
            return
        parser = _core.TraceParser(self.format.short_name, instructions=self._instructions)
        for piece, position in pieces(self.path, self.compression, self._chunk):
            chunk = self._taken(partial(parser.feed, piece))
            self._read = position
            yield chunk
        yield self._taken(parser.finish)

    def columns(self, *, progress: Progress | None = None) -> Accesses:
        """Read all of the file at once: 10 bytes of memory an access, some 24 at the peak.

        Parameters
        ----------
        progress
            Called after each piece with the bytes read so far and the bytes of the file.

        Returns
        -------
        Accesses
            All of them, in order.

        Raises
        ------
        UsageError
            As `chunks`.
        """
        read = list(self.chunks(progress=progress))
        return Accesses(
            np.concatenate([chunk.addresses for chunk in read]),
            np.concatenate([chunk.sizes for chunk in read]),
            np.concatenate([chunk.kinds for chunk in read]),
        )

    def _taken(self, parse: Callable[[], _Columns]) -> Accesses:
        """Return what the parser makes of a piece; its errors get the name of the file."""
        try:
            return Accesses(*parse())
        except UsageError as error:
            raise UsageError(f"{self.path}: {error}") from None

    def __repr__(self) -> str:
        return f"Trace({str(self.path)!r}, {self.format}, {self.compression})"


def _data_only(accesses: Accesses) -> Accesses:
    """Return accesses without the fetches of instructions."""
    kept = accesses.kinds != AccessKind.INSTRUCTION
    if kept.all():
        return accesses
    return Accesses(accesses.addresses[kept], accesses.sizes[kept], accesses.kinds[kept])


def read_trace(
    path: str | os.PathLike[str],
    *,
    format: TraceFormat | str | None = None,
    chunk: int = 4 * MiB,
    instructions: bool = False,
) -> Trace:
    """Find out what a trace is written in and how it is packed, by its content.

    Parameters
    ----------
    path
        A file; plain, or packed by gzip, xz or zstd.
    format
        What it is written in, if its content shall not decide: a `TraceFormat`, or its name in small
        letters: ``lackey``, ``perf``, ``damon``, ``dynamorio``, ``champsim``, ``csv``, ``npz``.
    chunk
        Bytes of text, unpacked, that one chunk is made of: 64 to 1 GiB.
    instructions
        Whether fetches of instructions count as accesses.

    Returns
    -------
    Trace
        Its handle; nothing but the beginning has been read.

    Raises
    ------
    UsageError
        The file is not there, is empty, is no trace of a known format, is damaged within its
        first bytes, or is not packed as its name says.
    """
    size = integer(chunk, "chunk", 64, GiB)
    if not isinstance(instructions, bool):
        raise UsageError(f"instructions is {instructions!r}; it must be True or False")
    meant = None if format is None else require_format(format)
    file = regular_file(path)
    is_archive = _begins_as_archive(file)
    if meant is not None and (meant is TraceFormat.NPZ) is not is_archive:
        raise UsageError(f"{file}: this is {'an' if is_archive else 'no'} archive; npz is, no other trace is")
    if is_archive:
        return Trace(file, TraceFormat.NPZ, Compression.PLAIN, chunk=size, instructions=instructions)
    compression = look(file)
    with contextlib.closing(pieces(file, compression, _BEGINNING)) as opened:
        beginning, _ = next(opened, (b"", 0))
    if not beginning:
        raise UsageError(f"{file}: there is nothing in it but {compression.value} packing")
    other = None if meant else advice(beginning)
    if other is not None:
        raise UsageError(f"{file}: line {other[0]}: not a trace: {other[1]}")
    found = meant or recognised(beginning)
    within = None if found is TraceFormat.CHAMPSIM else packing_within(beginning)
    if within is not None and compression is not Compression.PLAIN:
        raise UsageError(
            f"{file}: packed twice: in the {compression.value} packing there is {within}; unpack it once"
        )
    if reason := unreadable(beginning, found):
        raise UsageError(f"{file}: {reason}")
    if found is None:
        line = (beginning.splitlines() or [b""])[0][:_LOOKED_AT]
        raise UsageError(f"{file}: line 1: not a trace: found {line!r}; expected {expected()}")
    return Trace(file, found, compression, chunk=size, instructions=instructions)


def _begins_as_archive(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            return opened.read(4) == b"PK\x03\x04"
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from None
