"""One area of a process's memory: where it is, what it permits, which of its pages are there.

An `Area` is one line of ``/proc/PID/maps`` and what could be found out about its pages. Pages
are told as *runs*, (first page, pages), counted from the start of the area, ascending and
without overlap. Start with `Area`; `check` says what is wrong with one.

Left out: what is in the pages.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from ..arguments import integer, read_only
from ..errors import UsageError
from ..flags import Protection

Run: TypeAlias = tuple[int, int]
"""First page, counted from the start of the area, and number of pages."""

Runs: TypeAlias = tuple[Run, ...]

SPACE_END = 1 << 47
"""Addresses from here on are no user's on x86-64 with four levels of page tables."""

_NODE_MAX = 1023
_KERNELS_OWN = re.compile(r"\[(vvar\w*|vdso|vsyscall|vectors|sigpage|uprobes)\]")
_DEVICE = re.compile(r"[0-9a-f]{2,8}:[0-9a-f]{2,8}")
_INODE_MAX = (1 << 64) - 1
_NO_FILE = re.compile(r"|\[heap\]|\[stack(:\d+)?\]|\[anon:.*\]")


@dataclass(frozen=True, slots=True)
class Area:
    """One area (VMA) of a process; checked when a `pagemig.inputs.AddressSpace` is made of it.

    Parameters
    ----------
    start, end
        First byte, and first byte beyond.
    protection
        What accesses it permits, as in ``maps`` without the fourth letter: ``"rw-"``.
    shared
        Whether stores reach other processes or the file (the fourth letter).
    offset
        Where in its file it starts, bytes.
    name
        What ``maps`` calls it: a path, ``[heap]``, or nothing.
    resident
        Runs of pages that are in memory.
    anonymous
        Those of them that belong to no file: touched memory, or copied on write.
    swapped
        Runs of pages that are in swap.
    node_pages
        (Node id, pages on it) of the host, ascending; empty where the host does not say.
    device, inode
        Which object of the host it maps, as ``maps`` tells: the device as major and minor number,
        ``"fe:00"``, and the inode there, which may be 0. ``""`` and 0 where it maps none, or it is
        not known.
    """

    start: int
    end: int
    protection: str
    shared: bool = False
    offset: int = 0
    name: str = ""
    resident: Runs = ()
    anonymous: Runs = ()
    swapped: Runs = ()
    node_pages: tuple[tuple[int, int], ...] = ()
    device: str = ""
    inode: int = 0

    @property
    def length(self) -> int:
        """Bytes of address space."""
        return self.end - self.start

    @property
    def nodes(self) -> dict[int, int]:
        """Pages on each node of the host, by node id."""
        return dict(self.node_pages)

    @property
    def permits(self) -> Protection:
        """The protection as flags."""
        letters = zip(self.protection, (Protection.READ, Protection.WRITE, Protection.EXEC), strict=True)
        permitted = Protection.NONE
        for letter, flag in letters:
            if letter != "-":
                permitted |= flag
        return permitted

    @property
    def is_heap(self) -> bool:
        """Whether it is private, writable memory of no file, and not a stack."""
        return (
            not self.shared
            and Protection.WRITE in self.permits
            and _NO_FILE.fullmatch(self.name) is not None
            and not self.name.startswith("[stack")
        )

    @property
    def is_kernels_own(self) -> bool:
        """Whether the kernel put it there for its own purposes (``[vdso]``, ``[vvar]``)."""
        return _KERNELS_OWN.fullmatch(self.name) is not None


def count(runs: Runs) -> int:
    """Return how many pages some runs are."""
    return sum(pages for _, pages in runs)


def page_numbers(runs: Runs) -> npt.NDArray[np.uint64]:
    """Return the pages of some runs, one by one: read-only uint64.

    >>> page_numbers(((2, 3), (9, 1))).tolist()
    [2, 3, 4, 9]
    """
    if not runs:
        return read_only(np.empty(0, dtype=np.uint64))
    return read_only(
        np.concatenate([np.arange(first, first + pages, dtype=np.uint64) for first, pages in runs])
    )


def runs_in(present: npt.NDArray[np.bool_]) -> Runs:
    """Return the runs of true entries of a bool array.

    >>> runs_in(np.array([False, True, True, False, True]))
    ((1, 2), (4, 1))
    """
    edges = np.flatnonzero(np.diff(np.concatenate(([False], present, [False])).astype(np.int8)))
    return tuple((first, end - first) for first, end in edges.reshape(-1, 2).tolist())


def joined(runs: Iterable[Run]) -> Runs:
    """Return ascending runs with those that touch made one.

    >>> joined([(0, 2), (2, 1), (5, 1)])
    ((0, 3), (5, 1))
    """
    whole: list[Run] = []
    for first, pages in runs:
        if whole and sum(whole[-1]) == first:
            whole[-1] = (whole[-1][0], whole[-1][1] + pages)
        else:
            whole.append((first, pages))
    return tuple(whole)


def check(area: Area, where: str, page_size: int) -> None:
    """Refuse an area that cannot be.

    Parameters
    ----------
    area
        What to check.
    where
        What to call it in the error, such as ``areas[3]``.
    page_size
        Bytes in a page of the host it comes from.

    Raises
    ------
    UsageError
        With the field that is wrong, such as ``areas[3].end``.
    """
    if not isinstance(area, Area):
        raise UsageError(f"{where} is {area!r}; it must be an Area")
    for field, low, high in (
        ("start", 0, SPACE_END - page_size),
        ("end", page_size, SPACE_END),
        ("offset", 0, (1 << 64) - page_size),
    ):
        number = _plain_integer(getattr(area, field), f"{where}.{field}", low, high)
        if number % page_size:
            raise UsageError(f"{where}.{field} is {number:#x}; it must be a multiple of {page_size}")
    if area.end <= area.start:
        raise UsageError(f"{where}.end is {area.end:#x}; it must be beyond start, {area.start:#x}")
    if not isinstance(area.protection, str) or not re.fullmatch("[r-][w-][x-]", area.protection):
        raise UsageError(f"{where}.protection is {area.protection!r}; it must be like 'rw-'")
    if not isinstance(area.shared, bool):
        raise UsageError(f"{where}.shared is {area.shared!r}; it must be true or false")
    if not isinstance(area.name, str):
        raise UsageError(f"{where}.name is {area.name!r}; it must be text")
    pages = area.length // page_size
    for field in ("resident", "anonymous", "swapped"):
        _check_runs(getattr(area, field), f"{where}.{field}", pages)
    if not _is_within(area.anonymous, area.resident):
        raise UsageError(f"{where}.anonymous names pages that are not in resident")
    if not _is_apart(area.swapped, area.resident):
        raise UsageError(f"{where}.swapped names pages that are in resident, too")
    _check_nodes(area.node_pages, f"{where}.nodes", pages)
    _check_object(area, where)


def _check_runs(runs: object, where: str, pages: int) -> None:
    if not isinstance(runs, tuple):
        raise UsageError(f"{where} is {runs!r}; it must be runs, such as ((0, 4), (7, 1))")
    beyond = 0
    for at, run in enumerate(runs):
        if not isinstance(run, tuple) or len(run) != 2:
            raise UsageError(f"{where}[{at}] is {run!r}; it must be a first page and a number of pages")
        first = _plain_integer(run[0], f"{where}[{at}][0]", beyond, pages - 1)
        beyond = first + _plain_integer(run[1], f"{where}[{at}][1]", 1, pages - first)


def _check_nodes(node_pages: object, where: str, pages: int) -> None:
    if not isinstance(node_pages, tuple) or not all(isinstance(n, tuple) and len(n) == 2 for n in node_pages):
        raise UsageError(f"{where} is {node_pages!r}; it must be pairs of a node id and a number of pages")
    next_node = 0
    for node, on_node in node_pages:
        next_node = _plain_integer(node, f"{where}: node id", next_node, _NODE_MAX) + 1
        pages -= _plain_integer(on_node, f"{where}: pages on node {node}", 0, pages)


def _check_object(area: Area, where: str) -> None:
    """Refuse what names no device, and an inode of none."""
    inode = _plain_integer(area.inode, f"{where}.inode", 0, _INODE_MAX)
    if not isinstance(area.device, str) or (area.device and not _DEVICE.fullmatch(area.device)):
        raise UsageError(f"{where}.device is {area.device!r}; it must be like 'fe:00', or empty")
    if inode and not area.device:
        raise UsageError(f"{where}: inode is {inode} of no device; they name an object together")


def _plain_integer(value: object, what: str, low: int, high: int) -> int:
    if type(value) is not int:
        raise UsageError(f"{what} is {value!r}; it must be a plain integer")
    return integer(value, what, low, high)


def _is_within(inner: Runs, outer: Runs) -> bool:
    """Return whether every page of ascending runs is in other ascending runs."""
    whole = iter(joined(outer))
    current = next(whole, None)
    for first, pages in joined(inner):
        while current is not None and sum(current) < first + pages:
            current = next(whole, None)
        if current is None or current[0] > first:
            return False
    return True


def _is_apart(some: Runs, others: Runs) -> bool:
    """Return whether two lists of ascending runs have no page in common."""
    marks = sorted([*some, *others])
    return all(sum(before) <= after[0] for before, after in itertools.pairwise(marks))
