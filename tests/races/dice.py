"""Random situations and random orders, the same for the same seed on every machine.

:class:`Dice` is a generator of our own (splitmix64), so that no release of Python changes what a
seed means. :func:`situation` throws a small situation: one to four pages, two or three tasks that
share them by fork, two or three calls.

Neighbours: ``situation`` for what a situation is, ``race`` for how one is run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from tests.races.situation import Line, Situation

_Thing = TypeVar("_Thing")
_MASK = (1 << 64) - 1


class Dice:
    """Numbers from a seed."""

    def __init__(self, seed: int) -> None:
        self._state = seed & _MASK

    def below(self, limit: int) -> int:
        """A number from 0 to ``limit`` - 1."""
        self._state = (self._state + 0x9E3779B97F4A7C15) & _MASK
        mixed = self._state
        mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
        mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EB & _MASK
        return (mixed ^ (mixed >> 31)) % limit

    def one_of(self, things: Sequence[_Thing]) -> _Thing:
        """One of them."""
        return things[self.below(len(things))]

    def chance(self, percent: int) -> bool:
        """True so often in a hundred."""
        return self.below(100) < percent


def situation(dice: Dice) -> Situation:
    """Throw a situation. It uses few of the verbs, so that two of a kind meet often."""
    pages, cpus = 1 + dice.below(4), 1 + dice.below(2)
    before = [dice.one_of(_BEFORE) for _ in range(3)]
    racing = [dice.one_of(_RACING) for _ in range(3)]
    tasks, setup = _setup(dice, pages, cpus, before)
    calls = [_mover(dice, pages, tasks)]
    leaving: set[str] = set()
    wanted = 2 + dice.below(2)
    while len(calls) < wanted:
        line = _mover(dice, pages, tasks) if dice.chance(25) else _of(dice, racing, pages, tasks)
        busy = {call.task for call in calls}
        if (line.verb == "exit" and line.task in busy) or line.task in leaving:
            continue
        if line.verb == "exit":
            leaving.add(line.task)
        if line.verb == "fork":
            line = Line(line.task, "fork", (f"late{len(calls)}",))
        calls.append(line)
    return Situation(tuple(setup), tuple(calls), pages, cpus)


def _setup(dice: Dice, pages: int, cpus: int, before: Sequence[str]) -> tuple[list[str], list[Line]]:
    tasks, setup = ["app"], []
    for _ in range(dice.below(3)):
        setup.append(_of(dice, ("mprotect", "mlock", "munlock"), pages, tasks))
    for page in range(pages):
        verb = dice.one_of(("write", "write", "write", "load", "none"))
        if verb != "none":
            setup.append(Line("app", verb, (str(page), *(("1",) if verb == "load" else ()))))
    if dice.chance(70):
        setup.append(Line("app", "drain", ()))
    for name in ("child", "third")[: 1 + dice.below(2)]:
        setup.append(Line(dice.one_of(tasks), "fork", (name,)))
        tasks.append(name)
        if cpus > 1 and dice.chance(40):
            setup.append(Line(name, "cpu", ("1",)))
    for _ in range(dice.below(4)):
        setup.append(_of(dice, before, pages, tasks))
    if dice.chance(70):
        setup.append(Line("app", "drain", ()))
    return tasks, setup


def _range(dice: Dice, pages: int) -> tuple[str, str]:
    first = dice.below(pages)
    return str(first), str(1 + dice.below(pages - first))


def _mover(dice: Dice, pages: int, tasks: Sequence[str]) -> Line:
    scope = "shared" if dice.chance(80) else "exclusive"
    words = (*_range(dice, pages), str(int(dice.chance(80))), scope)
    task = dice.one_of(tasks)
    return Line(task, "move", (*words, dice.one_of(tasks)) if dice.chance(30) else words)


_OTHERS = (
    ("write", 6),
    ("read", 3),
    ("store", 3),
    ("load", 2),
    ("fork", 3),
    ("exit", 3),
    ("munmap", 3),
    ("mprotect", 3),
    ("mlock", 3),
    ("munlock", 2),
    ("pin", 3),
    ("drain", 1),
    ("query", 1),
)
_RACING = tuple(verb for verb, weight in _OTHERS for _ in range(weight))
_BEFORE = ("write", "store", "load", "mlock", "munlock", "mprotect", "munmap", "drain", "pin")


def _of(dice: Dice, verbs: Sequence[str], pages: int, tasks: Sequence[str]) -> Line:
    verb, task = dice.one_of(verbs), dice.one_of(tasks)
    if verb in ("write", "read"):
        return Line(task, verb, (str(dice.below(pages)),))
    if verb == "pin":
        return Line(task, verb, (str(dice.below(pages)), dice.one_of(("r", "w"))))
    if verb == "mprotect":
        return Line(task, verb, (*_range(dice, pages), dice.one_of(("r", "rw", "none"))))
    if verb in ("drain", "exit", "fork"):
        return Line(task, verb, ())
    return Line(task, verb, _range(dice, pages))
