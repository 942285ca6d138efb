"""Putting a captured process on a simulated machine.

The machine models anonymous memory. So every private area is mapped, at its address and with
its protection, and its anonymous pages are faulted in; areas and pages of another kind are
left out and listed. Start with `load`; `load_report` says the same beforehand, without a
machine.

Pages of an area that forbids stores are there because it permitted them once. Such areas come
first, each in ascending order, while their neighbours are not mapped yet: ``mprotect`` would
join an area to a neighbour from which only its file told it apart. Two such areas side by side
with one protection do become one. All others follow, in ascending order, and ``mmap`` joins
nothing.

Below: `address_space`; the verbs of `pagemig.Task`. Left out: pages of files, shared memory,
swap; which of the host's nodes a page was on (the machine has nodes of its own).
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arguments import integer, node_mask, nodes_in
from ..errors import OutOfMemoryError, UsageError
from ..flags import PAGE_SIZE, USER_END, PolicyMode, Protection
from ..policy import Policy
from .address_space import AddressSpace
from .area import Area, count, page_numbers

if TYPE_CHECKING:
    from ..machine import Machine
    from ..task import Task

_READ_WRITE = Protection.READ | Protection.WRITE


class Reason(enum.Enum):
    """Why something of a captured process is not on the machine."""

    BEYOND_USER_SPACE = "beyond the end of user space as modelled"
    KERNELS_OWN = "mapped by the kernel for itself"
    SHARED = "memory shared with others, or with a file"
    FILE_PAGES = "pages of a file"
    SWAPPED = "pages that were swapped out"


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An area, or some pages of one, that `load` does not put on the machine."""

    area: Area
    reason: Reason
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
    pages
        How many pages they have after loading, all of them anonymous.
    left_out
        What is missing, lowest address first.
    """

    areas: tuple[Area, ...]
    pages: int
    left_out: tuple[LeftOut, ...]

    @property
    def pages_left_out(self) -> dict[Reason, int]:
        """Pages that are missing, by reason."""
        pages = dict.fromkeys(Reason, 0)
        for missing in self.left_out:
            pages[missing.reason] += missing.pages
        return {reason: missed for reason, missed in pages.items() if missed}

    def __str__(self) -> str:
        text = f"{len(self.areas)} areas with {self.pages} anonymous pages"
        parts = [f"{pages} {reason.value}" for reason, pages in self.pages_left_out.items()]
        return f"{text}; left out, in pages: {', '.join(parts)}" if parts else text


def load_report(space: AddressSpace) -> LoadReport:
    """Return what `load` would put on a machine, and what it would leave out.

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
    left_out = tuple(missing for area in space.areas for missing in _left_out(area))
    unmapped = {missing.area.start for missing in left_out if missing.whole}
    areas = tuple(area for area in space.areas if area.start not in unmapped)
    return LoadReport(areas, sum(count(area.anonymous) for area in areas), left_out)


def _left_out(area: Area) -> Iterator[LeftOut]:
    """Yield what is left out of one area."""
    resident, swapped = count(area.resident), count(area.swapped)
    reason = None
    if area.end > USER_END:
        reason = Reason.BEYOND_USER_SPACE
    elif area.is_kernels_own:
        reason = Reason.KERNELS_OWN
    elif area.shared:
        reason = Reason.SHARED
    if reason is not None:
        yield LeftOut(area, reason, resident + swapped, whole=True)
        return
    if of_files := resident - count(area.anonymous):
        yield LeftOut(area, Reason.FILE_PAGES, of_files, whole=False)
    if swapped:
        yield LeftOut(area, Reason.SWAPPED, swapped, whole=False)


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
    report = load_report(space)
    refused = {"stack", "kernel_thread"} & options.keys()
    if refused:
        raise UsageError(f"{refused.pop()} makes no sense here: the task gets the memory that was captured")
    if options.get("mems_allowed") is not None:
        options["mems_allowed"] = nodes_in(node_mask(options["mems_allowed"], "mems_allowed"))
    free = _free_pages(machine, node, options.get("mems_allowed"))
    if report.pages > free:
        raise UsageError(
            f"{space.name}: {report.pages} pages are to be loaded, but only {free} frames are free"
            + ("" if node is None else f" on node {node}")
        )
    if name is None:
        name = space.name if space.name and space.name.isprintable() else "captured"
    if 2 * report.pages > free:
        # Watermarks keep some frames back. Where that may matter, try on a copy first.
        try:
            _place(machine.clone(), report, name, node, options)
        except OutOfMemoryError:
            raise UsageError(
                f"{space.name}: {report.pages} pages are to be loaded, but the watermarks keep "
                f"too many of the {free} free frames back"
            ) from None
    return _place(machine, report, name, node, options)


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
    for area in sorted(report.areas, key=lambda area: not _needs_opening(area)):
        _place_area(task, area)
    if node is not None:
        task.set_mempolicy(Policy(PolicyMode.DEFAULT))
    return task


def _needs_opening(area: Area) -> bool:
    """Return whether an area has pages to be written to, and forbids it."""
    return bool(area.anonymous) and Protection.WRITE not in area.permits


def _place_area(task: Task, area: Area) -> None:
    """Map one area and fault its anonymous pages in by writing to them, in ascending order."""
    region = task.mmap(area.length, at=area.start, protection=area.permits)
    if not area.anonymous:
        return
    if _needs_opening(area):
        task.mprotect(region, _READ_WRITE)
    task.touch(page_numbers(area.anonymous) * np.uint64(PAGE_SIZE) + np.uint64(area.start))
    if _needs_opening(area):
        task.mprotect(region, area.permits)
