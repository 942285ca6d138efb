"""A scenario, explored: its calls run in every order, or in many, and each end judged.

Start with `explore`. What the scenario expects becomes the check of every end; what its outcomes
tell of is what distinguishes ends. Below: `pagemig.exploring`, which searches.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import ExplorationInterrupted, UsageError
from ..exploring import explore as search
from ..flags import GiB
from ..replaying import Replay, Stage, ViolationKind
from ..strategies import Exhaustive, Pct, Random, Strategy
from ..verdict import ExplorationStatistics, Outcome, Verdict, Violation
from .judging import Before, Came, is_same, judge, observed, remember_before, told_outcome
from .model import ExplorePart, Page
from .running import Flight, prepare, settle, take_off
from .world import World

MEMORY = 2 * GiB
"""Bytes of an exploration, if nobody says otherwise."""

Progress = Callable[[ExplorationStatistics], object]


@dataclasses.dataclass(slots=True)
class Race:
    """A scenario whose calls are all in flight and have made no step."""

    page: Page
    world: World
    flights: list[Flight]
    before: Before

    @staticmethod
    def of(page: Page) -> Race:
        """Prepare a scenario and start its calls.

        Raises
        ------
        UsageError
            Its calls run one after the other, or none of them can be started.
        """
        if page.order != "together":
            raise UsageError("order: the calls run one after the other; set order = 'together' to race them")
        world = prepare(page)
        before = remember_before(world)
        race = Race(page, world, take_off(world, page), before)
        if not any(flight.call for flight in race.flights):
            raise UsageError("calls: none of them gets as far as its first step; there is no order to choose")
        return race

    def at(self, end: Replay) -> tuple[World, dict[str, Came]]:
        """Return the world at the end of a schedule, and what every call has come to there."""
        world, calls = self.world.on(end.machine), iter(end.calls)
        flights = [
            Flight(flight.part, next(calls) if flight.call is not None else None, flight.refused)
            for flight in self.flights
        ]
        return world, settle(world, flights)

    def check(self, end: Replay) -> str | None:
        """Return what the scenario expects and does not hold at an end, None if all does."""
        world, came = self.at(end)
        held = judge(self.page, world, came, self.before, any_order=True)
        return "; ".join(str(item) for item in held if not item.holds) or None

    def observe(self, end: Replay) -> tuple[tuple[str, Any], ...]:
        """Return what distinguishes an end: what the outcomes of the scenario tell of."""
        world, came = self.at(end)
        return tuple(observed(self.page, world, came).items())

    @property
    def stage(self) -> Stage:
        """Where every schedule begins."""
        return Stage(self.world.machine, tuple(f.call for f in self.flights if f.call is not None))


def strategy_of(part: ExplorePart) -> Strategy:
    """Return the strategy that a scenario asks for."""
    if part.strategy == "random":
        return Random(part.runs, part.seed)
    if part.strategy == "pct":
        return Pct(part.depth, part.runs, part.seed)
    return Exhaustive(part.preemptions)


def explore(
    page: Page,
    strategy: Strategy | None = None,
    *,
    memory: int | None = None,
    transitions: int | None = None,
    stop_at_first: bool = False,
    reduction: bool = True,
    progress: Progress | None = None,
) -> Verdict:
    """Run the calls of a scenario in every order, or in many; see `pagemig.Scenario.explore`."""
    race = Race.of(page)
    part = page.explore
    room = memory if memory is not None else part.memory if part.memory is not None else MEMORY
    wanted = strategy if strategy is not None else strategy_of(part)
    try:
        verdict = search(
            race.world.machine,
            [flight.call for flight in race.flights if flight.call is not None],
            wanted,
            check=race.check,
            observe=race.observe,
            memory=room,
            transitions=transitions if transitions is not None else part.transitions,
            stop_at_first=stop_at_first,
            reduction=reduction,
            progress=progress,
        )
    except ExplorationInterrupted as interrupted:
        raise ExplorationInterrupted(_judged(race, interrupted.verdict)) from None
    return _judged(race, verdict)


def _judged(race: Race, verdict: Verdict) -> Verdict:
    """Leave out what the scenario expects, add what it expects and never came about."""
    page = race.page
    found = [item for item in verdict.findings if not _is_expected(page, item)]
    if verdict.complete and _covers(page, verdict.strategy):
        met = [dict(outcome.observed) for outcome in verdict.outcomes if outcome.observed is not None]
        for position, told in enumerate(page.expect.outcomes):
            if not any(is_same(told, one) for one in met):
                found.append(_never(race, position, told))
    return dataclasses.replace(verdict, findings=tuple(found), outcomes=_grouped(verdict.outcomes))


def _grouped(outcomes: tuple[Outcome, ...]) -> tuple[Outcome, ...]:
    """Put outcomes together that differ only in what the scenario does not look at: frames, attempts."""
    found: dict[Any, Outcome] = {}
    for one in outcomes:
        before = found.get(one.observed)
        if before is None:
            found[one.observed] = one
            continue
        shorter = min(before, one, key=lambda outcome: (_steps(outcome.schedule), outcome.schedule))
        found[one.observed] = dataclasses.replace(shorter, count=before.count + one.count)
    return tuple(sorted(found.values(), key=lambda one: -one.count))


def _steps(schedule: str) -> tuple[int, int]:
    counts = [int(number) for number in re.findall("[0-9]+", schedule)]
    return sum(counts), len(counts)


def _covers(page: Page, strategy: Strategy) -> bool:
    """Whether a strategy covers at least what the scenario's own does: everything it lists must occur."""
    if not isinstance(strategy, Exhaustive) or page.explore.strategy != "exhaustive":
        return False
    bound = page.explore.preemptions
    return strategy.preemptions is None or (bound is not None and strategy.preemptions >= bound)


def _never(race: Race, position: int, told: Mapping[str, Any]) -> Violation:
    detail = f"expect.outcomes[{position}]: ({told_outcome(told)}) never came about"
    return Violation(ViolationKind.EXPECTATION, detail, "", detail, "", 0, race.stage)


def _is_expected(page: Page, found: Violation) -> bool:
    if found.kind is ViolationKind.DEADLOCK:
        return page.expect.deadlock
    return bool({found.rule, *found.ids.split(", ")} & set(page.expect.findings))
