"""Writing: accesses to a trace, and files as a whole or not at all.

Start with `write_trace`. `replacing` gives a file beside the one that is meant, and puts it in its
place when all has been written. What is no file, such as a pipe or a device, is written to as it is.

Left out: writing ChampSim and the other tools' formats.
"""

from __future__ import annotations

import contextlib
import gzip
import lzma
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from ..arguments import host_path
from ..errors import UsageError
from .accesses import Accesses
from .compressed import zstd_module
from .trace_format import TraceFormat, require_format

_ROWS = 1 << 16
_LACKEY_TAGS = (" L ", " S ", " M ", "I  ")
_CSV_KINDS = ("load", "store", "modify", "instruction")
_FORMATS = {".npz": TraceFormat.NPZ, ".csv": TraceFormat.CSV, ".lackey": TraceFormat.LACKEY}


def write_trace(
    path: str | os.PathLike[str], accesses: Accesses, *, format: TraceFormat | str | None = None
) -> None:
    """Write accesses to a file that `pagemig.inputs.read_trace` reads.

    Parameters
    ----------
    path
        Its name tells the format (``.npz``, ``.csv``, ``.lackey``) and, after that, how it is packed
        (``.gz``, ``.xz``, ``.zst``, or not). npz is packed in itself.
    accesses
        What to write.
    format
        ``npz``, ``csv`` or ``lackey``, where the name does not tell.

    Raises
    ------
    UsageError
        The name tells no format that is written here, or the file cannot be written: with the file
        and why. What was there stays.

    Examples
    --------
    >>> import tempfile, os
    >>> import numpy as np
    >>> from pagemig.inputs import Accesses, read_trace
    >>> seen = Accesses(np.array([0x1000, 0x2000], "u8"), np.array([8, 4], "u1"), np.array([0, 1], "u1"))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_trace(os.path.join(folder, "seen.csv.gz"), seen)
    ...     read_trace(os.path.join(folder, "seen.csv.gz")).columns() == seen
    True
    """
    if not isinstance(accesses, Accesses):
        raise UsageError(f"accesses is {accesses!r}; it must be Accesses")
    if not len(accesses):
        raise UsageError("accesses is empty; a trace holds at least one access")
    name = _file(path).name.lower()
    packing = packing_of(name)
    kind = Path(name.removesuffix(packing)).suffix
    if format is not None:
        meant = require_format(format)
    elif kind in _FORMATS:
        meant = _FORMATS[kind]
    else:
        raise UsageError(f"{path}: its name must end with {', '.join(_FORMATS)}, or format must tell")
    if meant not in _FORMATS.values():
        raise UsageError(f"format is {meant.short_name}; npz, csv and lackey are written")
    if meant is TraceFormat.NPZ:
        if packing:
            raise UsageError(f"{path}: npz is packed in itself; leave {packing} out")
        with replacing(path) as file:
            np.savez_compressed(
                file, addresses=accesses.addresses, sizes=accesses.sizes, kinds=accesses.kinds
            )
        return
    rows = _lackey_rows if meant is TraceFormat.LACKEY else _csv_rows
    with replacing(path) as file, packer(packing, path)(file) as packed:
        for text in rows(accesses):
            packed.write(text.encode("ascii"))


def _lackey_rows(accesses: Accesses) -> Iterator[str]:
    for first in range(0, len(accesses), _ROWS):
        part = slice(first, first + _ROWS)
        rows = zip(accesses.kinds[part], accesses.addresses[part].tolist(), accesses.sizes[part], strict=True)
        yield "".join(f"{_LACKEY_TAGS[kind]}{address:08x},{size}\n" for kind, address, size in rows)


def _csv_rows(accesses: Accesses) -> Iterator[str]:
    yield "address,size,kind\n"
    for first in range(0, len(accesses), _ROWS):
        part = slice(first, first + _ROWS)
        rows = zip(accesses.kinds[part], accesses.addresses[part].tolist(), accesses.sizes[part], strict=True)
        yield "".join(f"{address:#x},{size},{_CSV_KINDS[kind]}\n" for kind, address, size in rows)


def packing_of(name: str) -> str:
    """Return how the name of a file says that it is packed: ``.gz``, ``.xz``, ``.zst``, or nothing.

    >>> packing_of("seen.csv.GZ"), packing_of("seen.csv")
    ('.gz', '')
    """
    return next((suffix for suffix in (".gz", ".xz", ".zst") if name.lower().endswith(suffix)), "")


def packer(
    packing: str, path: str | os.PathLike[str]
) -> Callable[[BinaryIO], contextlib.AbstractContextManager[BinaryIO]]:
    """Return what packs into a file; no time of day is in it, so the same trace is the same file."""
    if packing == ".gz":
        return lambda file: cast("BinaryIO", gzip.GzipFile(filename="", fileobj=file, mode="wb", mtime=0))
    if packing == ".xz":
        return lambda file: cast("BinaryIO", lzma.LZMAFile(file, "wb"))
    if packing == ".zst":
        zstd = zstd_module(path)
        return lambda file: cast("BinaryIO", zstd.ZstdFile(file, "wb"))
    return contextlib.nullcontext


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Give a new file to write to, which takes the place of ``path`` at the end: all of it, or nothing.

    A pipe or a device has no place that a file could take; it is written to directly.

    Raises
    ------
    UsageError
        With the file and why it cannot be written; what was there stays.
    """
    file = _file(path)
    try:
        if file.exists() and not file.is_file():
            with file.open("wb") as opened:
                yield opened
            return
        # A link stays one; what it leads to is replaced.
        target = Path(os.path.realpath(file))
        beside = target.with_name(f"{target.name}.{os.getpid()}.part")
        try:
            with beside.open("wb") as opened:
                yield opened
            beside.replace(target)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(f"{file}: cannot be written: {error.strerror or error}") from None


def _file(path: str | os.PathLike[str]) -> Path:
    file = host_path(path)
    if not file.name:
        raise UsageError(f"path is {os.fspath(path)!r}; it must name a file")
    return file
