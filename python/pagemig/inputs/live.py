"""Capturing a live process: where its memory is and which pages are there, from ``/proc``.

Nothing is stopped and nothing is read but what the kernel tells about the memory; what is in
the pages is never looked at. A process goes on while it is looked at, so its areas are read
before and after, and all is read again if they are no longer the same. What maps the page of zeros
is resident and not anonymous, and is read when it is loaded.

Start with `capture`. `proc_text` reads the lines, `pagemap` the pages.

Source: proc(5), ``Documentation/admin-guide/mm/pagemap.rst``. Left out: before Linux 6.7, what the
page of zeros is mapped into, which the host does not tell from memory of its own; pages of shared
memory that are in swap, which ``pagemap`` does not show; marks without a page (guard regions,
userfaultfd), which only ``smaps`` tells from swap. A huge page counts as the small ones it is made of;
pages of hugetlbfs do not count. Whether two areas map the same object is told by device and inode,
which are kept as ``maps`` shows them.
"""

from __future__ import annotations

import mmap
import os
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from ..arguments import integer
from ..errors import UsageError
from .address_space import AddressSpace, Source
from .area import SPACE_END, Area
from .pagemap import Pagemap
from .proc_text import Counts, Mapped, counts_in, mapped_in, nodes_in

_ROUNDS = 5
_PID_MAX = (1 << 31) - 1
_GONE = (FileNotFoundError, ProcessLookupError, NotADirectoryError)


def capture(pid: int, *, proc: str | os.PathLike[str] = "/proc") -> AddressSpace:
    """Write down where the memory of a running process is.

    Which pages are there is told by ``pagemap``; where that is refused, ``smaps`` tells how
    many there are in each area (`AddressSpace.source`). Areas of the kernel's half of the
    addresses, such as ``[vsyscall]``, are no memory of the process and are left out.

    Parameters
    ----------
    pid
        The process; it may be the caller's own.
    proc
        Where the proc file system is mounted.

    Returns
    -------
    AddressSpace
        Its areas, with the pages of each that were there.

    Raises
    ------
    UsageError
        There is no such process, it has no memory (a kernel thread, or ended and not yet
        waited for), it ended while it was captured, the host refuses to tell, or its areas
        changed each time they were read.
    """
    number = integer(pid, "pid", 1, _PID_MAX)
    try:
        root = Path(proc)
    except TypeError:
        raise UsageError(f"proc is {proc!r}; it must name a directory") from None
    if not root.is_dir():
        raise UsageError(f"{root}: there is no proc file system; a process is captured on Linux")
    process = _Process(root / str(number), number)
    before = process.read("maps")
    for _ in range(_ROUNDS):
        space = process.look(before)
        after = process.read("maps")
        if after == before:
            return space
        before = after
    raise UsageError(
        f"process {number}: its areas changed each of the {_ROUNDS} times they were read; "
        f"stop it (kill -STOP {number}), capture it, and let it go on (kill -CONT {number})"
    )


class _Process:
    """One process, as its directory in ``/proc`` shows it."""

    def __init__(self, directory: Path, pid: int) -> None:
        self.directory = directory
        self.pid = pid
        self.had_memory = False

    def look(self, maps: bytes) -> AddressSpace:
        """Return its memory, given its areas as ``maps`` lists them."""
        areas = self.areas_in(maps)
        name = self.read("comm").decode("utf-8", "backslashreplace").removesuffix("\n")
        counts = counts_in(self.read_if_allowed("smaps") or b"")
        nodes = nodes_in(self.read_if_allowed("numa_maps") or b"")
        pagemap = Pagemap.opened(self.directory / "pagemap")
        if pagemap is None:
            if not counts:
                # One that has just ended shows neither, and no areas any more.
                self.areas_in(self.read("maps"))
                self.refuse("pagemap and smaps", "neither can be read")
            source, filled = Source.SMAPS, [_counted(area, counts.get(area.start)) for area in areas]
        else:
            with pagemap:
                source, filled = (
                    Source.PAGEMAP,
                    [_seen(area, pagemap, counts.get(area.start)) for area in areas],
                )
        placed = tuple(
            replace(area, node_pages=_bounded(nodes.get(area.start, ()), area.length // mmap.PAGESIZE))
            for area in filled
        )
        return AddressSpace(self.pid, name, placed, mmap.PAGESIZE, source)

    def areas_in(self, maps: bytes) -> list[Mapped]:
        """Return its areas, of which it must have some."""
        areas = [area for area in mapped_in(maps) if area.end <= SPACE_END]
        if not areas:
            self.miss(f"process {self.pid} has no memory: it is a kernel thread, or a zombie")
        self.had_memory = True
        return areas

    def read(self, what: str) -> bytes:
        """Return the whole of one of its files, which must be there."""
        try:
            return (self.directory / what).read_bytes()
        except PermissionError as error:
            self.refuse(what, str(error.strerror))
        except _GONE:
            self.miss(f"there is no process {self.pid}")
        except OSError as error:
            raise UsageError(f"process {self.pid}: {self.directory / what}: {error.strerror}") from None

    def read_if_allowed(self, what: str) -> bytes | None:
        """Return the whole of one of its files, None where the host has or shows none."""
        try:
            return (self.directory / what).read_bytes()
        except OSError:
            return None

    def miss(self, why: str) -> NoReturn:
        """Say why nothing of it can be seen: it ended, if it had memory a moment ago."""
        ended = f"process {self.pid} ended while it was captured"
        raise UsageError(ended if self.had_memory else why) from None

    def refuse(self, what: str, why: str) -> NoReturn:
        raise UsageError(
            f"process {self.pid}: the host refuses to show {what} in {self.directory} ({why}); "
            "capture a process of your own, or do it as root"
        ) from None


def _seen(area: Mapped, pagemap: Pagemap, counts: Counts | None) -> Area:
    """Return an area with the pages that ``pagemap`` shows."""
    made = area.bare()
    # `smaps` counts no page of zeros; one that tells ranges is asked where there may be some.
    if counts is not None and counts.is_empty and not pagemap.tells_ranges:
        return made
    resident, anonymous, swapped = pagemap.runs(area.start, area.length)
    if counts is not None and not counts.swapped:
        swapped = ()
    # A page that is in memory but no page of a file is anonymous, except where the kernel
    # maps what is no page at all.
    has_pages = not made.is_kernels_own and (counts is None or not counts.is_raw)
    return replace(made, resident=resident, anonymous=anonymous if has_pages else (), swapped=swapped)


def _counted(area: Mapped, counts: Counts | None) -> Area:
    """Return an area with as many pages as ``smaps`` counts, from its start on."""
    if counts is None:
        return area.bare()
    pages = area.length // mmap.PAGESIZE
    resident = min(counts.resident // mmap.PAGESIZE, pages)
    anonymous = min(counts.anonymous // mmap.PAGESIZE, resident)
    swapped = min(counts.swapped // mmap.PAGESIZE, pages - resident)
    return replace(
        area.bare(),
        resident=((0, resident),) if resident else (),
        anonymous=((0, anonymous),) if anonymous else (),
        swapped=((resident, swapped),) if swapped else (),
    )


def _bounded(nodes: tuple[tuple[int, int], ...], pages: int) -> tuple[tuple[int, int], ...]:
    """Return pages on nodes, or nothing if they are more than the area has (huge pages)."""
    return nodes if sum(on_node for _, on_node in nodes) <= pages else ()
