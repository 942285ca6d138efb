"""A scenario, run once: its machine built, its setup done, its calls run, the result reported.

Start with `run`. `prepare` stops before the calls and `take_off` starts those that run at once,
which is where stepping and exploring begin. What is expected is judged by
`pagemig.scenario.judging`; why pages stayed is told by `pagemig.scenario.reasons`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from ..call import Call, drive
from ..errors import DeadlockError, OutOfMemoryError, SyscallError, UsageError, syscall_error
from ..flags import Granularity
from ..region import Region
from ..report import CallReport, CounterChange, Expectation, Placement, RegionReport, Report
from ..trace import Event
from . import acting
from .asking import Entries, Tried, asked, nodes_at, read_tried, remember_asked
from .judging import Before, Came, judge, placement, plain_result, remember_before
from .model import CallPart, Page
from .reasons import why_not
from .world import World, build

EVENTS_MAX = 2_000_000
"""Events that are kept of the calls: what the reasons are read from."""


@dataclass(slots=True)
class Flight:
    """A call of a scenario, started or refused."""

    part: CallPart
    call: Call | None
    """None if its checks refused it."""
    refused: Came | None = None
    entries: Entries | None = None
    """The pages of a ``move_pages`` call, and where they were."""
    cost: Mapping[str, int] | None = None
    """What it alone has cost, if nothing else ran meanwhile."""

    @property
    def came(self) -> Came:
        """What it has come to so far."""
        if self.call is not None:
            return Came.of(self.call)
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
        code = acting.refused_pointer(world, part)
        if code:
            failed = syscall_error(code, str(getattr(part, "do", "")))
            return Flight(part, None, Came(True, None, failed), entries)
        value = acting.value_of(world, part)
        by = world.kernel if part.by is None else world.task(part.by).pid
        fineness = Granularity[part.granularity.upper()]
        return Flight(part, world.machine.start(value, by=by or 0, granularity=fineness), None, entries)
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
        if flight.came.done and flight.came.error is None:
            acting.remember(world, flight.part, flight.came.result)
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
    world = prepare(page)
    order = page.schedule if schedule is None else schedule
    if order and page.order != "together":
        raise UsageError("schedule: the calls run one after the other; only calls at once have an order")
    before = remember_before(world)
    costs, ticks, steps = world.machine.cost, world.machine.now, world.machine.steps
    earlier = {(name, task): _placed(world, name, task) for name, task in views(world)}
    world.machine.record(EVENTS_MAX)
    deadlock = None
    flights: list[Flight] = []
    try:
        if page.order == "together":
            flights = take_off(world, page)
            try:
                _run_at_once(world, flights, order or "")
            finally:
                for flight in flights:
                    _land(world, flight)
        else:
            _run_in_sequence(world, page, flights)
    except DeadlockError as error:
        deadlock = str(error)
    came = settle(world, flights)
    for part in page.calls:
        came.setdefault(part.id, Came(False))
    events = tuple(world.machine.trace)
    world.machine.record(0)
    held = judge(page, world, came, before)
    unexpected = _findings(page, world, deadlock, held)
    return Report(
        title=page.title,
        story=page.story,
        order=page.order,
        schedule=_schedule(flights, events) if page.order == "together" else "",
        calls=_call_reports(page, world, flights, events),
        regions=_regions(world, earlier),
        why_not=why_not(world, flights, events),
        cost=_difference(costs, world.machine.cost),
        counters=_changes(world, before),
        expectations=tuple(held),
        findings=unexpected,
        deadlock=deadlock,
        steps=world.machine.steps - steps,
        ticks=world.machine.now - ticks,
        cpus=len(world.machine.cpus),
        seconds=time.perf_counter() - began,
    )


def _run_at_once(world: World, flights: list[Flight], schedule: str) -> None:
    numbers = [flight.call.number for flight in flights if flight.call is not None]
    if schedule:
        drive(world.machine._system, lambda core: core.replay(numbers, schedule))
    world.machine.run()


def _run_in_sequence(world: World, page: Page, flights: list[Flight]) -> None:
    for position, part in enumerate(page.calls):
        before = world.machine.cost
        flight = start(world, part, f"calls[{position}]")
        flights.append(flight)
        try:
            if flight.call is not None:
                flight.call.run()
        finally:
            flight.cost = _difference(before, world.machine.cost)
            _land(world, flight)
        settle(world, [flight])


def _land(world: World, flight: Flight) -> None:
    """Note where the pages of a call are now."""
    if flight.entries is not None:
        flight.entries.after = nodes_at(world, flight.entries.pid, flight.entries.addresses)


_ADVANCES = ("step", "wait", "done")
"""What one letter of a schedule can come to."""


def _schedule(flights: list[Flight], events: tuple[Event, ...]) -> str:
    """Write down who made which step, as a schedule that gives the same again."""
    names = {
        flight.call.number: letter
        for flight, letter in zip(
            [flight for flight in flights if flight.call is not None],
            "abcdefghijklmnopqrstuvwxyz",
            strict=False,
        )
        if flight.call is not None
    }
    parts: list[tuple[str, int]] = []
    for event in events:
        if event.event not in _ADVANCES or event.call not in names:
            continue
        letter = names[event.call]
        if parts and parts[-1][0] == letter:
            parts[-1] = (letter, parts[-1][1] + 1)
        else:
            parts.append((letter, 1))
    return "".join(f"{count}{letter}" for letter, count in parts)


# what is reported ------------------------------------------------------------------------


def _call_reports(
    page: Page, world: World, flights: list[Flight], events: tuple[Event, ...]
) -> tuple[CallReport, ...]:
    named = letters(flights) if page.order == "together" else {}
    made = {flight.part.id: flight for flight in flights}
    tried = read_tried(events)
    return tuple(_call_report(world, part, made.get(part.id), named, tried) for part in page.calls)


def _call_report(
    world: World,
    part: CallPart,
    flight: Flight | None,
    letters: Mapping[str, str],
    tried: dict[int, Tried],
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
        found.append((name, owner))
        for task, pid in world.tasks.items():
            areas = () if pid == region.task else _areas(world, pid)
            if any(area.start <= region.start and region.end <= area.end for area in areas):
                found.append((name, task))
    return found


def _areas(world: World, pid: int) -> tuple[Region, ...]:
    task = world.machine.task(pid)
    return () if task.is_kernel_thread else task.regions


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


def _findings(page: Page, world: World, deadlock: str | None, held: list[Expectation]) -> tuple[str, ...]:
    """Return what the audit finds beyond what is expected; add to ``held`` whether that was found."""
    found = world.machine.audit()
    rules = {word for finding in found for word in (finding.rule, *finding.invariants.split(", "))}
    for position, rule in enumerate(page.expect.findings):
        told = "found" if rule in rules else "holds"
        held.append(
            Expectation(f"expect.findings[{position}]", rule in rules, f"{rule}: found", f"{rule}: {told}")
        )
    expected = set(page.expect.findings)
    unexpected = [
        str(finding) for finding in found if not expected & {finding.rule, *finding.invariants.split(", ")}
    ]
    if page.expect.deadlock:
        held.append(
            Expectation(
                "expect.deadlock", deadlock is not None, "a deadlock", deadlock or "every call has ended"
            )
        )
    elif deadlock is not None:
        unexpected.append(f"deadlock: {deadlock}")
    return tuple(unexpected)
