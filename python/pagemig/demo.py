"""The demonstration: a real program's heap, moved on a simulated machine while others use it.

Start with :func:`run`. It takes a captured address space, loads it onto a machine of four nodes, and
arranges what makes a move interesting (:class:`Situation`): parts of the heap live on other nodes
already, a *partner* task shares some pages, a *device* task holds pins on some. Then the program asks
for its whole heap to be moved by one ``move_pages`` call, with a few addresses that hold nothing, and
:class:`Demonstration` keeps everything there is to say about it.

:func:`sample_program` is the program that is captured when nobody names another. Below:
:mod:`pagemig.machine`, :mod:`pagemig.inputs`, :mod:`pagemig.report`. Above: :mod:`pagemig.webpage`
and the command line.

Left out: moving pages of files, which are loaded and stay where they are.
"""

from __future__ import annotations

import contextlib
import dataclasses
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .errors import UsageError
from .flags import PAGE_SIZE, GiB
from .inputs import AddressSpace, Area
from .machine import Machine
from .numa_maps import only
from .region import Region
from .report import Kind, Outcome, tally
from .task import Task

NODES = 4
TARGET = 2
"""The node that the heap is moved to."""

_ROUNDS = 5
_NEVER_TOUCHED = 48
_BEYOND = 16

_PROGRAM = """
import sys
words = [f"word-{number:07d}" for number in range(100_000)]
index = {word: number for number, word in enumerate(words)}
table = [[float(row * column) for column in range(32)] for row in range(6_000)]
image = bytearray(b"\\x2a") * (8 << 20)
print("ready", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def sample_program(timeout: float = 20.0) -> Iterator[int]:
    """Run a Python program with some tens of MiB of data, and give its pid while it waits.

    Raises
    ------
    UsageError
        If the program does not start, or ends before its data is there.
    """
    try:
        child = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    except OSError as error:
        raise UsageError(f"{sys.executable}: the sample program does not start: {error.strerror}") from None
    try:
        assert child.stdout is not None
        if child.stdout.readline().strip() != b"ready":
            raise UsageError(f"{sys.executable}: the sample program ended with code {child.wait(timeout)}")
        yield child.pid
    finally:
        child.kill()
        child.communicate()


@dataclass(frozen=True, slots=True)
class Situation:
    """A machine, ready for the move, and what is special about some of the pages.

    Attributes
    ----------
    owner, partner, device
        The captured program, a task that shares pages with it, and one that has pinned pages.
    heap
        The areas whose pages are to be moved.
    pages
        Addresses of the heap's present pages, ascending; uint64, shape (pages,).
    asked
        ``pages``, then addresses that hold no page, then addresses above every area.
    shared, pinned
        How many pages of the heap the partner shares and the device holds.
    """

    machine: Machine
    owner: Task
    partner: Task
    device: Task
    heap: tuple[Region, ...]
    pages: npt.NDArray[np.uint64]
    asked: npt.NDArray[np.uint64]
    shared: int
    pinned: int


@dataclass(frozen=True, slots=True)
class Demonstration:
    """What the move did, and what it took.

    Attributes
    ----------
    program
        What was captured, as a person would say it.
    refused
        Why the host let nobody capture a running program; empty if it did.
    asked
        How many addresses the call named; the first ``len(before)`` are the heap's pages.
    before, after
        Node of each page of the heap, in address order, before and after the call; int32.
    statuses
        What the call wrote for each address; int32, shape (asked,).
    outcomes
        The statuses counted, with the reason behind each in this situation.
    numa_maps_before, numa_maps_after
        The owner's ``numa_maps``, lines of the heap only.
    cost
        Elementary operations of the call, by name.
    ns_per_page
        Nanoseconds of the call divided by ``asked``, the median of several identical clones.
    host_ns_per_page
        What the host's own ``move_pages`` needs to look one page up; ``None`` if it refused.
    findings
        What the audit of the machine found broken, one sentence each; empty is good.
    """

    program: str
    refused: str
    asked: int
    target: int
    before: npt.NDArray[np.int32]
    after: npt.NDArray[np.int32]
    statuses: npt.NDArray[np.int32]
    outcomes: tuple[Outcome, ...]
    numa_maps_before: str
    numa_maps_after: str
    cost: Mapping[str, int]
    ns_per_page: float
    host_ns_per_page: float | None
    findings: tuple[str, ...]

    def count(self, kind: Kind) -> int:
        """Return how many addresses ended as ``kind``."""
        return sum(row.pages for row in self.outcomes if row.kind is kind)


def load(space: AddressSpace) -> tuple[Machine, Task]:
    """Load a captured program onto a machine of four nodes with room for it twice over."""
    room = max(GiB, -(-2 * space.resident // GiB) * GiB)
    machine = Machine(nodes=[room] * NODES, cpus=NODES)
    return machine, machine.load(space)


def arrange(space: AddressSpace) -> Situation:
    """Load a captured program onto a machine of four nodes, and let others use its pages.

    Everything is chosen by position in the heap, so one capture always makes one situation: of every
    seven blocks of 331 pages one lives on node 1 and one on the target; of every seventeen blocks of 73
    pages the partner keeps one; of every 97 pages the device has pinned one.

    Raises
    ------
    UsageError
        If the capture holds no page of private, writable, anonymous memory.
    """
    machine, owner = load(space)
    areas = [area for area in space.areas if area.is_heap]
    heap = tuple(Region(owner, area.start, area.length) for area in areas)
    pages = _present(owner, areas)
    if not len(pages):
        raise UsageError(f"{space.name}: the capture holds no page of private, writable, anonymous memory")
    position = np.arange(len(pages))
    owner.move_pages(pages[position // 331 % 7 == 3], 1)
    owner.move_pages(pages[position // 331 % 7 == 5], TARGET)
    partner, device = owner.fork("partner"), owner.fork("device")
    kept, pinned = pages[position // 73 % 17 == 5], pages[position % 97 == 42]
    for address in pinned.tolist():
        device.pin(address)
    _keep_only(device, heap, pages[:0])
    _keep_only(partner, heap, kept)
    untouched = owner.mmap(_NEVER_TOUCHED * PAGE_SIZE)
    # A region may be built anywhere: this one lies above everything that is mapped.
    beyond = Region(owner, owner.regions[-1].end, _BEYOND * PAGE_SIZE).addresses
    asked = np.concatenate((pages, untouched.addresses, beyond))
    return Situation(machine, owner, partner, device, heap, pages, asked, len(kept), len(pinned))


def _present(task: Task, areas: list[Area]) -> npt.NDArray[np.uint64]:
    """Return the addresses of the pages that are there, ascending.

    Only pages that the capture names are asked about: an area may reserve more than can be listed.
    """
    runs = [
        Region(task, area.start + first * PAGE_SIZE, pages * PAGE_SIZE).addresses
        for area in areas
        for first, pages in area.anonymous
    ]
    named = np.concatenate(runs) if runs else np.empty(0, dtype=np.uint64)
    return named[task.nodes_of(named) >= 0]


def _keep_only(task: Task, regions: tuple[Region, ...], kept: npt.NDArray[np.uint64]) -> None:
    """Unmap all of a task's regions but the pages at the addresses ``kept``, which ascend."""
    for region in regions:
        gap = region.start
        end = region.start + region.length
        inside = kept[(kept >= np.uint64(region.start)) & (kept < np.uint64(end))]
        for address in [*inside.tolist(), end]:
            if address > gap:
                task.munmap(Region(task, gap, address - gap))
            gap = address + PAGE_SIZE


def run(
    space: AddressSpace, *, program: str, refused: str = "", host_ns_per_page: float | None = None
) -> Demonstration:
    """Arrange the situation, move the heap, and keep what there is to show.

    Parameters
    ----------
    space
        The captured program.
    program, refused, host_ns_per_page
        See :class:`Demonstration`.

    Raises
    ------
    UsageError
        See :func:`arrange`.
    """
    situation = arrange(space)
    machine, owner = situation.machine, situation.owner
    starts = frozenset(region.start for region in situation.heap)
    ns_per_page = _timed(situation)
    before = owner.nodes_of(situation.pages)
    maps_before = only(owner.numa_maps(), starts)
    spent = dict(machine.cost)
    statuses = owner.move_pages(situation.asked, TARGET)
    cost = {name: count - spent.get(name, 0) for name, count in machine.cost.items()}
    everywhere = np.full(len(situation.asked), -1, dtype=np.int32)
    everywhere[: len(before)] = before
    return Demonstration(
        program=program,
        refused=refused,
        asked=len(situation.asked),
        target=TARGET,
        before=before,
        after=owner.nodes_of(situation.pages),
        statuses=statuses,
        outcomes=_explained(tally(statuses, everywhere), situation),
        numa_maps_before=maps_before,
        numa_maps_after=only(owner.numa_maps(), starts),
        cost={name: count for name, count in cost.items() if count},
        ns_per_page=ns_per_page,
        host_ns_per_page=host_ns_per_page,
        findings=tuple(str(finding) for finding in machine.audit()),
    )


def _timed(situation: Situation) -> float:
    """Run the call on clones of the machine: nanoseconds a page, the median."""
    took = []
    for _ in range(_ROUNDS):
        task = situation.machine.clone().task(situation.owner.pid)
        start = time.perf_counter_ns()
        task.move_pages(situation.asked, TARGET)
        took.append(time.perf_counter_ns() - start)
    return statistics.median(took) / len(situation.asked)


def _explained(outcomes: tuple[Outcome, ...], situation: Situation) -> tuple[Outcome, ...]:
    """Put what is known about this situation into the reasons."""
    known = {
        Kind.SHARED: f"The task '{situation.partner.name}' maps them too, and the call did not ask for "
        "MPOL_MF_MOVE_ALL.",
        Kind.BUSY: f"The task '{situation.device.name}' holds a pin on each: a reference that no page table "
        "explains. It was there in all ten passes, so they went back where they were.",
        Kind.NOT_PRESENT: "Reserved and never touched: an area covers the address, but no page is there.",
        Kind.NO_MAPPING: "Above the program's last area: no area ends above the address.",
    }
    return tuple(dataclasses.replace(row, reason=known.get(row.kind, row.reason)) for row in outcomes)
