"""A run of a scenario seen again: where its pages were as the calls went on, and the race step by step.

A report is a value without a machine. It keeps a `Film`, which is the scenario and the schedule that
was followed; looking at it runs the scenario again, with the same outcome, and stops to look.

Start with `Film`. Below: `pagemig.scenario.running` and `pagemig.timeline`.
"""

from __future__ import annotations

import re
from array import array
from dataclasses import dataclass, replace
from typing import Any

from ..call import drive
from ..errors import DeadlockError, InternalError
from ..report import History
from ..timeline import Timeline
from ..timeline.moments import STEPS_MAX
from . import running
from .asking import nodes_at
from .model import Page
from .raw_acting import RAW
from .reading import page_from_toml
from .searching import Race
from .world import World
from .writing import page_to_toml

MOMENTS = 96
"""Looks at the pages during a run, about."""

_LOOKS_MAX = 20_000_000
"""Frames times steps of the longest race that is shown step by step: each step looks at every frame."""

_RUN = re.compile("([0-9]+)([a-z])")


@dataclass(frozen=True, slots=True)
class Film:
    """A scenario, the schedule that was followed, and how many steps were made."""

    page: Page
    schedule: str
    steps: int

    def history(self) -> History:
        """Run again, and look where the pages are about `MOMENTS` times."""
        world = running.prepare(self.page)
        looks = _Looks(world, max(1, -(-self.steps // MOMENTS)))
        order = _Order()
        world.machine.record(1)  # Calls are stepped as they were in the run.
        try:
            if self.page.order == "together":
                self._together(world, looks, order)
            else:
                self._in_sequence(world, looks, order)
        except DeadlockError:
            pass  # The run has told of it; what was seen until then is what there is to see.
        except InternalError:
            return History(
                tuple(looks.steps), tuple(looks.nodes), tuple(order.made)
            )  # It cannot be looked at.
        looks.look(last=True)
        return History(tuple(looks.steps), tuple(looks.nodes), tuple(order.made))

    def timeline(self) -> Timeline | None:
        """Return the race step by step; None if the calls did not run at once, or for too long."""
        steps = sum(int(count) for count, _ in _RUN.findall(self.schedule))
        if self.page.order != "together" or not 0 < steps <= STEPS_MAX:
            return None
        race = Race.of(self.page)
        if race.world.machine.frame_count * steps > _LOOKS_MAX:
            return None
        return timeline_of(race, self.schedule)

    def _together(self, world: World, looks: _Looks, order: _Order) -> None:
        flights = running.take_off(world, self.page)
        named = running.letters(flights)
        calls = {named[flight.part.id]: flight.call for flight in flights if flight.call is not None}
        ids = {letter: name for name, letter in named.items()}
        numbers = [call.number for call in calls.values()]
        looks.look()
        for count, letter in _RUN.findall(self.schedule):
            left = int(count)
            while left:
                part = min(left, looks.room)
                known = len(calls[letter].history)
                _make(world, numbers, f"{part}{letter}")
                order.add(ids[letter], calls[letter].history[known:])
                looks.made(part)
                left -= part
        world.machine.run()

    def _in_sequence(self, world: World, looks: _Looks, order: _Order) -> None:
        looks.look()
        for position, part in enumerate(self.page.calls):
            flight = running.start(world, part, f"calls[{position}]")
            call = flight.call
            try:
                while call is not None and not call.done:
                    looks.made(_step(world, call.number, looks.room))
            finally:
                # A raw call ran at once: it is one moment.
                at_once = (str(getattr(part, "do", "")),) if getattr(part, "do", "") in RAW else ()
                order.add(part.id, at_once if call is None else call.history)
                looks.upto(len(order.made))
            running.settle(world, [flight])

    def __reduce__(self) -> tuple[Any, ...]:
        return _film, (page_to_toml(self.page), self.schedule, self.steps)


def _make(world: World, numbers: list[int], piece: str) -> None:
    drive(world.machine._system, lambda core: core.replay(numbers, piece))


def _step(world: World, number: int, steps: int) -> int:
    """Make at most so many steps of a call that is alone; time passes where it waits. How many it made."""
    return int(drive(world.machine._system, lambda core: core.finish_for(number, steps)))


def _film(text: str, schedule: str, steps: int) -> Film:
    return Film(page_from_toml(text, "the scenario"), schedule, steps)


def timeline_of(race: Race, schedule: str) -> Timeline:
    """Return a schedule of a race step by step, with what the scenario expects and does not hold.

    Raises
    ------
    UsageError
        The schedule cannot be followed, or has more steps than can be shown.
    """
    stage = race.stage
    shown = Timeline.of(stage.machine, stage.calls, schedule)
    end = stage.run(schedule)
    if all(call.done for call in end.calls) and not end.symptoms:
        missed = race.check(end)
        if missed is not None:
            return replace(shown, findings=(f"expectation: {missed}", *shown.findings))
    return shown


class _Order:
    """Who made which step. There may be millions, so that equal ones are one object."""

    def __init__(self) -> None:
        self.made: list[tuple[str, str]] = []
        self._known: dict[tuple[str, str], tuple[str, str]] = {}

    def add(self, call: str, labels: tuple[str, ...]) -> None:
        """Add the steps of a call."""
        known = self._known
        self.made += [known.setdefault((call, label), (call, label)) for label in labels]


class _Looks:
    """Counts steps, and looks where the pages are every so often."""

    def __init__(self, world: World, every: int) -> None:
        self.steps: list[int] = []
        self.nodes: list[array[int]] = []
        self._world = world
        self._every = every
        self._views = running.views(world)
        self._count = 0

    @property
    def room(self) -> int:
        """Steps to the next look."""
        return self._every - self._count % self._every

    def made(self, steps: int) -> None:
        """Note that steps were made."""
        self._count += steps
        if steps and self._count % self._every == 0:
            self.look()

    def upto(self, steps: int) -> None:
        """Note that so many steps were made in all, and look."""
        self._count = steps
        self.look()

    def look(self, *, last: bool = False) -> None:
        """Note where the pages are; twice at one moment only if something has changed, or at the end."""
        seen = array("b")
        for name, task in self._views:
            region = self._world.regions[name]
            seen.extend(nodes_at(self._world, self._world.tasks[task], region.addresses))
        if self.steps and self.steps[-1] == self._count:
            self.nodes[-1] = seen
            return
        if last and self.nodes and self.nodes[-1] == seen:
            return
        self.steps.append(self._count)
        self.nodes.append(seen)
