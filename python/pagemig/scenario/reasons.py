"""Why a page that was asked to move stayed: the chain of reasons, and who is to blame.

Start with `why_not`, for one call right after it has ended. How each attempt was decided is what
`pagemig.scenario.listening` heard; who keeps the page is told by `pagemig.scenario.culprits`. Pages that
the call never tried are looked at where they are. Many pages with the same story are told of in one.

Source: migration 14 (where an attempt ends), syscalls 3.3 (statuses), 5.4 and 6.3 (what is passed over).
"""

from __future__ import annotations

import errno
import itertools
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from ..flags import USER_END, EntryKind, OwnerKind, PageFlags, VmFlags
from ..report import Reason, WhyNot
from .asking import LISTS, Entries, last_of, passed_over, rows_of
from .call_steps import Mbind
from .culprits import Blame, Culprit, ranges, told
from .failures import of_failure
from .listening import Attempt, Tried
from .raw_steps import RawMbind
from .refusals import Refusals

if TYPE_CHECKING:
    from .running import Flight
    from .world import World

SINGLE_MAX = 64
"""Pages of one call that are each told of alone; of more, those with the same story are told in one."""

_TEXTS = {
    "UM-1": "the target node had no frame to give",
    "UM-3": "another held the page's lock",
    "UM-4": "it is a page that KSM shares, which only offlining may move",
    "UM-5": "the memory cgroup that pays for it is at its limit and refused the new frame",
    "UM-6": "it was being written back, and an early pass does not wait",
    "UM-8": "it has left its file, and what remained of its buffers had to go first",
    "UM-9": "an entry that maps it could not be replaced",
    "MM-1": "someone else held a reference to it",
    "MM-5": "someone else held a reference to it, besides its file or swap and the engine",
    "MM-6": "someone took a reference between the count and the freeze",
    "WO-1": "it is dirty, and its filesystem can neither move nor write it",
    "WO-5": "it was dirty, and writing it to disk failed",
    "WO-6": "it was dirty and had to be written to disk first",
    "FB-2": "its buffers are in use and could not be dropped",
    "MN-3": "the migration method of its file refused",
}


@dataclass(slots=True)
class _Row:
    """One page that stayed."""

    entry: int
    place: tuple[str, int]
    """Its region and which page of it; or what else to call it, and -1."""
    status: int
    reasons: tuple[Reason, ...]
    culprits: tuple[Culprit, ...]

    @property
    def story(self) -> tuple[Any, ...]:
        """What it has in common with others."""
        said = tuple((words, tuple(owner for owner, _ in places)) for words, places in self.culprits)
        return self.status, self.reasons, said, self.place[0] if self.place[1] >= 0 else ""


class PassedOver(NamedTuple):
    """A page that a call was to move and did not take."""

    address: int
    status: int
    node: int


def why_not(
    world: World, flight: Flight, tried: Tried, blame: Blame
) -> tuple[tuple[WhyNot, ...], tuple[PassedOver, ...]]:
    """Return why each page that a call was asked to move, and did not, stayed, and those not even taken.

    Parameters
    ----------
    world
        The machine, right after the call.
    flight
        The call.
    tried
        What it did to the pages that it took off their lists.
    blame
        Who keeps pages.
    """
    teller = _Teller(world, flight, tried, blame)
    rows = teller.entries() if isinstance(flight.part, LISTS) else teller.frames()
    return tuple(_in_groups(rows, flight.part.id)), tuple(teller.passed_over)


def _in_groups(rows: Iterator[_Row], call: str) -> Iterator[WhyNot]:
    """Tell of few pages one by one, of many those with the same story in one."""
    few = list(itertools.islice(rows, SINGLE_MAX + 1))
    if len(few) <= SINGLE_MAX:
        yield from (_Group(row).told(call) for row in few)
        return
    groups: dict[tuple[Any, ...], _Group] = {}
    for row in itertools.chain(few, rows):
        story = row.story
        if story in groups:
            groups[story].add(row)
        else:
            groups[story] = _Group(row)
    yield from (group.told(call) for group in groups.values())


class _Group:
    """Pages with one story, by their numbers alone: there may be millions."""

    def __init__(self, first: _Row) -> None:
        self.first = first
        self.pages = 0
        self.runs: list[list[int]] = []
        self.numbers = array("q")
        self.places = [[array("q") for _ in places] for _, places in first.culprits]
        self.add(first)

    def add(self, row: _Row) -> None:
        """Add a page that has the story of the first."""
        self.pages += 1
        if self.runs and self.runs[-1][1] == row.entry:
            self.runs[-1][1] += 1
        else:
            self.runs.append([row.entry, row.entry + 1])
        self.numbers.append(row.place[1])
        for columns, (_, places) in zip(self.places, row.culprits, strict=True):
            for column, (_, number) in zip(columns, places, strict=True):
                column.append(number)

    def told(self, call: str) -> WhyNot:
        """Return the story."""
        first, spans = self.first, tuple((start, stop) for start, stop in self.runs)
        if self.pages == 1:
            page, culprits = _name(first.place), tuple(map(told, first.culprits))
        else:
            is_region = first.place[1] >= 0
            rest = f"{_name(first.place)} and {self.pages - 1} more"
            page = ranges(first.place[0], self.numbers) if is_region else rest
            culprits = tuple(map(_joined, first.culprits, self.places))
        return WhyNot(call, first.entry, page, first.status, first.reasons, culprits, self.pages, spans)


def _joined(culprit: Culprit, columns: list[array[int]]) -> str:
    """Write a culprit that many pages have, each in its own place."""
    words, places = culprit
    parts = [ranges(owner, column) for (owner, _), column in zip(places, columns, strict=True)]
    return " ".join([words, ", ".join(parts)]).strip()


def _name(place: tuple[str, int]) -> str:
    return f"{place[0]}[{place[1]}]" if place[1] >= 0 else place[0]


class _Teller:
    """Looks at the pages of one call."""

    def __init__(self, world: World, flight: Flight, tried: Tried, blame: Blame) -> None:
        self.world, self.flight, self.tried, self.blame = world, flight, tried, blame
        self.pids = {task.pid for task in world.machine.tasks}
        came = flight.came
        self.failure = -getattr(errno, came.errno) if came.errno is not None else 0
        self.failed = of_failure(world, flight.part, -self.failure) if self.failure else ()
        self.refusals = Refusals(world, flight.part, tried, blame)
        if self.failure == -errno.EBUSY and self.refusals.frames:
            self.failed = self.refusals.named([self._place_of(pfn, 0) for pfn in self.refusals.frames])
        self.short: int | None = None
        if self.failure == -errno.ENOMEM:
            latest = tried.latest
            if latest in tried.attempts and tried.attempts[latest][-1].result == -errno.ENOMEM:
                self.failed = tuple(blame.payer(latest))  # Its charge was refused.
            else:
                self.short = self._without_frame()
        self.kept: dict[tuple[Any, ...], tuple[Reason, ...]] = {}
        self.passed_over: list[PassedOver] = []
        """Filled while the rows are told."""

    @cached_property
    def methods(self) -> dict[int, object]:
        """How the pages of each file move."""
        return {file.number: file.filesystem.migrate for file in self.world.machine.files}

    def _without_frame(self) -> int | None:
        """The page for which no frame was found: the next in the list after the one tried last."""
        moved = {pfn for pfn, result in self.tried.results.items() if result == 0}
        frames, attempts = [pfn for pfn in self.tried.addresses if pfn not in moved], self.tried.attempts
        fresh = next((pfn for pfn in frames if pfn not in attempts), None)
        if fresh is not None or self.tried.latest not in frames:
            return fresh
        at = frames.index(self.tried.latest) + 1
        return frames[at] if at < len(frames) else frames[0]

    def entries(self) -> Iterator[_Row]:
        """The pages of a move_pages call with a negative status, or none because the call failed."""
        part, entries = self.flight.part, self.flight.entries
        if not isinstance(part, LISTS) or part.nodes is None or entries is None:
            return
        if not self.flight.came.done:
            return
        statuses = self.flight.came.statuses or ()
        frames = {address: pfn for pfn, address in self.tried.addresses.items()}
        # A page that is listed twice goes with one entry, and is on no list for the other.
        went = {
            (at & ~4095, node) for at, node in zip(entries.addresses, statuses, strict=False) if node >= 0
        }
        nodes = part.nodes if isinstance(part.nodes, tuple) else (part.nodes,)
        for entry, address in enumerate(entries.addresses):
            is_told = entry < len(statuses)
            status = statuses[entry] if is_told else self.failure
            start = address & ~4095
            is_where_asked = bool(nodes) and (start, nodes[entry % len(nodes)]) in went
            if status >= 0 or is_where_asked or (not is_told and self._has_moved(entries, entry)):
                continue
            pfn = frames.get(address, frames.get(start))
            place = self._place(entries.pid, start)
            reasons, culprits = self._story(entries.pid, start, status, pfn, is_failure=not is_told)
            yield _Row(entry, place, status, reasons, culprits)

    @staticmethod
    def _has_moved(entries: Entries, entry: int) -> bool:
        after = entries.after[entry] if entries.after else -1
        return 0 <= after != entries.before[entry]

    def frames(self) -> Iterator[_Row]:
        """The pages that any other call tried in vain, did not get to, or passed over."""
        order, refused = rows_of(self.tried), self.refusals.frames
        for entry, first in enumerate(order):
            pfn = last_of(self.tried, first)
            attempts = self.tried.attempts.get(pfn)
            if pfn in refused:
                place, reasons, culprits = self._place_of(pfn, 0), *self.refusals.of(pfn)
                yield _Row(entry, place, refused[pfn], reasons, culprits)
                continue
            if self.tried.results.get(pfn) == 0 or (attempts is None and not self.failure):
                continue
            address = self.tried.addresses.get(pfn, 0)
            status = attempts[-1].result if attempts else self.failure
            reasons, culprits = self._story(0, address, status, pfn, is_failure=attempts is None)
            yield _Row(entry, self._place_of(pfn, address), status, reasons, culprits)
        yield from self._passed_over(len(order))
        if not order and self.failure:
            for name, reason, culprits in self.refusals.whole(self.flight.part, self.failure):
                yield _Row(0, (name, -1), self.failure, (reason,), culprits)

    def _passed_over(self, entry: int) -> Iterator[_Row]:
        """Pages that migrate_pages and mbind did not take, and do not count."""
        entries, came = self.flight.entries, self.flight.came
        if entries is None or not came.done or entries.pid not in self.pids:
            return
        task = self.world.machine.task(entries.pid)
        is_range = isinstance(self.flight.part, (Mbind, RawMbind))
        # With STRICT, a range that was walked to its end fails for pages that stayed (syscalls 6.2).
        is_whole = not self.failure or (is_range and self.failure == -errno.EIO)
        for at in passed_over(entries, self.tried):
            address = entries.addresses[at]
            pfn = task.entry_at(address).pfn
            if pfn is None or pfn >= self.world.machine.frame_count or pfn in self.tried.addresses:
                continue
            culprits: tuple[Culprit, ...]
            if is_whole:
                status, text = self._unmoved(pfn, entries.moves_all)
                culprits = self.blame.of(pfn, address, status, (), {})
            else:
                status, text = self.failure, f"the call ended before: {errno.errorcode[-self.failure]}"
                culprits = self.failed
            reasons = (Reason(None, "SY6" if is_range else "SY5", status, text),)
            self.passed_over.append(PassedOver(address, status, entries.before[at]))
            yield _Row(entry, self._place(entries.pid, address), status, reasons, culprits)
            entry += 1

    def _unmoved(self, pfn: int, moves_all: bool) -> tuple[int, str]:
        frame = self.world.machine.frame(pfn)
        if frame.owner is not None and frame.owner.kind is OwnerKind.KSM:
            return -errno.ENOENT, "it is a page that KSM shares, which is passed over"
        if PageFlags.RESERVED in frame.flags:
            return -errno.ENOENT, "it is a reserved page, which is passed over"
        if frame.mapcount > 1 and not moves_all:
            return (
                -errno.EACCES,
                "more than one entry maps it, and pages of others are not moved by this caller",
            )
        return -errno.EBUSY, "it was on no LRU list when it was looked up"

    # one page ----------------------------------------------------------------------------

    def _story(
        self, pid: int, address: int, status: int, pfn: int | None, *, is_failure: bool
    ) -> tuple[tuple[Reason, ...], tuple[Culprit, ...]]:
        attempts = self.tried.attempts.get(pfn, ()) if pfn is not None else ()
        if pfn is not None and pfn == self.short:
            tail = Reason(
                attempts[-1].first + attempts[-1].times if attempts else 1, "UM-1", status, _TEXTS["UM-1"]
            )
            return (*self._chain(attempts, pfn), tail), self.failed
        if attempts and pfn is not None:
            others = self.tried.others.get(pfn, {})
            return self._chain(attempts, pfn), self.blame.of(pfn, address, status, attempts, others)
        if is_failure:
            text = f"the call ended before: {errno.errorcode[-self.failure]}"
            return (Reason(None, "DP-5", status, text),), self.failed
        reasons, found = _never_tried(self.world, pid if pid in self.pids else None, address, status)
        return reasons, () if found is None else self.blame.of(found, address, status, (), {})

    def _chain(self, attempts: tuple[Attempt, ...], pfn: int) -> tuple[Reason, ...]:
        labels = tuple(
            _inside(self.world, a.result, pfn, self.methods) if a.label == "UM-10" else a.label
            for a in attempts
        )
        key = (attempts, labels)
        if key not in self.kept:
            self.kept[key] = tuple(
                Reason(a.first, label, a.result, _TEXTS[label], a.times)
                for a, label in zip(attempts, labels, strict=True)
            )
        return self.kept[key]

    def _place(self, pid: int, address: int) -> tuple[str, int]:
        """What a page is called: after its task's own region, or that of a parent."""
        found = [
            (name, region)
            for name, region in self.world.regions.items()
            if self.world.has(pid, name) and address in region
        ]
        own = [one for one in found if one[1].task == pid] or found
        if not own:
            return hex(address), -1
        name, region = own[0]
        seen_by = "" if region.task == pid else f"{self.world.task_name(pid)}."
        return f"{seen_by}{name}", (address - region.start) // 4096

    def _place_of(self, pfn: int, address: int) -> tuple[str, int]:
        """What the page in a frame is called: as the task knows it whose pages the call is about."""
        entries = self.flight.entries
        if entries is not None and address and entries.pid in self.pids:
            place = self._place(entries.pid, address & ~4095)
            if place[1] >= 0:
                return place
        named = self.blame.mappers.of(pfn)
        if named:
            owner, number = named[0]
            of_owner = self.world.regions[owner.split(".", 1)[1]]
            own = self.world.task_name(of_owner.task)
            return (owner.split(".", 1)[1] if owner.startswith(f"{own}.") and address else owner), number
        return f"frame {pfn}", -1


def _inside(world: World, result: int, pfn: int, methods: Mapping[int, object]) -> str:
    """What the method of the page's mapping decided, all in one step."""
    frame = None if pfn >= world.machine.frame_count else world.machine.frame(pfn)
    owner = None if frame is None else frame.owner
    if owner is not None and owner.kind is OwnerKind.FILE and methods.get(owner.id) == result:
        return "MN-3"  # A method that is an errno answers nothing else.
    if result == -errno.EINVAL:
        return "WO-1"
    if result != -errno.EAGAIN:
        return "MN-3"
    if frame is not None and PageFlags.PRIVATE in frame.flags:
        return "FB-2"
    return "MM-5" if owner is not None and owner.kind is OwnerKind.FILE else "MM-1"


def _never_tried(
    world: World, pid: int | None, address: int, status: int
) -> tuple[tuple[Reason, ...], int | None]:
    """Return why a page was not even tried, and the frame that it is in."""
    task = None if pid is None else world.machine.task(pid)
    entry = task.entry_at(address) if task is not None and address < USER_END else None
    pfn = entry.pfn if entry is not None and entry.kind is EntryKind.PRESENT else None
    if status == -errno.EACCES:
        text = "more than one entry maps it, and scope is exclusive"
    elif status == -errno.EFAULT:
        text = "no area that can be migrated was there" if task is None else _no_area(task, address)
    elif status == -errno.EBUSY:
        text = "it was on no LRU list when it was looked up"
    else:
        text = "it was not there when it was looked up" if task is None else _not_there(world, entry)
    return (Reason(None, "DM-2", status, text),), pfn


def _no_area(task: Any, address: int) -> str:
    area = next((vma for vma in task.vmas if address < vma.end), None)
    if area is None:
        return "no area ends above the address"
    odd = [
        flag.name
        for flag in (VmFlags.IO, VmFlags.HUGETLB, VmFlags.PFNMAP, VmFlags.RESERVED)
        if flag in area.flags
    ]
    return f"its area cannot be migrated: {', '.join(map(str, odd)) if odd else 'its file lives too low'}"


def _not_there(world: World, entry: Any) -> str:
    if entry is None or entry.kind is EntryKind.NONE:
        return "nothing is there: it was never touched, or has been let go"
    if entry.kind is EntryKind.SWAP:
        return "it is swapped out"
    if entry.kind is EntryKind.MIGRATION:
        return "another call was moving it at that moment"
    if entry.special or entry.pfn is None or entry.pfn >= world.machine.frame_count:
        return "the zero page is there, which never moves"
    frame = world.machine.frame(entry.pfn)
    if frame.owner is not None and frame.owner.kind is OwnerKind.KSM:
        return "a page that KSM shares is there"
    if PageFlags.RESERVED in frame.flags:
        return "a reserved page is there"
    return "it was not there when it was looked up"
