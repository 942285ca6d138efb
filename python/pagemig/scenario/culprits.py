"""Who keeps a page where it is: who pins it, maps it, locks or writes it, or has taken it off its list.

Start with `Blame.of`. It looks at the machine as it is right after the call, and at what other calls did
while the page was tried. A culprit is some words and the pages of other tasks that they are about, so
that pages with the same culprits can be told of together.

Neighbours: `pagemig.scenario.reasons`, which tells why.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from ..flags import BufferState, LruList, OwnerKind, PageFlags, RecordFlags

if TYPE_CHECKING:
    from ..memcg import Memcg
    from .listening import Attempt, Tried
    from .world import World

Place: TypeAlias = tuple[str, int]
"""A region as a task sees it, and which of its pages."""
Culprit: TypeAlias = tuple[str, tuple[Place, ...]]
"""What is said, and of which pages."""

_PLACES_MAX = 8
_REFUSED_AS_SHARED = (-errno.EACCES, -errno.ENOENT)


def told(culprit: Culprit) -> str:
    """Write a culprit for people.

    >>> told(("mapped by", (("app.heap", 0), ("child.heap", 0))))
    'mapped by app.heap[0], child.heap[0]'
    """
    words, places = culprit
    return " ".join([words, ", ".join(f"{owner}[{number}]" for owner, number in places)]).strip()


def ranges(owner: str, numbers: Iterable[int]) -> str:
    """Write pages of a region, those in a row as one.

    >>> ranges("heap", [0, 1, 2, 7])
    'heap[0:3], heap[7]'
    """
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and runs[-1][1] == number:
            runs[-1][1] = number + 1
        else:
            runs.append([number, number + 1])
    shown = [f"{owner}[{a}:{b}]" if b > a + 1 else f"{owner}[{a}]" for a, b in runs[:_PLACES_MAX]]
    return ", ".join([*shown, *(["..."] if len(runs) > _PLACES_MAX else [])])


class Blame:
    """Who keeps pages, after one call.

    Parameters
    ----------
    world
        The machine, right after the call.
    calls
        The other calls that ran at the same time, by number.
    heard
        What they took off their lists, by number.
    """

    def __init__(self, world: World, calls: Mapping[int, str], heard: Mapping[int, Tried]) -> None:
        self._world = world
        self._calls = calls
        self._pins = world.machine.pins
        isolated = {
            place: name
            for number, name in calls.items()
            if number in heard
            for place in heard[number].addresses.items()
        }
        self._frames = {pfn: name for (pfn, _), name in isolated.items()}
        self._addresses = {address: name for (_, address), name in isolated.items() if address}
        self._mappers: Mappers | None = None

    def of(
        self, pfn: int, address: int, status: int, attempts: tuple[Attempt, ...], others: Mapping[int, str]
    ) -> tuple[Culprit, ...]:
        """Return who keeps the page that is in a frame, or at an address."""
        return tuple(self._found(pfn, address, status, attempts, others))

    def _found(
        self, pfn: int, address: int, status: int, attempts: tuple[Attempt, ...], others: Mapping[int, str]
    ) -> Iterator[Culprit]:
        machine = self._world.machine
        for call, label in others.items():
            if call in self._calls:
                yield f"{self._calls[call]} was at {label}", ()
        if pfn >= machine.frame_count:
            return
        labels = {attempt.label for attempt in attempts}
        frame = machine.frame(pfn)
        if attempts or status == -errno.EAGAIN:
            holders = self._world.holders.get(pfn, [])
            if self._pins.get(pfn):
                yield f"pinned: {', '.join(holders) if holders else f'{self._pins[pfn]} times'}", ()
            gone = self._world.released.get(pfn, [])
            if gone:
                yield f"was pinned meanwhile: {', '.join(gone)}", ()
        # Other entries that map it are replaced with the rest, unless that is what was refused.
        if frame.mapcount > 1 and ("UM-9" in labels or (not attempts and status in _REFUSED_AS_SHARED)):
            yield self._mapped(pfn)
        buffers: list[Culprit] = []
        if attempts and PageFlags.PRIVATE in frame.flags:
            buffers = list(self._buffers(pfn))
            yield from buffers
        if attempts and PageFlags.WRITEBACK in frame.flags:
            yield "the disk is writing it", ()
        if "UM-5" in labels:
            yield from self.payer(pfn)
        is_file = frame.owner is not None and frame.owner.kind is OwnerKind.FILE
        if labels & {"WO-1", "WO-5", "UM-10"} and frame.owner is not None and is_file and not buffers:
            yield from self._file(frame.owner.id)
        if not attempts and status == -errno.EBUSY:
            yield from self._absent(pfn, address)

    def _mapped(self, pfn: int) -> Culprit:
        places = self.mappers.of(pfn)
        if not places:
            return "mapped more than once", ()
        words = "mapped by" if len(places) <= _PLACES_MAX else f"mapped at {len(places)} places, first by"
        return words, tuple(places[:_PLACES_MAX])

    def _buffers(self, pfn: int) -> Iterator[Culprit]:
        buffers = list(enumerate(self._world.machine.buffers(pfn)))
        for words, numbers in (
            ("locked", [n for n, buffer in buffers if BufferState.LOCK in buffer.state]),
            ("in use", [n for n, buffer in buffers if buffer.count and BufferState.LOCK not in buffer.state]),
        ):
            if numbers:
                yield f"buffer {', '.join(map(str, numbers))} {words}", ()

    def payer(self, pfn: int) -> Iterator[Culprit]:
        """The group that pays for a page, and every group above it that has a limit."""
        machine = self._world.machine
        record = machine.memcg_record(pfn)
        names = {number: name for name, number in self._world.memcgs.items()}
        if RecordFlags.USED not in record.flags or record.owner not in names:
            return
        group: Memcg | None = machine.memcg(record.owner)
        verb = "pays"
        while group is not None:
            is_first, limit = verb == "pays", group.limit
            if limit is not None or is_first:
                bound = "no limit" if limit is None else f"a limit of {limit // 4096}"
                name = names.get(group.number, f"{group.number}")
                yield f"memcg {name} {verb}: {group.usage // 4096} pages, {bound}", ()
            group, verb = group.parent, "is above it"

    def _file(self, number: int) -> Iterator[Culprit]:
        for name, known in self._world.files.items():
            if known == number:
                yield f"file {name}", ()

    def _absent(self, pfn: int, address: int) -> Iterator[Culprit]:
        """Who has a page that is on no list."""
        machine = self._world.machine
        taker = self._frames.get(pfn) or self._addresses.get(address)
        if taker is not None:
            yield f"{taker} had taken it off its list", ()
            return
        if pfn in self._world.taken:
            yield "taken off its list by hand", ()
            return
        for cpu in range(len(machine.cpus)):
            for which in LruList:
                if pfn in machine.pagevec(cpu, which):
                    word = which.name.lower().replace("_", "-")
                    yield f"it waits in the pagevec of CPU {cpu} for the list {word}", ()

    @property
    def mappers(self) -> Mappers:
        """Which tasks map each frame, and where; looked up when first asked for."""
        if self._mappers is None:
            self._mappers = Mappers(self._world)
        return self._mappers


class Mappers:
    """Which tasks map each frame, and where, of all regions: columns, as there may be millions.

    Parameters
    ----------
    world
        The machine, as it is now.
    """

    def __init__(self, world: World) -> None:
        core = world.machine._system.core
        live = {task.pid for task in world.machine.tasks if not task.is_kernel_thread}
        self._owners: list[str] = []
        pfns: list[npt.NDArray[np.int64]] = [np.empty(0, np.int64)]
        pages: list[npt.NDArray[np.int64]] = [np.empty(0, np.int64)]
        owners: list[npt.NDArray[np.int32]] = [np.empty(0, np.int32)]
        for name, pid in world.tasks.items():
            if pid not in live:
                continue
            for region_name, region in world.regions.items():
                if not world.has(pid, region_name):
                    continue
                frames = core.frames_of(pid, region.addresses)
                there = np.flatnonzero(frames >= 0)
                pfns.append(frames[there])
                pages.append(there)
                owners.append(np.full(there.size, len(self._owners), np.int32))
                self._owners.append(f"{name}.{region_name}")
        found = np.concatenate(pfns)
        order = np.argsort(found, kind="stable")
        self._pfns, self._pages = found[order], np.concatenate(pages)[order]
        self._by = np.concatenate(owners)[order]

    def of(self, pfn: int) -> list[Place]:
        """Return every place where a frame is mapped, by task and then by region."""
        first, last = np.searchsorted(self._pfns, pfn, "left"), np.searchsorted(self._pfns, pfn, "right")
        return [(self._owners[self._by[at]], int(self._pages[at])) for at in range(int(first), int(last))]
