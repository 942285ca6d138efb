"""A whole machine as bytes, and back: the core, what Python keeps beside it, calls in flight.

Start with `keep` and `restore`. The bytes are a magic, a version, a checksum of all that follows,
two lengths, what is beside the core (`pagemig.plain_values`), and the core's own snapshot, which
has a magic, a version and a checksum too. All numbers are little endian. A version reads its own
snapshots only: they carry work from one process to another, not from one year to the next.

Handles pickle together with their machine, whose pickle is its snapshot; so a machine and its
tasks in one pickle come back as one machine. Reading pickles runs what they say, as ever;
`restore` runs nothing.

Below: `pagemig.system`. Above: `pagemig.Machine`.
"""

from __future__ import annotations

import copyreg
import io
import struct
import zlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

from . import _core
from .errors import UsageError
from .system import Beside, System
from .task import Task

MAGIC = b"pagemig machine\n"
"""How every snapshot begins."""

VERSION = 2
"""What the bytes after the header mean. Whoever changes what is kept beside the core makes another."""

_HEADER = struct.Struct("<16sII")
"""Magic, version, checksum."""

_LENGTHS = struct.Struct("<QQ")
"""Bytes beside the core, bytes of the core."""

_PIECE = 1 << 23
"""Bytes that are summed in one breath: between two Ctrl-C is heard (decision 0011)."""


def keep(system: System) -> bytes:
    """Return everything there is as bytes: the same bytes for equal machines."""
    with system.alone():
        pieces, beside = system.core.snapshot(), _values().write(system.beside())
    rest = _LENGTHS.pack(len(beside), sum(map(len, pieces))) + beside
    checksum = zlib.crc32(rest)
    for piece in pieces:
        checksum = zlib.crc32(piece, checksum)
    whole = io.BytesIO()
    whole.write(_HEADER.pack(MAGIC, VERSION, checksum) + rest)
    pieces.reverse()
    while pieces:
        whole.write(pieces.pop())
    return whole.getvalue()


def restore(snapshot: bytes) -> System:
    """Return the system of a snapshot.

    Raises
    ------
    UsageError
        It is not a whole and undamaged snapshot of this version, or the host has no room for it.
    """
    data, at = _parts(snapshot)
    machine = _core.Machine.restore(data, at.stop)
    try:
        kept: Beside = _values().read(data[at], Beside)
    except ValueError as error:
        raise UsageError(f"a snapshot of no machine: {error}") from None
    numbers = [call.number for call in kept.calls]
    if numbers != machine.calls():
        raise UsageError(f"a snapshot of no machine: calls {numbers} in flight, but {machine.calls()} inside")
    return System.restored(machine, kept, Task)


def _values() -> ModuleType:
    """Open the room of values, which most scripts never need, when somebody first does."""
    from . import plain_values

    return plain_values


def _parts(snapshot: bytes) -> tuple[bytes, slice]:
    """Return the bytes and where what is beside the core is in them, once the header has been believed.

    The core's part follows it.
    """
    if not isinstance(snapshot, (bytes, bytearray, memoryview)):
        raise UsageError(f"data is {type(snapshot).__name__}; it must be the bytes of machine.snapshot()")
    data = bytes(snapshot)
    if data[: len(MAGIC)] != MAGIC:
        raise UsageError(f"not a snapshot of a machine: it does not begin with {MAGIC!r}")
    least = _HEADER.size + _LENGTHS.size
    if len(data) < least:
        raise UsageError(f"a damaged snapshot: {len(data)} bytes, but its header alone has {least}")
    _, version, expected = _HEADER.unpack_from(data)
    if version != VERSION:
        raise UsageError(f"a snapshot of version {version}; this package reads version {VERSION}")
    beside, core = _LENGTHS.unpack_from(data, _HEADER.size)
    if len(data) != least + beside + core:
        raise UsageError(
            f"a damaged snapshot: {len(data)} bytes, but its header says {least + beside + core}"
        )
    found = 0
    for start in range(_HEADER.size, len(data), _PIECE):
        found = zlib.crc32(memoryview(data)[start : start + _PIECE], found)
    if found != expected:
        raise UsageError(
            f"a damaged snapshot: its checksum is {found:#010x}, but its header says {expected:#010x}"
        )
    return data, slice(least, least + beside)


def _reduce(system: System) -> tuple[Callable[[bytes], System], tuple[Any, ...]]:
    return restore, (keep(system),)


copyreg.pickle(System, _reduce)
