"""A scenario, taken apart: its calls made to go on one step at a time, back and forth.

Start with `Stepper`. Every step is made on a clone, so that going back costs nothing and a step
that cannot be made changes nothing. `Stepper.calls` and `Stepper.pages` say how things stand: who is
where, what it holds and waits for, and how the pages of the scenario look.

Neighbours: `pagemig.step_texts` for what a step does, `pagemig.scenario.searching` for trying every
order instead.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ..call import Call, Holder, WaitFor, drive
from ..errors import InternalError, UsageError
from ..flags import EntryKind, PageFlags
from ..machine import Machine
from ..report import Expectation
from ..step_texts import text_of
from .judging import Came, judge
from .model import Page
from .running import Flight, letters, settle
from .searching import Race
from .world import World

PAGES_MAX = 16
"""Pages that are shown at each stop."""

_RUN = re.compile(r"(\d*)([a-z])")


@dataclass(frozen=True, slots=True)
class CallView:
    """Where a call is."""

    letter: str
    id: str
    by: str
    at: str | None
    """The label of the step that it makes next; None if it is done."""
    text: str
    """What that step does."""
    holds: tuple[str, ...]
    """The locks that it holds."""
    waits: str | None
    """What keeps it from making that step; None if it can."""
    came: Came


@dataclass(frozen=True, slots=True)
class PageView:
    """How a page of the scenario looks."""

    name: str
    pfn: int
    node: int
    count: int
    mapcount: int
    flags: str
    entries: tuple[str, ...]
    """The entries that lead to it, each with its task and kind."""


class Stepper:
    """A scenario whose calls are made to go on by hand.

    Parameters
    ----------
    page
        The scenario; its calls run at once.

    Raises
    ------
    UsageError
        Its calls run one after the other, or it cannot be set up.

    Examples
    --------
    >>> from pagemig.scenario import Scenario
    >>> stepper = Stepper(Scenario.load("two-movers").page)
    >>> stepper.step("2a")
    >>> stepper.schedule, stepper.calls[0].at
    ('2a', 'DM-1')
    >>> stepper.back()
    1
    >>> stepper.schedule
    '1a'
    """

    def __init__(self, page: Page) -> None:
        self._race = Race.of(page)
        self._machine = self._race.world.machine
        named = letters(self._race.flights)
        self._calls: dict[str, Call] = {
            named[flight.part.id]: flight.call for flight in self._race.flights if flight.call is not None
        }
        self._ids = {letter: name for name, letter in named.items()}
        self._past: list[tuple[Machine, dict[str, Call], str]] = []
        self._fallen: str | None = None

    # how things stand --------------------------------------------------------------------

    @property
    def machine(self) -> Machine:
        """The machine as it is now."""
        return self._machine

    @property
    def schedule(self) -> str:
        """The steps made so far: ``3a1b2a``."""
        made = [letter for _, _, letter in self._past]
        runs: list[tuple[int, str]] = []
        for letter in made:
            if runs and runs[-1][1] == letter:
                runs[-1] = (runs[-1][0] + 1, letter)
            else:
                runs.append((1, letter))
        return "".join(f"{count}{letter}" for count, letter in runs)

    @property
    def steps(self) -> int:
        """How many steps have been made."""
        return len(self._past)

    @property
    def done(self) -> bool:
        """Whether every call has made its last step, or none can ever go on."""
        return self._fallen is not None or all(call.done for call in self._calls.values())

    @property
    def calls(self) -> tuple[CallView, ...]:
        """Where every call is."""
        return tuple(self._look(letter, call) for letter, call in self._calls.items())

    @property
    def pages(self) -> tuple[PageView, ...]:
        """How the pages of the scenario look, the first of them; what is nowhere is left out."""
        return tuple(self._look_at_pages())

    @property
    def fallen(self) -> str | None:
        """The assertion of the model that has failed; the machine cannot be looked at then."""
        return self._fallen

    def symptoms(self) -> tuple[str, ...]:
        """Say everything that is wrong now, beyond what the scenario expects: what exploring would find."""
        if self._fallen is not None:
            return (f"assertion: {self._fallen}",)
        expected = set(self._race.page.expect.findings)
        found = [
            f"invariant: {finding}"
            for finding in self._machine.audit()
            if not expected & {finding.rule, *finding.invariants.split(", ")}
        ]
        is_stuck = not self.done and not any(self._may_go(letter) for letter in self._calls)
        if is_stuck and not self._race.page.expect.deadlock:
            waits = [f"{view.letter} ({view.id}) {view.waits}" for view in self.calls if not view.came.done]
            found.append(f"deadlock: {'; '.join(waits)}")
        return tuple(found)

    def expectations(self) -> tuple[Expectation, ...]:
        """Say what the scenario expects and whether it holds, once every call is done."""
        if not self.done or self._fallen is not None:
            raise UsageError("the calls are not all done; what is expected shows at the end")
        world, came = self._world()
        return tuple(judge(self._race.page, world, came, self._race.before, any_order=True))

    # going on and back -------------------------------------------------------------------

    def step(self, runs: str) -> None:
        """Make steps, such as ``a``, ``3a`` or ``3a1b``.

        Raises
        ------
        UsageError
            It is no such text, or a step cannot be made; those before it have been made.
        """
        text = runs.replace(" ", "")
        if not text or "".join(f"{n}{c}" for n, c in _RUN.findall(text)) != text:
            raise UsageError(f"{runs!r} is no schedule; steps are written like '3a1b'")
        for digits, letter in _RUN.findall(text):
            if digits and not int(digits):
                raise UsageError(f"{runs!r}: 0 steps are none; leave them out")
            self._call(letter)
            for _ in range(int(digits or 1)):
                self._one(letter)

    def until(self, letter: str, label: str) -> int:
        """Let a call go on until just before a step; return how many steps that took.

        Raises
        ------
        UsageError
            It ended or had to wait before; the steps that it made stay.
        """
        made = 0
        while label not in self._call(letter).labels:
            if self._call(letter).done:
                raise UsageError(f"{letter} has ended, and made no step {label}")
            self._one(letter)
            made += 1
        return made

    def back(self, steps: int = 1) -> int:
        """Take steps back; return how many are left."""
        if not 1 <= steps <= len(self._past):
            raise UsageError(f"{steps} steps back; {len(self._past)} have been made")
        for _ in range(steps):
            self._machine, self._calls, _ = self._past.pop()
        self._fallen = None
        return len(self._past)

    def finish(self) -> int:
        """Let the calls go on in turn until all are done; return how many steps that took.

        Raises
        ------
        UsageError
            None of them can ever go on.
        """
        made = 0
        while not self.done:
            ready = [letter for letter in self._calls if self._may_go(letter)]
            if not ready:
                raise UsageError("deadlock: none of the calls can ever go on")
            for letter in ready:
                if self._may_go(letter):
                    self._one(letter)
                    made += 1
        return made

    # inside ------------------------------------------------------------------------------

    def _call(self, letter: str) -> Call:
        if letter not in self._calls:
            raise UsageError(f"there is no call {letter!r}; there is: {', '.join(self._calls)}")
        return self._calls[letter]

    def _one(self, letter: str) -> None:
        call = self._call(letter)
        if self._fallen is not None:
            raise UsageError("an assertion has failed; nothing can go on: go back")
        if call.done:
            raise UsageError(f"{letter} ({self._ids[letter]}) is done; it has no further step")
        twin, calls = self._clone()
        try:
            if not self._advance(twin, calls, letter):
                raise UsageError(f"{letter} ({self._ids[letter]}) {self._blocked(letter)}")
        except InternalError as error:
            self._fallen = str(error)
        self._past.append((self._machine, self._calls, letter))
        self._machine, self._calls = twin, calls

    def _may_go(self, letter: str) -> bool:
        """Whether a call can make a step, if time has to pass for it, too."""
        if self._fallen is not None or self._calls[letter].done:
            return False
        twin, calls = self._clone()
        try:
            return self._advance(twin, calls, letter)
        except InternalError:
            return True

    def _advance(self, machine: Machine, calls: dict[str, Call], letter: str) -> bool:
        """Let a call make a step, and time pass if all wait; return whether it went on."""
        call = calls[letter]
        before = len(call.history)
        flying = [name for name, one in calls.items() if not one.done]
        numbers = [calls[name].number for name in flying]
        position = chr(ord("a") + flying.index(letter))
        try:
            drive(machine._system, lambda core: core.replay(numbers, f"1{position}"))
        except UsageError:
            return False
        return call.done or len(call.history) > before

    def _clone(self) -> tuple[Machine, dict[str, Call]]:
        twin = self._machine.clone()
        return twin, {
            letter: call if call.done else twin._system.calls[call.number]
            for letter, call in self._calls.items()
        }

    def _blocked(self, letter: str) -> str | None:
        """Return what keeps a call from its next step, None if nothing does; tried on a clone."""
        _, calls = self._clone()
        call = calls[letter]
        if call.done:
            return None
        try:
            if call.step():
                return None
        except InternalError:
            return None
        found = call.waiting_for
        return "waits" if found is None else f"waits for {self._told(found)}"

    def _told(self, wait: WaitFor) -> str:
        place = f" of frame {wait.pfn}" if wait.pfn is not None else ""
        holder = "" if wait.holder is None else f", held by {self._name(wait.holder)}"
        return f"{wait.lock}{place}{holder}"

    def _name(self, number: int) -> str:
        if isinstance(number, Holder):
            return f"the {number.name.lower()}"
        named = next((x for x, call in self._calls.items() if call.number == number), None)
        return f"call {number}" if named is None else f"{named} ({self._ids[named]})"

    def _look(self, letter: str, call: Call) -> CallView:
        if self._fallen is not None or call.done:
            came = Came.of(call) if call.done else Came(False)
            return CallView(letter, self._ids[letter], self._by(call), None, "", (), None, came)
        held = [lock for lock in self._machine.locks if call.number in lock.holders]
        holds = tuple(lock.lock + (f" of frame {lock.pfn}" if lock.pfn is not None else "") for lock in held)
        at = call.at
        waits = self._blocked(letter)
        return CallView(
            letter, self._ids[letter], self._by(call), at, text_of(at), holds, waits, Came.of(call)
        )

    def _by(self, call: Call) -> str:
        return self._race.world.task_name(call.pid)

    def _world(self) -> tuple[World, dict[str, Came]]:
        """Return the world as it is now, with what the calls so far have made, and what they came to."""
        ended = iter(self._calls.values())
        flights = [
            Flight(flight.part, next(ended) if flight.call is not None else None, flight.refused)
            for flight in self._race.flights
        ]
        world = self._race.world.on(self._machine)
        return world, settle(world, flights)

    def _look_at_pages(self) -> Iterator[PageView]:
        if self._fallen is not None:
            return
        world, _ = self._world()
        live = {task.pid: task for task in self._machine.tasks if not task.is_kernel_thread}
        named: dict[int, str] = {}
        entries: dict[int, list[str]] = {}
        for name, region in world.regions.items():
            having = [(pid, task) for pid, task in live.items() if world.has(pid, name)]
            for number, page in enumerate(region):
                for pid, task in having:
                    entry = task.entry_at(page.start)
                    if entry.pfn is None or entry.pfn >= self._machine.frame_count:
                        continue
                    if entry.kind not in (EntryKind.PRESENT, EntryKind.MIGRATION):
                        continue
                    named.setdefault(entry.pfn, f"{name}[{number}]")
                    kind = entry.kind.name.lower() + (", writable" if entry.writable else ", read-only")
                    bits = "".join(f", {bit}" for bit in ("dirty", "accessed") if getattr(entry, bit))
                    entries.setdefault(entry.pfn, []).append(f"{world.task_name(pid)}: {kind}{bits}")
        for file in world.files:
            for offset, pfn in zip(*_cached(world, file), strict=True):
                named.setdefault(pfn, f"{file}[{offset}]")
        for pfn, name in list(named.items())[:PAGES_MAX]:
            frame = self._machine.frame(pfn)
            flags = " ".join(flag.name or "" for flag in PageFlags if flag in frame.flags)
            yield PageView(
                name, pfn, frame.node, frame.count, frame.mapcount, flags, tuple(entries.get(pfn, ()))
            )


def _cached(world: World, file: str) -> tuple[list[int], list[int]]:
    pages = world.file(file).pages
    return pages["offset"].tolist(), pages["pfn"].tolist()
