"""The files that captured areas map, and which of their pages are in memory.

Start with `MappedFiles`. A capture knows files by name only. `is_device` and `file_pages_of` tell
what an area maps by what ``maps`` calls it.

Source: proc(5), memfd_create(2), shmget(2). Above: `loading`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..calls.files import FILE_BYTES_MAX
from ..filesystems import EXT, TMPFS
from ..flags import PAGE_SIZE
from .area import Area, Runs, count, page_numbers

if TYPE_CHECKING:
    from ..machine import Machine

_NAMELESS = ("/dev/zero", "/dev/zero (deleted)", "zero (deleted)")
_IN_MEMORY = ("/dev/shm/", "/memfd:", "/SYSV", "memfd:", "SYSV")
_KERNEL_OBJECTS = ("anon_inode:", "socket:", "pipe:", "/dmabuf:", "/dev/")

__all__ = [
    "FILE_BYTES_MAX",
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
    """Return the name of the file that an area maps, None if it maps none that has one.

    >>> file_of(Area(0, 4096, "r--", name="/lib/libc.so")), file_of(Area(0, 4096, "rw-", name="[heap]"))
    ('/lib/libc.so', None)
    """
    if not area.name or area.name.startswith("[") or area.name in _NAMELESS:
        return None
    return area.name if area.name.isprintable() else ascii(area.name)[1:-1]


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
        self._areas = tuple(areas)
        self._sizes: dict[str, int] = {}
        for area in self._areas:
            name = file_of(area)
            if name is not None:
                self._sizes[name] = max(self._sizes.get(name, 0), area.offset + area.length)

    def frames(self, machine: Machine | None) -> int:
        """Return how many pages of the files must be in memory, and are not yet on ``machine``."""
        of_file: dict[str, list[npt.NDArray[np.uint64]]] = {name: [] for name in self._sizes}
        nameless = 0
        for area in self._areas:
            name = file_of(area)
            if name is not None:
                first = np.uint64(area.offset // PAGE_SIZE)
                # Under each copy lies the page that it was made of.
                pages = np.concatenate((page_numbers(area.resident), page_numbers(area.swapped)))
                of_file[name].append(pages + first)
            elif area.shared:
                nameless += count(area.resident) + count(area.swapped)
        cached = {} if machine is None else {file.name: file for file in machine.files}
        needed = nameless
        for name, parts in of_file.items():
            pages = np.unique(np.concatenate(parts))
            if name in cached:
                pages = np.setdiff1d(pages, cached[name].pages["offset"])
            needed += pages.size
        return needed

    def make(self, machine: Machine) -> None:
        """Make the files that the machine has not, and let those that it has reach far enough."""
        there = {file.name: file for file in machine.files}
        for name, size in self._sizes.items():
            if name not in there:
                filesystem = TMPFS if name.startswith(_IN_MEMORY) else EXT
                machine.create_file(name, size, filesystem=filesystem)
            elif there[name].size < size:
                there[name].truncate(size)

    def mapping(self, area: Area, machine: Machine) -> dict[str, Any]:
        """Return what ``mmap`` needs to map what an area maps."""
        name = file_of(area)
        if name is None:
            return {"shared": area.shared}
        return {"shared": area.shared, "offset": area.offset, "file": machine.file(name)}
