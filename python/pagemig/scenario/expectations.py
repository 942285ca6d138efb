"""What a scenario expects: of a call, of pages, counters, bytes and tasks, and of all orders.

`CallExpectation` stands with its call. `Expectations` is what is looked at when all calls are
over. Neighbours: `pagemig.scenario.judging`, which says whether they hold.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import PlainSerializer, PlainValidator, ValidationInfo, model_validator

from ..flags import NODES_MAX
from . import naming
from .part import Part
from .ranges import Count, SeenNode, is_number
from .values import (
    ERRNOS,
    Address,
    Bool,
    EntryWord,
    ErrnoWord,
    FlagWords,
    Frame,
    Int,
    ListWord,
    MemcgName,
    Node,
    RegionRef,
    Shown,
    Statuses,
    TaskName,
    Text,
    known,
    status_word,
)
from .values import _status as read_status


class CallExpectation(Part):
    """What a call comes to. Several keys must hold together."""

    statuses: Statuses | None = None
    """Of move_pages and migrate_frames: one a page; one for all; or how many pages of each."""
    errno: ErrnoWord | None = None
    """The errno with which it fails."""
    result: Int | Bool | None = None
    """The number it returns: pages not moved, pages merged or freed, bytes; or true or false."""
    bytes: Text | None = None
    """What it read, as text; zero bytes at the end do not count."""
    hits: Count | None = None
    """Accesses that found the page there."""
    minor: Count | None = None
    """Faults served without a disk."""
    major: Count | None = None
    """Faults that had to read."""
    cow: Count | None = None
    """Pages that were copied on write."""
    spurious: Count | None = None
    """Faults that found everything in order."""
    sigsegv: Count | None = None
    """Accesses that were not permitted."""
    sigbus: Count | None = None
    """Accesses beyond a file."""
    out_of_memory: Bool | None = None
    """Whether it found no frame for a page."""
    done: Bool | None = None
    """Whether it comes to an end; only useful as false, for a call that waits for ever."""


class PageExpectation(Part):
    """What is true of every page of a range."""

    page: RegionRef
    """Which pages."""
    node: SeenNode | None = None
    """The node they are on, -1 for not present."""
    entry: EntryWord | None = None
    """What the page-table entry is."""
    writable: Bool | None = None
    """The write bit of the entry."""
    dirty: Bool | None = None
    """The dirty bit of the entry."""
    accessed: Bool | None = None
    """The accessed bit of the entry."""
    flags: FlagWords = ()
    """Flags that the page has, and with ``!`` before them those that it has not."""
    count: Count | None = None
    """References."""
    mapcount: Count | None = None
    """Entries that map it."""
    lru: ListWord | None = None
    """The LRU list it is on."""
    moved: Bool | None = None
    """Whether it is in another frame than before the calls."""


class FramePlace(Part):
    """What is true of a frame that no entry need map: a page of a file, or the one under a pin."""

    frame: Frame
    """A page of a file, such as 'data[0]', or a pin."""
    node: SeenNode | None = None
    """Its node, -1 if the page is not in the page cache."""
    flags: FlagWords = ()
    """Flags that it has, and with ``!`` before them those that it has not."""
    count: Count | None = None
    """References."""
    mapcount: Count | None = None
    """Entries that map it."""
    lru: ListWord | None = None
    """The LRU list it is on."""


class CounterExpectation(Part):
    """What a counter shows: spelled as in /proc/vmstat."""

    name: Text
    """Which."""
    node: Node | None = None
    """Of which node; the whole machine if left out."""
    value: Int | None = None
    """What it shows in the end."""
    change: Int | None = None
    """By how much it differs from before the calls."""

    @model_validator(mode="after")
    def _something(self) -> CounterExpectation:
        if self.value is None and self.change is None:
            raise ValueError("say what the counter shows (value), or by how much it has changed (change)")
        return self


class BytesExpectation(Part):
    """What is read at an address in the end."""

    at: Address
    """Where."""
    text: Text
    """What."""


class TaskExpectation(Part):
    """What is true of a task in the end."""

    task: TaskName
    """Which."""
    rss: Count | None = None
    """Resident pages, as the kernel shows them."""
    alive: Bool | None = None
    """Whether it still runs."""


class MemcgExpectation(Part):
    """What is charged to a memory cgroup in the end."""

    memcg: MemcgName
    """Which."""
    usage: Count
    """Pages."""


def _outcome(value: Any, info: ValidationInfo) -> dict[str, Any]:
    if not isinstance(value, dict) or not value:
        raise ValueError(f"it is {value!r}; it must say what calls and pages come to: {{mover = [1]}}")
    names = known(info)
    return {key: _told(key, said, names, info) for key, said in value.items()}


def _told(key: str, said: Any, names: naming.Names, info: ValidationInfo) -> Any:
    """One line of an outcome: of a call its result, statuses or errno; of a page its node."""
    if key not in names.calls:
        found = naming.parse(key)
        if found.name not in names.regions:
            listed = [*names.calls, *names.regions]
            raise ValueError(f"{found.name!r} is no call or region{naming.nearest(found.name, listed)}")
        if found.first is None or found.stop != found.first + 1 or found.offset:
            raise ValueError(f"{key!r}: one page is wanted, such as '{found.name}[0]'")
        names.find("regions", found.name)
        if found.task is not None:
            names.find("tasks", found.task)
        if not is_number(said) or not -1 <= said < NODES_MAX:
            raise ValueError(f"{key} is {said!r}; of a page say its node, -1 for not present")
        return said
    if isinstance(said, (list, tuple)):
        return tuple(map(read_status, said))
    if isinstance(said, (bool, int, str)):
        return said
    raise ValueError(f"{key} is {said!r}; it must be a number, statuses, an errno such as 'EBUSY', or text")


def _write_outcome(value: dict[str, Any]) -> dict[str, Any]:
    return {
        key: [status_word(status) for status in said] if isinstance(said, tuple) else said
        for key, said in value.items()
    }


Outcome = Annotated[
    dict[str, Any],
    PlainValidator(_outcome),
    PlainSerializer(_write_outcome),
    Shown(
        type="object",
        minProperties=1,
        additionalProperties={
            "anyOf": [
                {"type": "integer"},
                {"type": "boolean"},
                {"type": "string"},
                {"type": "array", "items": {"anyOf": [{"type": "integer"}, {"type": "string"}]}},
            ]
        },
        description="Calls with what they come to, pages with their node: {mover = [1], 'heap[0]' = 1}.",
    ),
]

NO_RESULT = "ok"
"""How an outcome says that a call without a result went well."""

ERRNO_WORDS = frozenset(ERRNOS)


class Expectations(Part):
    """What is true when all calls are over, in whatever order they ran."""

    pages: tuple[PageExpectation, ...] = ()
    """Of pages, through the page tables of a task."""
    frames: tuple[FramePlace, ...] = ()
    """Of frames: pages of files, and what is pinned."""
    counters: tuple[CounterExpectation, ...] = ()
    """Of counters."""
    bytes: tuple[BytesExpectation, ...] = ()
    """Of what is stored; the machine needs contents."""
    tasks: tuple[TaskExpectation, ...] = ()
    """Of tasks."""
    memcgs: tuple[MemcgExpectation, ...] = ()
    """Of memory cgroups."""
    outcomes: tuple[Outcome, ...] = ()
    """What the calls may come to: one of these. Where the order is not fixed this stands instead of
    what the single calls expect, and a complete exploration must meet every one."""
    findings: tuple[Text, ...] = ()
    """Rules of the audit that do not hold in the end: for a defect of the real kernel."""
    deadlock: Bool = False
    """Whether the calls wait for each other, or for a disk, for ever."""
