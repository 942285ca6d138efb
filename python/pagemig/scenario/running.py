"""A scenario, run once: its machine built, its setup done, its calls run, the result reported.

Start with `run`. `prepare` stops before the calls and `take_off` starts those that run at once,
which is where stepping and exploring begin. What is expected is judged by
`pagemig.scenario.judging`; why pages stayed is told by `pagemig.scenario.reasons`.

Where an assertion of the model fails, which only a kernel that breaks a rule should come to, the report is
that of the machine just before that step, and the assertion is a finding.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass

from ..call import Call
from ..errors import DeadlockError, InternalError, OutOfMemoryError, SyscallError, UsageError, syscall_error
from ..flags import Granularity
from ..region import Region
from ..report import CallReport, CounterChange, Expectation, Placement, RegionReport, Report, WhyNot
from . import acting
from .asking import Entries, asked, nodes_at, remember_asked
from .call_steps import MovePages
from .culprits import Blame
from .driving import Drive, Enough
from .judging import Before, Came, judge, placement, plain_result, remember_before
from .listening import Tried
from .model import CallPart, Page
from .raw_acting import RAW
from .reasons import PassedOver, why_not
from .world import World, build


@dataclass(slots=True)
class Flight:
    """A call of a scenario, started or refused."""

    part: CallPart
    call: Call | None
    """None if its checks refused it."""
    refused: Came | None = None
    entries: Entries | None = None
    """The pages that it is asked to move, and where they were."""
    is_kept: bool = False
    """Whether what it has made is known under its names."""
    number: int | None = None
    """What the trace calls it; None if it came to nothing."""
    why_not: tuple[WhyNot, ...] = ()
    """Why its pages stayed, told as soon as it has ended."""
    passed_over: tuple[PassedOver, ...] = ()
    """Pages that it was to move, and did not take."""
    cost: Mapping[str, int] | None = None
    """What it alone has cost, if nothing else ran meanwhile."""

    @property
    def came(self) -> Came:
        """What it has come to so far."""
        if self.call is not None:
            return Came.of(self.call, getattr(self.part, "name", None))
        return self.refused if self.refused is not None else Came(False)


def prepare(page: Page) -> World:
    """Build the machine of a scenario and do its setup.

    Raises
    ------
    UsageError
        Something cannot be built, or a step of the setup failed; the message says which.
    """
    world = build(page)
    for position, step in enumerate(page.setup):
        acting.perform(world, step, f"setup[{position}]")
    return world


def start(world: World, part: CallPart, where: str) -> Flight:
    """Start one call; its checks are made now.

    Raises
    ------
    UsageError
        It makes no sense on this machine.
    """
    entries = None
    try:
        entries = remember_asked(world, part)
        if str(getattr(part, "do", "")) in RAW:
            return Flight(part, None, Came(True, acting.act(world, part)), entries)
        code = acting.refused_pointer(world, part)
        if code:
            failed = syscall_error(code, str(getattr(part, "do", "")))
            return Flight(part, None, Came(True, None, failed), entries)
        value = acting.value_of(world, part)
        by = world.kernel if part.by is None else world.task(part.by).pid
        fineness = Granularity[part.granularity.upper()]
        call = world.machine.start(value, by=by or 0, granularity=fineness)
        return Flight(part, call, None, entries, number=call.number)
    except (SyscallError, OutOfMemoryError) as error:
        return Flight(part, None, Came(True, None, error), entries)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from None


def take_off(world: World, page: Page) -> list[Flight]:
    """Start all calls, those that run at once, without letting any make a step."""
    return [start(world, part, f"calls[{position}]") for position, part in enumerate(page.calls)]


def settle(world: World, flights: list[Flight]) -> dict[str, Came]:
    """Return what every call has come to, and keep what they have made under its names."""
    came = {}
    for flight in flights:
        came[flight.part.id] = flight.came
        if flight.came.done and flight.came.error is None and not flight.is_kept:
            acting.remember(world, flight.part, flight.came.result)
            flight.is_kept = True
    return came


def letters(flights: list[Flight]) -> dict[str, str]:
    """Return how a schedule names each call; those that were refused have no letter."""
    started = [flight.part.id for flight in flights if flight.call is not None]
    return {name: chr(ord("a") + position) for position, name in enumerate(started)}


def run(page: Page, *, schedule: str | None = None) -> Report:
    """Run a scenario and report.

    Parameters
    ----------
    page
        The scenario.
    schedule
        In what order calls that run at once make their steps; by default the scenario's own.
    """
    began = time.perf_counter()
    order = page.schedule if schedule is None else schedule
    if order and page.order != "together":
        prepare(page)
        raise UsageError("schedule: the calls run one after the other; only calls at once have an order")
    try:
        return _reported(_run_once(page, order or ""), began)
    except InternalError as error:
        if not page.machine.bugs:  # Nobody asked for it: it is our own mistake, and no finding.
            raise
        counted = _Run(page, order or "", counts=True)
        try:
            counted.go()
        except InternalError:
            return _reported(_run_once(page, order or "", most=counted.drive.made), began, fallen=str(error))
        raise


def _run_once(page: Page, order: str, most: int | None = None) -> _Run:
    made = _Run(page, order, most=most)
    made.go()
    return made


class _Run:
    """A scenario with its setup done, whose calls run once."""

    def __init__(self, page: Page, order: str, *, most: int | None = None, counts: bool = False) -> None:
        self.page, self.order = page, order
        world = self.world = prepare(page)
        self.before = remember_before(world)
        self.costs, self.ticks, self.steps = world.machine.cost, world.machine.now, world.machine.steps
        self.earlier = {(name, task): _placed(world, name, task) for name, task in views(world)}
        self.flights: list[Flight] = []
        self.deadlock: str | None = None
        self.drive = Drive(world, most=most, counts=counts)

    def go(self) -> None:
        """Run the calls; `InternalError` if an assertion fails."""
        try:
            if self.page.order == "together":
                self._at_once()
            else:
                self._in_sequence()
        except Enough:
            pass
        except DeadlockError as error:
            self.deadlock = str(error)
        self.drive.stop()

    def _at_once(self) -> None:
        self.flights = [self._start(part, at) for at, part in enumerate(self.page.calls)]
        started = [flight.call for flight in self.flights if flight.call is not None]
        try:
            self.drive.run([call.number for call in started], self.order)
        except InternalError:
            raise
        except (DeadlockError, Enough):
            self._land(self.flights)
            raise
        self._land(self.flights)

    def _in_sequence(self) -> None:
        world = self.world
        for position, part in enumerate(self.page.calls):
            before = world.machine.cost
            flight = self._start(part, position)
            self.flights.append(flight)
            if flight.call is not None and isinstance(part, MovePages):
                self.drive.heard.brief.add(flight.call.number)
            try:
                if flight.call is not None:
                    self.drive.finish(flight.call)
            except (DeadlockError, Enough):
                flight.cost = _difference(before, world.machine.cost)
                self._land([flight])
                raise
            flight.cost = _difference(before, world.machine.cost)
            self._land([flight])

    def _start(self, part: CallPart, position: int) -> Flight:
        """Start a call; one that is raw has ended then, and is listened to now."""
        flight = start(self.world, part, f"calls[{position}]")
        if getattr(part, "do", "") in RAW:
            flight.number = self.drive.overhear()
        return flight

    def _land(self, flights: list[Flight]) -> None:
        """Note where the pages are now, keep what was made, and tell why pages stayed."""
        world, tried = self.world, self.drive.heard.tried
        for flight in flights:
            if flight.entries is not None:
                flight.entries.after = nodes_at(world, flight.entries.pid, flight.entries.addresses)
        settle(world, flights)
        calls = {flight.call.number: flight.part.id for flight in flights if flight.call is not None}
        for flight in flights:
            mine = -1 if flight.call is None else flight.call.number
            others = {number: name for number, name in calls.items() if number != mine}
            own = tried[flight.number] if flight.number in tried else Tried()
            flight.why_not, flight.passed_over = why_not(world, flight, own, Blame(world, others, tried))
        world.released.clear()


def _reported(ran: _Run, began: float, fallen: str | None = None) -> Report:
    """Judge a run, and report."""
    page, world, flights = ran.page, ran.world, ran.flights
    came = settle(world, flights)
    for part in page.calls:
        came.setdefault(part.id, Came(False))
    held = judge(page, world, came, ran.before)
    unexpected = _findings(page, world, ran.deadlock, held, fallen)
    return Report(
        title=page.title,
        story=page.story,
        order=page.order,
        schedule=_schedule(ran, fallen is not None) if page.order == "together" else "",
        calls=_call_reports(ran),
        regions=_regions(world, ran.earlier),
        why_not=tuple(why for flight in flights for why in flight.why_not),
        cost=_difference(ran.costs, world.machine.cost),
        counters=_changes(world, ran.before),
        expectations=tuple(held),
        findings=unexpected,
        deadlock=ran.deadlock,
        steps=world.machine.steps - ran.steps,
        ticks=world.machine.now - ran.ticks,
        cpus=len(world.machine.cpus),
        seconds=time.perf_counter() - began,
    )


def _schedule(ran: _Run, is_fallen: bool) -> str:
    """Write down who made which step, as a schedule that gives the same again, a failed assertion too."""
    started = [flight.call.number for flight in ran.flights if flight.call is not None]
    names = dict(zip(started, "abcdefghijklmnopqrstuvwxyz", strict=False))
    parts = [(names[call], count) for call, count in ran.drive.heard.made if call in names]
    if is_fallen and ran.drive.next in names:
        letter = names[ran.drive.next]
        parts = (
            [*parts[:-1], (letter, parts[-1][1] + 1)]
            if parts and parts[-1][0] == letter
            else [*parts, (letter, 1)]
        )
    return "".join(f"{count}{letter}" for letter, count in parts)


# what is reported ------------------------------------------------------------------------


def _call_reports(ran: _Run) -> tuple[CallReport, ...]:
    named = letters(ran.flights) if ran.page.order == "together" else {}
    made = {flight.part.id: flight for flight in ran.flights}
    tried = ran.drive.heard.tried
    return tuple(_call_report(ran.world, part, made.get(part.id), named, tried) for part in ran.page.calls)


def _call_report(
    world: World,
    part: CallPart,
    flight: Flight | None,
    letters: Mapping[str, str],
    tried: Mapping[int, Tried],
) -> CallReport:
    came = flight.came if flight is not None else Came(False)
    call = flight.call if flight is not None else None
    waits = call.waiting_for if call is not None else None
    return CallReport(
        id=part.id,
        letter=letters.get(part.id),
        by=part.by or "kernel",
        verb=str(getattr(part, "do", "")),
        text=told_call(part),
        done=came.done,
        result=plain_result(came),
        statuses=came.statuses,
        errno=came.errno,
        error=None if came.error is None else str(came.error),
        waiting_for=None if waits is None else repr(waits)[len("WaitFor(") : -1],
        steps=0 if call is None else len(call.history),
        labels=() if call is None else call.history,
        asked=asked(world, flight, tried),
        cost=None if flight is None else flight.cost,
    )


def told_call(part: CallPart) -> str:
    """Write what a call does in a line.

    >>> from pagemig.scenario.model import CALL_CLASSES
    >>> told_call(CALL_CLASSES["ksm_scan"](id="scan", do="ksm_scan"))
    'ksm_scan'
    """
    skip = {"id", "by", "do", "granularity", "expect"}
    said = part.model_dump(mode="json", exclude_defaults=True, exclude=skip)
    words = [f"{key}={value}" for key, value in said.items()]
    return " ".join([str(getattr(part, "do", "")), *words])


def views(world: World) -> list[tuple[str, str]]:
    """Return which task sees which region: its own, and its children's of it."""
    found = []
    for name, region in world.regions.items():
        owner = world.task_name(region.task)
        if world.has(region.task, name):
            found.append((name, owner))
        for task, pid in world.tasks.items():
            areas = () if pid == region.task or not world.has(pid, name) else _areas(world, pid)
            if any(area.start <= region.start and region.end <= area.end for area in areas):
                found.append((name, task))
    return found


def _areas(world: World, pid: int) -> tuple[Region, ...]:
    task = next((task for task in world.machine.tasks if task.pid == pid), None)
    return () if task is None or task.is_kernel_thread else task.regions


def _placed(world: World, name: str, task: str) -> Placement:
    return placement(world, world.tasks[task], world.regions[name])


def _regions(world: World, earlier: Mapping[tuple[str, str], Placement]) -> tuple[RegionReport, ...]:
    return tuple(
        RegionReport(name, task, was, _placed(world, name, task)) for (name, task), was in earlier.items()
    )


def _difference(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    return {
        name: count - before.get(name, 0) for name, count in after.items() if count != before.get(name, 0)
    }


def _changes(world: World, before: Before) -> tuple[CounterChange, ...]:
    found = []
    for name, value in world.machine.vmstat().items():
        if value != before.vmstat[name]:
            found.append(CounterChange(name, None, before.vmstat[name], value))
    for node, counters in before.zones.items():
        now = world.machine.zone_counters(node)
        found += [
            CounterChange(name, node, was, now[name]) for name, was in counters.items() if now[name] != was
        ]
    return tuple(found)


def rule_of(fallen: str) -> str:
    """Return what identifies a failed assertion: what it says, with # for each number.

    >>> rule_of("page 12 is under writeback")
    'page # is under writeback'
    """
    return re.sub("[0-9]+", "#", fallen)


def _findings(
    page: Page, world: World, deadlock: str | None, held: list[Expectation], fallen: str | None
) -> tuple[str, ...]:
    """Return what was found beyond what is expected; add to ``held`` whether that was found."""
    found = world.machine.audit()
    rules = {word for finding in found for word in (finding.rule, *finding.invariants.split(", "))}
    if fallen is not None:
        rules.add(rule_of(fallen))
    for position, rule in enumerate(page.expect.findings):
        told = "found" if rule in rules else "holds"
        held.append(
            Expectation(f"expect.findings[{position}]", rule in rules, f"{rule}: found", f"{rule}: {told}")
        )
    expected = set(page.expect.findings)
    unexpected = [
        str(finding) for finding in found if not expected & {finding.rule, *finding.invariants.split(", ")}
    ]
    if fallen is not None and rule_of(fallen) not in expected:
        unexpected.insert(0, f"assertion: {fallen}")
    if page.expect.deadlock:
        held.append(
            Expectation(
                "expect.deadlock", deadlock is not None, "a deadlock", deadlock or "every call has ended"
            )
        )
    elif deadlock is not None:
        unexpected.append(f"deadlock: {deadlock}")
    return tuple(unexpected)
