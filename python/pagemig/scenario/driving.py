"""The calls of a scenario driven to their ends, in slices, with somebody who listens.

Start with `Drive`. Between two slices what was recorded is folded (`pagemig.scenario.listening`), so
that a call of any size leaves a bounded trace. Where an assertion of the model fails, the machine
cannot be looked at any more: `Drive.most` makes a second drive stop just before that step.

Below: `pagemig.call`. Above: `pagemig.scenario.running`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from .. import _core
from ..call import Call, drive
from ..errors import InternalError
from .listening import Heard
from .world import World

EVENTS = 1 << 20
"""Events that are recorded of one slice, besides those of a step that takes off or puts back many pages."""

_STEPS = 1 << 13
_ROUNDS = 1 << 11
_RUN = re.compile("([0-9]+)([a-z])")


class Enough(Exception):
    """As many steps as were asked for have been made; the next one fails an assertion of the model."""


class Drive:
    """Drives calls of one world.

    Parameters
    ----------
    world
        Where the calls are in flight.
    most
        Steps after which `Enough` is raised, None for as many as it takes.
    counts
        Whether the steps are made one by one, so that `made` tells how many went well.
    """

    def __init__(self, world: World, *, most: int | None = None, counts: bool = False) -> None:
        self.heard = Heard()
        self.made = 0
        self.next: int | None = None
        """The call that would make the step for which `Enough` was raised."""
        self._world = world
        self._most = most
        self._is_slow = counts or most is not None
        # One step can take every page of the machine off its list, or put it back, and refuse the rest.
        self._events = EVENTS + 2 * world.machine.frame_count
        world.machine.record(self._events)

    def finish(self, call: Call) -> None:
        """Let one call go on to its end."""
        if self._is_slow:
            while not call.done:
                self._one(call.number, lambda core: core.finish_for(call.number, 1))
            return
        while not call.done:
            self._slice(lambda core: core.finish_for(call.number, _STEPS))

    def run(self, numbers: list[int], schedule: str) -> None:
        """Follow a schedule, then let all calls go on in turn until all are done."""
        for letter, count in self._pieces(schedule):
            at = ord(letter) - ord("a") if letter else len(numbers)
            call = numbers[at] if at < len(numbers) else -1
            self._follow(call, numbers, f"{count}{letter}" if letter else schedule)
        if self._is_slow:
            self._in_turn()
            return
        while not self._slice(lambda core: core.run_for(_ROUNDS)):
            pass

    def _pieces(self, schedule: str) -> Iterable[tuple[str, int]]:
        """Cut a schedule into slices; what is short, or none at all, is told as a whole."""
        runs = [(letter, int(count)) for count, letter in _RUN.findall(schedule)]
        is_one = "".join(f"{count}{letter}" for letter, count in runs) == schedule
        if not schedule or not is_one or (not self._is_slow and sum(n for _, n in runs) <= _STEPS):
            return [("", 0)] if schedule else []
        most = 1 if self._is_slow else _STEPS
        return ((letter, min(most, count - at)) for letter, count in runs for at in range(0, count, most))

    def _follow(self, call: int, numbers: list[int], piece: str) -> None:
        if self._is_slow and piece[:-1] == "1":
            self._one(call, lambda core: core.replay(numbers, piece))
        else:
            self._slice(lambda core: core.replay(numbers, piece))

    def _in_turn(self) -> None:
        """One step of every call that can make one, again and again, as the core does it."""
        calls = self._world.machine._system.calls
        while calls:
            ready = [call for _, call in sorted(calls.items()) if call.waiting_for is None]
            if not ready:
                self._slice(lambda core: core.run_for(1))  # Time passes, or nothing can ever go on.
            for call in ready:
                if not call.done and call.waiting_for is None:
                    self._one(call.number, lambda core, number=call.number: core.step(number))  # type: ignore[misc]

    def _one(self, call: int, how: Callable[[_core.Machine], Any]) -> None:
        if self.made == self._most:
            self.next = call
            raise Enough
        self._slice(how)
        self.made += 1

    def _slice(self, how: Callable[[_core.Machine], Any]) -> Any:
        core = self._world.machine._system.core
        try:
            return drive(self._world.machine._system, how)
        finally:
            if not self._is_slow or self._most is not None:
                self._listen(core)

    def _listen(self, core: _core.Machine) -> None:
        try:
            columns = core.trace()
        except InternalError:  # Whoever drives hears of it.
            return
        core.record(0)
        core.record(self._events)
        self.heard.listen(columns)

    def overhear(self) -> int | None:
        """Listen to what ran at once, without being driven; return its number, None if it made no step."""
        known = len(self.heard.made)
        self._listen(self._world.machine._system.core)
        return self.heard.made[-1][0] if len(self.heard.made) > known else None

    def stop(self) -> None:
        """Record no more."""
        self._world.machine.record(0)
