"""Why a page that was asked to move stayed: the chain of reasons, and who is to blame.

Start with `why_not`. What happened in each attempt is read off the trace: the steps that it made
tell where it was decided. Who keeps the page is read off the machine as it is afterwards, and off
what other calls did meanwhile: who pins it, who else maps it, who waits for it.

Source: migration 14 (where an attempt ends), syscalls 3.3 (statuses).
"""

from __future__ import annotations

import errno
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..flags import BufferState, EntryKind, LruList, OwnerKind, PageFlags, VmFlags
from ..region import Region
from ..report import Reason, WhyNot
from ..results import MigrationResult
from ..trace import Event
from .call_steps import MovePages
from .judging import placement

if TYPE_CHECKING:
    from .running import Flight
    from .world import World

PAGES_MAX = 256
"""Pages whose reasons are told, of one call: the rest is told by the statuses."""

_AFTERWARDS = ("UM-11", "UM-12", "UM-14", "UM-15", "UM-16", "UM-17", "UM-18", "RP-", "MN-5", "MP-", "NP-")
_HOLDERS = ("EW-", "SP9-", "SP17-", "SP8-", "SP2", "SP16-", "SP15-", "SP12-", "SP11-", "SP7-")

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
class _Attempt:
    """One attempt of a call to move a page, as the trace shows it."""

    result: int
    labels: tuple[str, ...]
    others: dict[int, str] = field(default_factory=dict)
    """Other calls that made a step meanwhile, each with its last one that can hold a page."""


@dataclass(slots=True)
class _Told:
    """What the trace tells of one call."""

    attempts: dict[int, list[_Attempt]] = field(default_factory=lambda: defaultdict(list))
    """By frame."""
    frames: dict[int, int] = field(default_factory=dict)
    """The frame that was isolated at each address."""


def why_not(world: World, flights: list[Flight], events: tuple[Event, ...]) -> tuple[WhyNot, ...]:
    """Return why each page that a call was asked to move, and did not, stayed."""
    told = _read(events)
    names = world.page_names()
    mappers = _mappers(world)
    calls = {flight.call.number: flight.part.id for flight in flights if flight.call is not None}
    found: list[WhyNot] = []
    for flight in flights:
        if flight.call is None:
            continue
        known = told.get(flight.call.number, _Told())
        others = {number: name for number, name in calls.items() if number != flight.call.number}
        isolated = {at: name for number, name in others.items() for at in told[number].frames}
        blame = _Blame(world, mappers, others, isolated)
        if isinstance(flight.part, MovePages):
            if flight.part.nodes is not None:
                found += _of_entries(world, flight, known, names, blame)
        else:
            found += _of_frames(world, flight, known, names, blame)
    return tuple(found)


def _read(events: Iterable[Event]) -> dict[int, _Told]:
    """Sort the trace by call and frame; an attempt is what happened since the one before it."""
    told: dict[int, _Told] = defaultdict(_Told)
    labels: dict[int, list[str]] = defaultdict(list)
    others: dict[int, dict[int, str]] = defaultdict(dict)
    for event in events:
        mine = told[event.call]
        if event.event == "step":
            labels[event.call].append(event.label)
            if event.label.startswith(_HOLDERS):
                for call in told:
                    if call != event.call:
                        others[call][event.call] = event.label
        elif event.event == "isolate":
            mine.frames[event.address] = event.pfn
        elif event.event == "allocate":
            labels[event.call].clear()
        elif event.event == "attempt":
            attempt = _Attempt(event.value, tuple(labels[event.call]), others.pop(event.call, {}))
            mine.attempts[event.pfn].append(attempt)
            labels[event.call].clear()
    return told


def _of_entries(
    world: World, flight: Flight, known: _Told, names: Mapping[tuple[int, int], str], blame: _Blame
) -> list[WhyNot]:
    """The pages of a move_pages call that have a negative status, or none because the call failed."""
    part = flight.part
    if not isinstance(part, MovePages):
        return []
    came = flight.came
    statuses = came.statuses or ()
    seen_by = part.target if isinstance(part.target, str) else part.by
    where = world.where(part.pages, seen_by)
    addresses = (where.addresses if isinstance(where, Region) else where).tolist()
    pid = world.tasks.get(seen_by, 0)
    failure = -getattr(errno, came.errno) if came.errno is not None else 0
    found: list[WhyNot] = []
    for entry, address in enumerate(addresses):
        status = statuses[entry] if entry < len(statuses) else failure
        if status >= 0 or len(found) >= PAGES_MAX:
            continue
        start = address & ~4095
        name = names.get((world.regions_pid(start, pid), start), hex(address))
        pfn = known.frames.get(address, known.frames.get(start))
        attempts = known.attempts.get(pfn, []) if pfn is not None else []
        if attempts and attempts[-1].result == 0:
            if failure:
                continue
            attempts = []
        if attempts:
            reasons = tuple(_reason(world, number, item, pfn) for number, item in enumerate(attempts, 1))
            culprits = blame.of(pfn, pid, start, attempts)
        else:
            reasons, pfn = _never_tried(world, pid, start, status, failure)
            culprits = blame.of(pfn, pid, start, [])
        found.append(WhyNot(part.id, entry, name, status, reasons, culprits))
    return found


def _of_frames(
    world: World, flight: Flight, known: _Told, names: Mapping[tuple[int, int], str], blame: _Blame
) -> list[WhyNot]:
    """The pages that any other call tried to move in vain."""
    by_frame = {pfn: address for address, pfn in known.frames.items()}
    result = flight.came.result
    listed = len(result.statuses) if isinstance(result, MigrationResult) else 0
    found: list[WhyNot] = []
    for pfn, attempts in known.attempts.items():
        if attempts[-1].result == 0 or len(found) >= PAGES_MAX:
            continue
        address = by_frame.get(pfn, 0)
        named = [name for (_, start), name in names.items() if address and start == address]
        named += blame.mappers.get(pfn, [])
        reasons = tuple(_reason(world, number, item, pfn) for number, item in enumerate(attempts, 1))
        culprits = blame.of(pfn, 0, address, attempts)
        entry = len(found) if not listed else min(len(found), listed - 1)
        name = named[0] if named else f"frame {pfn}"
        found.append(WhyNot(flight.part.id, entry, name, attempts[-1].result, reasons, culprits))
    return found


# one attempt -----------------------------------------------------------------------------


def _reason(world: World, number: int, attempt: _Attempt, pfn: int | None) -> Reason:
    label = _decided(world, attempt, pfn)
    text = "it moved" if attempt.result == 0 else _TEXTS[label]
    return Reason(number, label, attempt.result, text)


def _decided(world: World, attempt: _Attempt, pfn: int | None) -> str:
    """Return the step of the specification at which an attempt was decided."""
    labels = attempt.labels
    if attempt.result == 0:
        return "UM-16"
    if any(label.startswith("WO-") for label in labels):
        return "WO-5" if attempt.result == -errno.EIO else "WO-6"
    own = [label for label in labels if not label.startswith(_AFTERWARDS)]
    last = own[-1] if own else "UM-3"
    if last in ("MM-6", "MM-7"):
        return "MM-6"
    if last.startswith("MM-"):
        return "MM-5"
    if last == "UM-10":
        return _inside(world, attempt.result, pfn)
    if last in ("UM-4", "UM-5", "UM-6"):
        codes = {-errno.EBUSY: "UM-4", -errno.ENOMEM: "UM-5"}
        return codes.get(attempt.result, "UM-8" if "UM-6" in own else "UM-6")
    if attempt.result == -errno.ENOMEM:
        return "UM-1"
    if attempt.result == -errno.EBUSY:
        return "UM-4"
    return "UM-9" if last == "UM-9" else "UM-3"


def _inside(world: World, result: int, pfn: int | None) -> str:
    """What the method of the page's mapping decided, all in one step."""
    if result == -errno.EINVAL:
        return "WO-1"
    if result != -errno.EAGAIN:
        return "MN-3"
    frame = None if pfn is None or pfn >= world.machine.frame_count else world.machine.frame(pfn)
    if frame is not None and PageFlags.PRIVATE in frame.flags:
        return "FB-2"
    is_file = frame is not None and frame.owner is not None and frame.owner.kind is OwnerKind.FILE
    return "MM-5" if is_file else "MM-1"


# never tried -----------------------------------------------------------------------------


def _never_tried(
    world: World, pid: int, address: int, status: int, failure: int
) -> tuple[tuple[Reason, ...], int | None]:
    """Return why a page was not even tried, and the frame that it is in."""
    if pid not in {task.pid for task in world.machine.tasks}:
        return (Reason(None, "MV-4", status, "its task is gone"),), None
    task = world.machine.task(pid)
    entry = task.entry_at(address) if address < 1 << 47 else None
    pfn = entry.pfn if entry is not None and entry.kind is EntryKind.PRESENT else None
    if failure:
        return (Reason(None, "DP-5", status, f"the call ended before: {errno.errorcode[-failure]}"),), pfn
    if status == -errno.EACCES:
        return (Reason(None, "DM-2", status, "more than one entry maps it, and scope is exclusive"),), pfn
    if status == -errno.EFAULT:
        return (Reason(None, "DM-2", status, _no_area(task, address)),), pfn
    if status == -errno.EBUSY:
        return (Reason(None, "DM-2", status, "it was on no LRU list when it was looked up"),), pfn
    return (Reason(None, "DM-2", status, _not_there(world, entry)),), pfn


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
        return "nothing is there: it was never touched"
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


# culprits --------------------------------------------------------------------------------


def _mappers(world: World) -> dict[int, list[str]]:
    """Return which task maps each frame, and where: ``child.heap[3]``."""
    found: dict[int, list[str]] = defaultdict(list)
    for task, pid in world.tasks.items():
        if pid not in {live.pid for live in world.machine.tasks} or world.machine.task(pid).is_kernel_thread:
            continue
        for name, region in world.regions.items():
            for number, pfn in enumerate(placement(world, pid, region).frames):
                if pfn >= 0:
                    found[pfn].append(f"{task}.{name}[{number}]")
    return found


@dataclass(slots=True)
class _Blame:
    """Who keeps a page where it is."""

    world: World
    mappers: Mapping[int, list[str]]
    calls: Mapping[int, str]
    """The other calls, by number."""
    isolated: Mapping[int, str]
    """The other call that isolated the page at an address."""

    def of(self, pfn: int | None, pid: int, address: int, attempts: list[_Attempt]) -> tuple[str, ...]:
        """Return who, each in a few words."""
        found: list[str] = []
        others: dict[int, str] = {}
        for attempt in attempts:
            others |= attempt.others if attempt.result else {}
        known = [(self.calls[call], label) for call, label in others.items() if call in self.calls]
        found += [f"{name} was at {label}" for name, label in known]
        machine = self.world.machine
        if pfn is None or pfn >= machine.frame_count:
            return tuple(found)
        if machine.pins.get(pfn) or (attempts and pfn in self.world.holders):
            holders = self.world.holders.get(pfn, [])
            found.append(f"pinned: {', '.join(holders) if holders else f'{machine.pins.get(pfn)} times'}")
        maps = self.mappers.get(pfn, [])
        if machine.frame(pfn).mapcount > 1:
            found.append(f"mapped by {', '.join(maps[:8])}" if maps else "mapped more than once")
        buffers = enumerate(machine.buffers(pfn))
        busy = [n for n, buffer in buffers if buffer.count or BufferState.LOCK in buffer.state]
        if busy:
            found.append(f"buffer {', '.join(map(str, busy))} in use")
        if not attempts and address in self.isolated:
            found.append(f"{self.isolated[address]} had taken it off its list")
        elif not attempts:
            found += self._waiting(pfn)
        return tuple(found)

    def _waiting(self, pfn: int) -> list[str]:
        """Pagevecs that hold a page which is on no list."""
        machine = self.world.machine
        return [
            f"it waits in the pagevec of CPU {cpu} for the list {which.name.lower().replace('_', '-')}"
            for cpu in range(len(machine.cpus))
            for which in LruList
            if pfn in machine.pagevec(cpu, which)
        ]
