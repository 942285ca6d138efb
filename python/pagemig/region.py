"""A run of pages in one task's memory, as a value.

A `Region` holds no page and no machine: it is a pid and a range of addresses. What is there
is asked through the `pagemig.Task`.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from .arguments import Addresses, address_array, integer, page_multiple, read_only
from .errors import UsageError
from .flags import PAGE_SIZE

ADDRESSES_MAX = 1 << 28
"""Pages whose addresses are listed at once: 2 GiB of them."""

_LISTED_MAX = ADDRESSES_MAX * PAGE_SIZE


class HasPid(Protocol):
    """A task handle, as far as a region needs one."""

    @property
    def pid(self) -> int: ...


@dataclass(frozen=True, slots=True, init=False)
class Region:
    """A run of pages in one task's memory.

    Slicing, by page, gives a smaller region; nothing is copied. ``in`` tells whether an address, an
    integer of any kind, lies in it, or whether all of another region of the same task does.

    Parameters
    ----------
    task
        The task or its pid; kept as the pid.
    start
        Address of the first byte, a multiple of the page size.
    length
        Bytes, a multiple of the page size.

    Raises
    ------
    UsageError
        The range is not made of whole pages, or leaves 64 bits.

    Examples
    --------
    >>> heap = Region(1, 0x10000, 8 * PAGE_SIZE)
    >>> heap[2:4]
    Region(task=1, start=0x12000, length=0x2000)
    >>> len(heap), heap[-1].addresses
    (8, array([94208], dtype=uint64))
    """

    task: int
    start: int
    length: int

    def __init__(self, task: HasPid | int, start: int, length: int) -> None:
        pid = integer(getattr(task, "pid", task), "task", high=(1 << 31) - 1)
        first = page_multiple(start, "start")
        size = page_multiple(length, "length")
        if first + size > 1 << 64:
            raise UsageError(f"start {first:#x} plus length {size:#x} is more than 64 bits")
        object.__setattr__(self, "task", pid)
        object.__setattr__(self, "start", first)
        object.__setattr__(self, "length", size)

    @property
    def end(self) -> int:
        """Address of the first byte beyond."""
        return self.start + self.length

    @property
    def addresses(self) -> Addresses:
        """The address of each page, a read-only uint64 array."""
        return read_only(self._addresses())

    def _addresses(self) -> Addresses:
        start, length = self.start, self.length
        if length > _LISTED_MAX:
            raise UsageError(
                f"a region of {len(self)} pages; the addresses of at most {ADDRESSES_MAX} can be listed: "
                "take a part of it"
            )
        if start + length < 1 << 63:
            return np.arange(start, start + length, PAGE_SIZE, dtype=np.uint64)
        pages = np.arange(length // PAGE_SIZE, dtype=np.uint64)
        return pages * np.uint64(PAGE_SIZE) + np.uint64(start)

    def __len__(self) -> int:
        return self.length // PAGE_SIZE

    def __getitem__(self, pages: int | slice) -> Region:
        if isinstance(pages, slice):
            try:
                first, stop, stride = pages.indices(len(self))
            except (TypeError, ValueError):
                raise UsageError(f"{pages!r} is no slice of pages; its ends must be integers") from None
            if stride != 1:
                raise UsageError("a region is contiguous: slice it without a step")
            return Region(self.task, self.start + first * PAGE_SIZE, max(0, stop - first) * PAGE_SIZE)
        if not len(self):
            raise UsageError(f"the region is empty; it has no page {pages!r}")
        page = integer(pages, "page", -len(self), len(self) - 1) % len(self)
        return Region(self.task, self.start + page * PAGE_SIZE, PAGE_SIZE)

    def __iter__(self) -> Iterator[Region]:
        return (self[page] for page in range(len(self)))

    def __contains__(self, where: object) -> bool:
        if isinstance(where, Region):
            return where.task == self.task and self.start <= where.start and where.end <= self.end
        try:
            return self.start <= operator.index(where) < self.end  # type: ignore[arg-type]
        except TypeError:
            return False

    def __repr__(self) -> str:
        return f"Region(task={self.task}, start={self.start:#x}, length={self.length:#x})"

    def __reduce__(self) -> tuple[type[Region], tuple[int, int, int]]:
        return Region, (self.task, self.start, self.length)


Where: TypeAlias = "Region | npt.ArrayLike"
"""Pages: a region, or addresses (an array, a list, or one)."""


def require_own(region: Region, pid: int) -> Region:
    """Return ``region`` if it lies in the memory of task ``pid``."""
    if not isinstance(region, Region):
        raise UsageError(f"region is {region!r}; it must be a Region")
    if region.task != pid:
        raise UsageError(
            f"the region lies in task {region.task}, the call is for task {pid}; "
            "task.same(region) is a task's own view of it"
        )
    return region


def pages_in(where: Where, pid: int) -> Addresses | range:
    """Return the same as `addresses_in`, but a region as a range, which nobody need write out."""
    if isinstance(where, Region) and where.task == pid:
        start, length = where.start, where.length
        if length <= _LISTED_MAX and start + length < 1 << 63:
            return range(start, start + length, PAGE_SIZE)
    return addresses_in(where, pid)


def addresses_in(where: Where, pid: int, what: str = "pages") -> Addresses:
    """Return the addresses that ``where`` means in the memory of task ``pid``."""
    if isinstance(where, Region):
        return require_own(where, pid)._addresses()
    return address_array(where, what)
