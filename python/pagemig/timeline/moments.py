"""A race step by step, to be looked at: who ran, who held and awaited what, what became of the pages.

Start with `Timeline.of`, which plays a schedule on a clone and notes what can be seen after each step,
or with `Timeline.of_finding` for what `pagemig.explore` found. A timeline is a frozen value: it keeps
no machine. Its text is `str`; `.page` makes a web page of it and
`.trace` a trace for Perfetto.

Source: concurrency 1 and 2. Left out: machines so large that one cannot look at all frames; for those
say which pages.
"""

from __future__ import annotations

import errno
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arguments import integer
from ..call import Call, Holder, drive
from ..errors import InternalError, UsageError
from ..flags import Granularity, PageFlags
from ..machine import Machine
from ..replaying import Replay, Runnable, Stage
from ..results import Entry
from ..step_texts import text_of
from ..trace import Event
from ..verdict import Violation

PAGES_MAX = 8
"""Pages that are followed unless a person says which: those that changed most often."""

STEPS_MAX = 5_000
"""Steps of the longest schedule that is shown."""

_FRAMES_MAX = 1 << 20
_EVENTS_MAX = 1_000
_STEP_EVENTS = ("step", "wait", "done")


@dataclass(frozen=True, slots=True)
class Lane:
    """One call: a lane of the picture."""

    letter: str
    """What a schedule calls it."""
    number: int
    """What the machine calls it: `pagemig.Call.number`."""
    pid: int
    task: str
    """The name of its task."""
    what: str
    """What it does."""
    outcome: str
    """What it came to; empty if it is still in flight."""

    def __str__(self) -> str:
        return f"{self.letter}: {self.what} by task {self.pid} ({self.task})"


@dataclass(frozen=True, slots=True)
class LockSpan:
    """A lock as it is at one moment."""

    name: str
    """Kind and number, such as ``page_lock 12``."""
    holders: tuple[str, ...]
    """Letters of calls, ``disk`` or ``hand``."""
    waiters: tuple[str, ...]
    """Letters, in the order of their coming."""


@dataclass(frozen=True, slots=True)
class PageAt:
    """A page at one moment."""

    pfn: int
    node: int
    count: int
    mapcount: int
    flags: PageFlags
    entries: tuple[tuple[int, int, Entry], ...]
    """Who maps it: pid, address, entry."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What can be seen after one step."""

    number: int
    """0 before the first step."""
    actor: str
    """The letter of the call that made the step; empty before the first."""
    labels: tuple[str, ...]
    """The steps of the specification that it made."""
    events: tuple[Event, ...]
    """What happened in it."""
    now: int
    """Virtual time, ticks."""
    at: tuple[str, ...]
    """The label of the step that each call makes next; empty for one that is done."""
    waits: tuple[str, ...]
    """The name of the lock that each call waits for; empty for one that can go on."""
    locks: tuple[LockSpan, ...]
    """Those that anybody holds or awaits."""
    pages: tuple[PageAt, ...]
    """Those that the timeline follows."""

    @property
    def sentences(self) -> tuple[str, ...]:
        """What its labels mean, one sentence each."""
        return tuple(filter(None, map(text_of, self.labels)))

    @property
    def said(self) -> str:
        """What happened, in words; empty if the step only went on."""
        return "; ".join(filter(None, map(_in_words, self.events)))


@dataclass(frozen=True, slots=True)
class Timeline:
    """What a schedule does, moment by moment.

    Examples
    --------
    >>> import pagemig as pm
    >>> machine = pm.Machine(nodes=[pm.MiB])
    >>> app = machine.spawn(stack=False)
    >>> heap = app.mmap(pm.PAGE_SIZE)
    >>> seen = Timeline.of(machine, [(pm.calls.pin(heap.start), app)], "1a")
    >>> len(seen.moments), seen.lanes[0].what
    (2, 'Pin')
    """

    schedule: str
    """The order in which the calls ran."""
    lanes: tuple[Lane, ...]
    """The calls, in the order of their letters."""
    moments: tuple[Moment, ...]
    """The state before the first step, and one after each."""
    findings: tuple[str, ...]
    """What is wrong at the end, in words; empty if all is well."""

    @staticmethod
    def of(
        machine: Machine,
        calls: Sequence[Runnable],
        schedule: str,
        *,
        granularity: Granularity = Granularity.FINE,
        pages: Iterable[int] | None = None,
    ) -> Timeline:
        """Play a schedule on a clone and look after every step.

        Parameters
        ----------
        machine, calls, schedule, granularity
            As for `pagemig.replay`.
        pages
            The frames to follow; by default those that change, at most `PAGES_MAX` of them.

        Returns
        -------
        Timeline
            Every moment of it.

        Raises
        ------
        UsageError
            The schedule cannot be read, asks for a step that cannot be made, or is too long to show.
        OSError
            The checks of a call refuse it.
        """
        if not isinstance(schedule, str):
            raise UsageError(f"schedule is {schedule!r}; it must be text such as '3a1b2a'")
        return _watch(Stage.prepare(machine, calls, granularity), schedule, pages)

    @staticmethod
    def of_finding(found: Violation, *, pages: Iterable[int] | None = None) -> Timeline:
        """Play the schedule of something that an exploration found.

        Parameters
        ----------
        found
            One of `pagemig.Verdict.findings`.
        pages
            The frames to follow; by default those that change, at most `PAGES_MAX` of them.

        Returns
        -------
        Timeline
            Every moment of it, and what is wrong at the end.

        Raises
        ------
        UsageError
            ``found`` is no `pagemig.Violation`, or its schedule is too long to show.
        """
        if not isinstance(found, Violation):
            raise UsageError(f"found is {found!r}; it must be a Violation, such as verdict.findings[0]")
        seen = _watch(found.stage, found.schedule, pages)
        said = f"{found.kind.name.lower().replace('_', ' ')}: {found.detail}"
        if any(finding.startswith(said) for finding in seen.findings):
            return seen
        # A person's own expectation is not something that the machine can tell.
        return replace(seen, findings=(said, *seen.findings))

    @property
    def pages(self) -> tuple[int, ...]:
        """The frames that it follows, in the order of their first change."""
        return tuple(page.pfn for page in self.moments[0].pages)

    @property
    def lock_names(self) -> tuple[str, ...]:
        """The locks that anybody held or awaited, in the order of their first use."""
        return tuple(dict.fromkeys(lock.name for moment in self.moments for lock in moment.locks))

    def to_html(self) -> str:
        """Draw it.

        Returns
        -------
        str
            One web page that needs nothing from elsewhere.
        """
        from .page import page

        return page(self)

    def to_perfetto(self) -> bytes:
        """Write it as a trace that ui.perfetto.dev and other readers of Perfetto traces can show.

        Returns
        -------
        bytes
            The trace; one step is one microsecond.
        """
        from .trace import trace

        return trace(self)

    def _repr_html_(self) -> str:
        from .page import fragment

        return fragment(self)

    def __str__(self) -> str:
        from .text import text

        return text(self)


def steps_of(schedule: str) -> list[str]:
    """Return the letters of a schedule, step by step.

    >>> steps_of("2a1b")
    ['a', 'a', 'b']
    """
    runs = re.findall(r"(\d+)([a-z])", schedule)
    if sum(int(count) for count, _ in runs) > STEPS_MAX:
        raise UsageError(f"the schedule has more than {STEPS_MAX} steps; a timeline shows no more")
    return [letter for count, letter in runs for _ in range(int(count))]


def _watch(stage: Stage, schedule: str, pages: Iterable[int] | None) -> Timeline:
    """Play a schedule twice: to see which pages change, and to look at those."""
    end = stage.run(schedule)
    letters = steps_of(schedule)
    if pages is None:
        followed = _changing(stage, letters)
    else:
        followed = [integer(pfn, "a page", high=stage.machine.frame_count) for pfn in pages]
    machine, calls = _twin(stage)
    machine.record(_EVENTS_MAX)
    watcher = _Watcher(machine, calls, followed)
    names = [machine.task(call.pid).name for call in calls]
    moments = [watcher.look(0, "", (), ())]
    for number, letter in enumerate(letters, 1):
        seen = watcher.step(number, letter)
        if seen is None:
            moments.append(_fallen(moments[-1], number, letter, watcher.labels))
            break
        moments.append(seen)
    lanes = [
        Lane(_letter(at), call.number, call.pid, name, type(call.what).__name__, _outcome(call))
        for at, (call, name) in enumerate(zip(end.calls, names, strict=True))
    ]
    return Timeline(schedule, tuple(lanes), tuple(moments), _findings(end))


def _twin(stage: Stage) -> tuple[Machine, tuple[Call, ...]]:
    machine = stage.machine.clone()
    by_number = {call.number: call for call in machine.calls}
    return machine, tuple(by_number[call.number] for call in stage.calls)


def _make(machine: Machine, numbers: list[int], letter: str) -> None:
    """Make one step of one call."""
    drive(machine._system, lambda core: core.replay(numbers, f"1{letter}"))


class _Watcher:
    """Makes one step after the other, and looks."""

    def __init__(self, machine: Machine, calls: tuple[Call, ...], pages: list[int]) -> None:
        self.machine = machine
        self.calls = calls
        self.pages = pages
        self.labels: tuple[str, ...] = ()
        """What the step that is being made, or was made last, consists of."""
        self._numbers = [call.number for call in calls]
        self._letters = {call.number: _letter(at) for at, call in enumerate(calls)}

    def step(self, number: int, letter: str) -> Moment | None:
        """Make a step and look; None if the model's own assertion stopped it."""
        call = self.calls[ord(letter) - ord("a")]
        self.labels = call.labels
        self.machine.record(0)
        self.machine.record(_EVENTS_MAX)
        try:
            _make(self.machine, self._numbers, letter)
        except InternalError:
            return None
        return self.look(number, letter, self.labels, tuple(self.machine.trace))

    def look(self, number: int, actor: str, labels: tuple[str, ...], events: tuple[Event, ...]) -> Moment:
        """Note everything as it is."""
        machine = self.machine
        locks = tuple(
            LockSpan(
                f"{lock.lock} {lock.number}",
                tuple(map(self._name, lock.holders)),
                tuple(map(self._name, lock.waiters)),
            )
            for lock in machine.locks
        )
        waits = [call.waiting_for for call in self.calls]
        return Moment(
            number,
            actor,
            labels,
            events,
            machine.now,
            tuple(call.at or "" for call in self.calls),
            tuple("" if wait is None else f"{wait.lock} {wait.number}" for wait in waits),
            locks,
            tuple(_page_at(machine, pfn) for pfn in self.pages),
        )

    def _name(self, number: int) -> str:
        if isinstance(number, Holder):
            return number.name.lower()
        return self._letters.get(number, f"call {number}")


def _page_at(machine: Machine, pfn: int) -> PageAt:
    frame = machine.frame(pfn)
    return PageAt(pfn, frame.node, frame.count, frame.mapcount, frame.flags, machine.entries_to(pfn))


def _fallen(before: Moment, number: int, letter: str, labels: tuple[str, ...]) -> Moment:
    """Return the moment at which an assertion failed: the machine cannot be looked at any more."""
    return Moment(
        *(number, letter, labels, (), before.now, before.at, before.waits, before.locks, before.pages)
    )


def _changing(stage: Stage, letters: list[str]) -> list[int]:
    """Return the frames that change most often, in the order of their first change."""
    machine, calls = _twin(stage)
    if machine.frame_count > _FRAMES_MAX:
        raise UsageError(
            f"a machine of {machine.frame_count} frames; of one with more than {_FRAMES_MAX} say which "
            "pages=... to follow"
        )
    numbers = [call.number for call in calls]
    before = _columns(machine)
    changes: Counter[int] = Counter()
    for letter in letters:
        try:
            _make(machine, numbers, letter)
        except InternalError:
            break
        after = _columns(machine)
        changes.update(np.flatnonzero((before != after).any(axis=1)).tolist())
        before = after
    most = {pfn for pfn, _ in sorted(changes.items(), key=lambda item: (-item[1], item[0]))[:PAGES_MAX]}
    return [pfn for pfn in changes if pfn in most]


def _columns(machine: Machine) -> npt.NDArray[np.int64]:
    """Return what decides whether a frame has changed, one row a frame."""
    rows = np.zeros((machine.frame_count, 3), dtype=np.int64)
    for node in machine.nodes:
        columns = machine.frames(node)
        for at, name in enumerate(("count", "mapcount", "flags")):
            rows[columns["pfn"], at] = columns[name]
    return rows


def _letter(at: int) -> str:
    return chr(ord("a") + at)


def _outcome(call: Call) -> str:
    if not call.done:
        return ""
    return f"failed: {call.error}" if call.error is not None else f"returned {_short(call.result)}"


def _short(value: Any) -> str:
    text = re.sub(r"\s+", " ", repr(value.tolist() if isinstance(value, np.ndarray) else value))
    return text if len(text) <= 60 else f"{text[:57]}..."


def _findings(end: Replay) -> tuple[str, ...]:
    return tuple(
        f"{symptom.kind.name.lower().replace('_', ' ')}: {symptom.detail}"
        + (f" ({symptom.ids})" if symptom.ids else "")
        for symptom in end.symptoms
    )


def _in_words(event: Event) -> str:
    """Say what happened; steps themselves go without saying."""
    if event.event in _STEP_EVENTS:
        return ""
    where = f" at {event.address:#x}" if event.address else ""
    frame = f"frame {event.pfn}" if event.pfn >= 0 else "the page"
    match event.event:
        case "allocate":
            return f"{frame} taken on node {event.value}"
        case "isolate":
            return f"{frame}{where} off its LRU list"
        case "refuse":
            return f"{frame} is on no LRU list that it could be taken off"
        case "putback":
            return f"{frame} off the list of the migration"
        case "unmap":
            kinds = ("a migration entry", "a migration entry, write flavour", "a swap entry", "no entry")
            return f"{frame}{where} unmapped, {kinds[event.value]} instead"
        case "restore":
            return f"{frame}{where} mapped again, {'writable' if event.value else 'read-only'}"
        case "copy":
            return f"{frame} copied to frame {event.value}"
        case "attempt":
            name = errno.errorcode.get(-event.value)
            ended = f"ended with -{name}" if name else f"ended with {event.value}"
            return f"attempt on {frame} {ended if event.value else 'succeeded'}"
        case "fault":
            kinds = ("minor", "major", "copy-on-write", "nothing to do")
            return f"fault{where}: {kinds[event.value]}"
        case _:
            return f"{event.event.replace('_', ' ')}{where}"
