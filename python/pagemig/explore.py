"""Running calls in a chosen order, on a copy: replaying what was found.

`replay` never disturbs the machine it is given. Left out so far: searching for orders.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from .call import Call, CallValue, drive
from .errors import UsageError
from .machine import Machine
from .task import Task

Runnable: TypeAlias = "Call | tuple[CallValue, Task | int]"
"""A call in flight on the machine, or one to start: what, and by whom."""


@dataclass(frozen=True, slots=True)
class Replay:
    """What came of a schedule."""

    machine: Machine
    """The copy on which it ran."""
    calls: tuple[Call, ...]
    """Its calls, in the order given; some may still be in flight."""
    schedule: str
    """The order in which they ran."""


def replay(machine: Machine, calls: Sequence[Runnable], schedule: str) -> Replay:
    """Run calls in the order of a schedule, on a clone.

    Parameters
    ----------
    machine
        Where to start from; it is left as it is.
    calls
        Calls in flight on ``machine``, or pairs of a value of `pagemig.calls` and its task.
    schedule
        ``3a1b2a`` is three steps of the first call, one of the second, two of the first.

    Raises
    ------
    UsageError
        The schedule cannot be read, or asks for a step that cannot be made.

    Examples
    --------
    >>> import pagemig as pm
    >>> machine = pm.Machine(nodes=[pm.MiB])
    >>> app = machine.spawn()
    >>> heap = app.mmap(pm.PAGE_SIZE)
    >>> ran = replay(machine, [(pm.calls.touch(heap), app)], "1a")
    >>> ran.calls[0].done, machine.calls
    (False, ())
    """
    if not isinstance(schedule, str):
        raise UsageError(f"schedule is {schedule!r}; it must be text such as '3a1b2a'")
    if not 1 <= len(calls) <= 26:
        raise UsageError(f"{len(calls)} calls; a schedule names 1 to 26 of them, a to z")
    twin = machine.clone()
    handles = tuple(_in_flight(machine, twin, item) for item in calls)
    drive(twin._system, lambda core: core.replay([call.number for call in handles], schedule))
    return Replay(twin, handles, schedule)


def _in_flight(machine: Machine, twin: Machine, item: Runnable) -> Call:
    if isinstance(item, Call):
        if item._system is not machine._system or item.done:
            raise UsageError(f"{item!r} is not in flight on this machine")
        return twin._system.calls[item.number]
    if not isinstance(item, tuple) or len(item) != 2:
        raise UsageError(f"{item!r} is neither a call in flight nor a pair (call, task)")
    what, by = item
    return twin.start(what, by=by.pid if isinstance(by, Task) else by)
