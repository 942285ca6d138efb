"""Putting a captured process on a simulated machine.

Every area is mapped at its address, with its protection and what it maps. Pages of memory of its own
are faulted in by writing to them; pages of files by reading, and what was copied on write by writing,
so that the page cache holds what is under it, too; a page that is neither is the zero page, which is
read. What was in swap is written out again where the machine has swap. Start with `load`;
`load_report` says beforehand what will come of it.

A file is made for each object that the areas map, as long as they reach into it; one that the machine
has already is taken, so two captured programs share their libraries. What it is called, and when two are
the same, says `mapped_files`. Files below ``/dev/shm``, ``memfd``, System V segments and shared memory
without a name are of tmpfs, all others of ext.

Areas that are opened while they are filled (``mprotect``) come first, each in ascending order, while
their neighbours are not mapped yet: two that only their file told apart must not be joined. All others
follow, in ascending order, and ``mmap`` joins nothing.

Below: `address_space`, `mapped_files`; the verbs of `pagemig.Task`. Left out, because a capture does
not know it: which pages of files were dirty, who else maps them, what else of a file was cached; and, in
captures without inodes, whether two areas of shared memory without a name are one. Which of the host's
nodes a page was on is left out because the machine has nodes of its own.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..arguments import integer, node_mask, nodes_in
from ..errors import OutOfMemoryError, PagemigError, UsageError
from ..flags import FILE_BYTES_MAX, PAGE_SIZE, USER_END, PolicyMode, Protection
from ..policy import Policy
from .address_space import AddressSpace
from .area import Area, count, page_numbers
from .mapped_files import MappedFiles, file_pages_of, is_device, read_pages, written_pages

if TYPE_CHECKING:
    from ..machine import Machine
    from ..task import Task

# Pages are swapped out while no more than so many of them wait in memory.
_SWAPPED_AT_ONCE = 256


class Reason(enum.Enum):
    """Why something of a captured process is not on the machine."""

    BEYOND_USER_SPACE = "beyond the end of user space as modelled"
    KERNELS_OWN = "mapped by the kernel for itself"
    DEVICE = "memory of a device or a kernel object"
    BEYOND_FILES = "beyond the end of what a file can have as modelled"
    SWAPPED = "swapped out, and the machine has no swap to hold them"


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An area, or some pages of one, that `load` does not put on the machine."""

    area: Area
    """Which area."""
    reason: Reason
    """Why."""
    pages: int
    """How many pages of the area, in memory or swap, are left out for this reason."""
    whole: bool
    """Whether the area is not even mapped."""


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What `load` puts on a machine, and what not.

    Attributes
    ----------
    areas
        The areas that are mapped, lowest address first.
    anonymous
        How many pages of its own the task has after loading, copies of file pages included.
    of_files
        How many entries for pages of files and of shared memory it has.
    swapped
        How many of its pages are put into swap.
    frames
        How many frames that takes, on a machine that has none of the files in memory: also those under
        copies, while a page that is mapped twice is one.
    left_out
        What is missing, lowest address first.
    """

    areas: tuple[Area, ...]
    anonymous: int
    of_files: int
    swapped: int
    frames: int
    left_out: tuple[LeftOut, ...]

    @property
    def pages(self) -> int:
        """How many pages are in memory after loading, as the task sees them."""
        return self.anonymous + self.of_files

    @property
    def pages_left_out(self) -> dict[Reason, int]:
        """Pages that are missing, by reason."""
        pages = dict.fromkeys(Reason, 0)
        for missing in self.left_out:
            pages[missing.reason] += missing.pages
        return {reason: missed for reason, missed in pages.items() if missed}

    def __str__(self) -> str:
        text = (
            f"{len(self.areas)} areas with {self.anonymous} anonymous pages, {self.of_files} of files and "
            f"{self.swapped} in swap"
        )
        parts = [f"{pages} {reason.value}" for reason, pages in self.pages_left_out.items()]
        return f"{text}; left out, in pages: {', '.join(parts)}" if parts else text


def load_report(space: AddressSpace, machine: Machine | None = None) -> LoadReport:
    """Say what `load` would put on a machine, and what it would leave out.

    Parameters
    ----------
    space
        What was captured.
    machine
        Where to; by default a machine without swap.

    Returns
    -------
    LoadReport
        What comes of it; nothing has changed.

    Raises
    ------
    UsageError
        ``space`` is no address space, or has pages of another size than the machine.
    """
    if not isinstance(space, AddressSpace):
        raise UsageError(f"space is {space!r}; it must be an AddressSpace")
    if space.page_size != PAGE_SIZE:
        raise UsageError(
            f"{space.name}: its host has pages of {space.page_size} bytes, the machine of {PAGE_SIZE}"
        )
    reasons = {area.start: _reason(area) for area in space.areas}
    areas = tuple(area for area in space.areas if reasons[area.start] is None)
    files = MappedFiles(areas)
    in_swap = {area.start: files.swapped(area).size for area in areas}
    swapped = sum(in_swap.values())
    keeps_swapped = machine is not None and swapped <= machine.swap.free
    if not keeps_swapped:
        swapped = 0
    left_out = tuple(_left_out(space.areas, reasons, {} if keeps_swapped else in_swap))
    own = sum(count(area.anonymous) for area in areas)
    of_files = sum(count(area.resident) - count(area.anonymous) for area in areas if file_pages_of(area))
    frames = own + files.frames(machine) + min(swapped, _SWAPPED_AT_ONCE)
    return LoadReport(areas, own, of_files, swapped, frames, left_out)


def _reason(area: Area) -> Reason | None:
    """Return why an area cannot be mapped at all, None if it can."""
    if area.end > USER_END:
        return Reason.BEYOND_USER_SPACE
    if area.is_kernels_own:
        return Reason.KERNELS_OWN
    if is_device(area.name):
        return Reason.DEVICE
    if file_pages_of(area) and area.offset + area.length > FILE_BYTES_MAX:
        return Reason.BEYOND_FILES
    return None


def _left_out(
    areas: tuple[Area, ...], reasons: dict[int, Reason | None], not_in_swap: dict[int, int]
) -> Iterator[LeftOut]:
    for area in areas:
        reason = reasons[area.start]
        if reason is not None:
            yield LeftOut(area, reason, count(area.resident) + count(area.swapped), whole=True)
        elif missing := not_in_swap.get(area.start, 0):
            yield LeftOut(area, Reason.SWAPPED, missing, whole=False)


def load(
    machine: Machine, space: AddressSpace, *, name: str | None = None, node: int | None = None, **options: Any
) -> Task:
    """Make a task with the memory of a captured process.

    Parameters
    ----------
    machine
        Where to.
    space
        What was captured; see `load_report` for what of it is put on the machine.
    name
        What to call the task; by default the name of the process.
    node
        Where its pages go; by default where the machine puts those of any task.
    options
        As for `pagemig.Machine.spawn`, except ``stack``: its stack is among the areas.

    Returns
    -------
    Task
        With the default memory policy, also if ``node`` was given.

    Raises
    ------
    UsageError
        The machine has not enough free memory, there is no such node, or an option makes no
        sense. The machine is as it was.

    Examples
    --------
    >>> import pagemig as pm
    >>> area = pm.inputs.Area(0x10000, 0x14000, "r--", resident=((1, 2),), anonymous=((1, 2),))
    >>> machine = pm.Machine(nodes=[pm.MiB, pm.MiB])
    >>> task = pm.inputs.load(machine, pm.inputs.AddressSpace(7, "app", (area,)), node=1)
    >>> task.nodes_of(task.regions[0])
    array([-1,  1,  1, -1], dtype=int32)
    """
    report = load_report(space, machine)
    refused = {"stack", "kernel_thread"} & options.keys()
    if refused:
        raise UsageError(f"{refused.pop()} makes no sense here: the task gets the memory that was captured")
    if options.get("mems_allowed") is not None:
        options["mems_allowed"] = nodes_in(node_mask(options["mems_allowed"], "mems_allowed"))
    free = _free_pages(machine, node, options.get("mems_allowed"))
    if report.frames > free:
        raise UsageError(
            f"{space.name}: {report.frames} pages are to be loaded, but only {free} frames are free"
            + ("" if node is None else f" on node {node}")
        )
    if name is None:
        name = space.name if space.name and space.name.isprintable() else "captured"
    if 2 * report.frames > free or report.swapped or options.get("memcg") is not None:
        # Watermarks, limits and disks may stand in the way. Where that may be, try on a copy first.
        _try(machine.clone(), report, name, node, free, options)
    return _place(machine, report, name, node, options)


def _try(
    copy: Machine, report: LoadReport, name: str, node: int | None, free: int, options: dict[str, Any]
) -> None:
    """Place it all on a copy of the machine, to find out whether it can be.

    Raises
    ------
    UsageError
        It cannot.
    """
    group = options.get("memcg")
    mine = dict(options) if group is None else {**options, "memcg": copy.memcg(group.name)}
    try:
        task = _place(copy, report, name, node, mine)
        in_swap = task.counters.swap
    except OutOfMemoryError:
        raise UsageError(
            f"{name}: {report.frames} pages are to be loaded, but the watermarks keep "
            f"too many of the {free} free frames back"
            + ("" if group is None else f", or the limit of memory cgroup {group.name!r} is too low")
        ) from None
    except PagemigError as error:
        raise UsageError(f"{name}: cannot be loaded: {error}") from None
    # Shared memory in swap has no entries in the page tables.
    own = sum(count(area.swapped) for area in report.areas if not area.shared) if report.swapped else 0
    if in_swap < own:
        raise UsageError(
            f"{name}: {own} pages were swapped out, but the swap device of the machine took {in_swap}"
        )


def _free_pages(machine: Machine, node: int | None, mems_allowed: tuple[int, ...] | None) -> int:
    """Return how many frames are free where the pages may go."""
    permitted = sorted(machine.nodes_with_memory)
    if mems_allowed is not None:
        permitted = [each for each in permitted if each in mems_allowed]
    if node is not None:
        if integer(node, "node") not in permitted:
            raise UsageError(f"node is {node}; nodes with memory that the task may use are {permitted}")
        permitted = [node]
    return sum(machine.zone_counters(each)["nr_free_pages"] for each in permitted)


def _place(
    machine: Machine, report: LoadReport, name: str, node: int | None, options: dict[str, Any]
) -> Task:
    task = machine.spawn(name, stack=False, **options)
    if node is not None:
        task.set_mempolicy(Policy(PolicyMode.BIND, [node]))
    files = MappedFiles(report.areas)
    files.make(machine)
    for area in sorted(report.areas, key=lambda area: not _opened(area, _swapped(area, files, report))):
        _place_area(machine, task, area, files, _swapped(area, files, report))
    if node is not None:
        task.set_mempolicy(Policy(PolicyMode.DEFAULT))
    return task


def _swapped(area: Area, files: MappedFiles, report: LoadReport) -> npt.NDArray[np.uint64]:
    """Return the pages of an area that are put into swap."""
    return files.swapped(area) if report.swapped else np.empty(0, dtype=np.uint64)


def _opened(area: Area, swapped: npt.NDArray[np.uint64]) -> Protection:
    """Return what an area must permit for a while, and does not."""
    needed = Protection.NONE
    if written_pages(area) or swapped.size:
        needed |= Protection.WRITE | Protection.READ
    elif read_pages(area).size:
        needed |= Protection.READ
    return needed & ~area.permits


def _place_area(
    machine: Machine, task: Task, area: Area, files: MappedFiles, swapped: npt.NDArray[np.uint64]
) -> None:
    """Map one area and fault its pages in, in ascending order; then those that go to swap."""
    region = task.mmap(area.length, at=area.start, protection=area.permits, **files.mapping(area))
    opened = _opened(area, swapped)
    if opened:
        task.mprotect(region, area.permits | opened)
    read, written = read_pages(area), page_numbers(written_pages(area))
    if read.size or written.size:
        pages = np.concatenate((read, written))
        order = np.argsort(pages)
        stores = np.arange(pages.size) >= read.size
        task.access(_addresses(area, pages[order]), stores[order])
    for first in range(0, swapped.size, _SWAPPED_AT_ONCE):
        some = _addresses(area, swapped[first : first + _SWAPPED_AT_ONCE])
        task.touch(some)
        # What waits in a pagevec is on no list, and cannot be reclaimed.
        machine.drain()
        task.swap_out(some)
    if opened:
        task.mprotect(region, area.permits)


def _addresses(area: Area, pages: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    return pages * np.uint64(PAGE_SIZE) + np.uint64(area.start)
