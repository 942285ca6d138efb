"""The files that captured areas map, and which of their pages are in memory.

Start with `MappedFiles`. `is_device` and `file_pages_of` tell what an area maps by what ``maps`` calls
it. Many files have the same name: every segment of System V that has no key, each memfd of one program,
what was deleted and made anew, a library in two containers. Which one it is tell its device and inode,
and they are part of what the file is called on the machine, after an ``@``, so that a capture that is
loaded later finds it again. A capture that does not tell them knows files by name only.

An inode tells the object by itself on a device of its own, also through two names (hard links). Devices
with the major number 0, such as those of btrfs and overlayfs, may have an inode twice; there only what
has the same name is the same.

Source: proc(5), memfd_create(2), shmget(2). Above: `loading`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..filesystems import EXT, TMPFS
from ..flags import PAGE_SIZE
from .area import Area, Runs, count, page_numbers

if TYPE_CHECKING:
    from ..file import File
    from ..machine import Machine

_NAMELESS = ("/dev/zero", "/dev/zero (deleted)", "zero (deleted)")
_NAMED_BY_PROGRAM = "[anon_shmem:"
_IN_MEMORY = ("/dev/shm/", "/memfd:", "/SYSV", "memfd:", "SYSV")
_DELETED = " (deleted)"
_KERNEL_OBJECTS = ("anon_inode:", "socket:", "pipe:", "/dmabuf:", "/dev/")

__all__ = [
    "MappedFiles",
    "file_of",
    "file_pages_of",
    "is_device",
    "read_pages",
    "written_pages",
]


def is_device(name: str) -> bool:
    """Return whether what an area maps is a device or an object of the kernel, not a file.

    >>> is_device("/dev/dri/card0"), is_device("/dev/shm/queue"), is_device("/lib/libc.so")
    (True, False, False)
    """
    return name.startswith(_KERNEL_OBJECTS) and name not in _NAMELESS and not name.startswith(_IN_MEMORY)


def file_of(area: Area) -> str | None:
    """Return what the file that an area maps is called on a machine, None if it maps none that can be told.

    >>> file_of(Area(0, 4096, "r--", name="/lib/libc.so")), file_of(Area(0, 4096, "rw-", name="[heap]"))
    ('/lib/libc.so', None)
    >>> file_of(Area(0, 4096, "rw-", True, name="/memfd:ring (deleted)", device="00:01", inode=5))
    '/memfd:ring@00:01:5'
    """
    if not area.name or (not _is_nameless(area.name) and area.name.startswith("[")):
        return None
    if _is_nameless(area.name) and not (area.shared and area.device):
        return None
    name = area.name if area.name.isprintable() else ascii(area.name)[1:-1]
    return name.removesuffix(_DELETED) + _mark(area) if area.device else name


def _is_nameless(name: str) -> bool:
    """Return whether a name is what the kernel calls all anonymous memory that is shared."""
    return name in _NAMELESS or name.startswith(_NAMED_BY_PROGRAM)


def _is_in_memory(area: Area) -> bool:
    """Return whether the file that an area maps is shared memory."""
    return area.name.startswith(_IN_MEMORY) or _is_nameless(area.name)


def _mark(area: Area) -> str:
    return f"@{area.device}:{area.inode}"


def _is_unique(area: Area) -> bool:
    """Return whether device and inode alone tell what an area maps."""
    return bool(area.device) and int(area.device.partition(":")[0], 16) != 0


def file_pages_of(area: Area) -> bool:
    """Return whether an area has pages of a file, or of shared memory without a name."""
    return area.shared or file_of(area) is not None


def read_pages(area: Area) -> npt.NDArray[np.uint64]:
    """Return the pages of an area that are faulted in by a load: all that are not its own."""
    written = page_numbers(written_pages(area))
    return np.setdiff1d(page_numbers(area.resident), written, assume_unique=True)


def written_pages(area: Area) -> Runs:
    """Return the pages of an area that are faulted in by a store: those that are its own."""
    return area.anonymous


class MappedFiles:
    """The files of some areas.

    Parameters
    ----------
    areas
        What is mapped.
    """

    def __init__(self, areas: Iterable[Area]) -> None:
        self._areas: dict[str, list[Area]] = {}
        """The areas that map each file, by what it is called."""
        self._names: dict[int, str] = {}
        """What the file of each area is called, by the start of the area."""
        self._nameless = 0
        unique: dict[str, str] = {}
        for area in areas:
            name = file_of(area)
            if name is not None:
                if _is_unique(area):
                    name = unique.setdefault(_mark(area), name)
                self._names[area.start] = name
                self._areas.setdefault(name, []).append(area)
            elif area.shared:
                self._nameless += count(area.resident) + count(area.swapped)
        self._made: dict[str, File] = {}

    def swapped(self, area: Area) -> npt.NDArray[np.uint64]:
        """Return the pages of an area that belong in swap.

        Of shared memory these are pages that nobody has in memory; what a shared mapping of another
        file has out of memory is in its file.
        """
        pages = page_numbers(area.swapped)
        name = self._names.get(area.start)
        if not area.shared or name is None or not pages.size:
            return pages
        if not _is_in_memory(self._areas[name][0]):
            return pages[:0]
        here = np.uint64(area.offset // PAGE_SIZE)
        resident = [
            page_numbers(other.resident) + np.uint64(other.offset // PAGE_SIZE) for other in self._areas[name]
        ]
        return np.setdiff1d(pages + here, np.concatenate(resident)) - here

    def frames(self, machine: Machine | None) -> int:
        """Return how many pages of the files must be in memory, and are not yet on ``machine``."""
        there = {} if machine is None else self._there(machine)
        needed = self._nameless
        for name, areas in self._areas.items():
            # Under each copy lies the page that it was made of.
            parts = [
                page_numbers(runs) + np.uint64(area.offset // PAGE_SIZE)
                for area in areas
                for runs in (area.resident, area.swapped)
            ]
            pages = np.unique(np.concatenate(parts))
            if name in there:
                pages = np.setdiff1d(pages, there[name].pages["offset"])
            needed += pages.size
        return needed

    def make(self, machine: Machine) -> None:
        """Make the files that the machine has not, and let those that it has reach far enough."""
        self._made = self._there(machine)
        for name, areas in self._areas.items():
            size = max(area.offset + area.length for area in areas)
            if name not in self._made:
                filesystem = TMPFS if _is_in_memory(areas[0]) else EXT
                self._made[name] = machine.create_file(name, size, filesystem=filesystem)
            elif self._made[name].size < size:
                self._made[name].truncate(size)

    def mapping(self, area: Area) -> dict[str, Any]:
        """Return what ``mmap`` needs to map what an area maps, once the files are made."""
        name = self._names.get(area.start)
        if name is None:
            return {"shared": area.shared}
        return {"shared": area.shared, "offset": area.offset, "file": self._made[name]}

    def _there(self, machine: Machine) -> dict[str, File]:
        """Return the files that a machine has, by what they are called here."""
        by_name = {file.name: file for file in machine.files}
        by_mark = {name[at:]: file for name, file in by_name.items() if (at := name.rfind("@")) >= 0}
        found: dict[str, File] = {}
        for name, areas in self._areas.items():
            file = by_name.get(name)
            if file is None and _is_unique(areas[0]):
                file = by_mark.get(_mark(areas[0]))
            if file is not None:
                found[name] = file
        return found
