"""Running calls in a chosen order, on a copy: replaying what a person wrote or a search found.

Start with `replay`, which never disturbs the machine it is given. A `Stage` is a machine with the
calls of a race in flight: it can be replayed again and again. Above us: `pagemig.exploring`, which
searches for orders.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from .arguments import integer
from .call import Call, CallValue, drive, for_machine
from .errors import InternalError, UsageError
from .flags import Granularity
from .machine import Machine
from .task import Task

Runnable: TypeAlias = "Call | tuple[CallValue, Task | int]"
"""A call in flight on the machine, or one to start: what, and by whom."""

CALLS_MAX = 26
"""Calls that a schedule has letters for."""


class ViolationKind(enum.Enum):
    """What sort of thing is wrong."""

    INVARIANT = "a rule of the audit is broken"
    ASSERTION = "an assertion of the model failed"
    DEADLOCK = "no call can ever go on"
    LOST_STORE = "a byte that was stored is not where a load looks"
    EXPECTATION = "an expectation was not met"


class Symptom(NamedTuple):
    """What is wrong with a machine at the end of a schedule."""

    kind: ViolationKind
    """What sort of thing."""
    rule: str
    """The rule of the audit; of other kinds what was said, with # for each number."""
    ids: str
    """The invariants that a rule of the audit states."""
    detail: str
    """What is wrong, in words and numbers."""


@dataclass(frozen=True, slots=True)
class Replay:
    """What came of a schedule."""

    machine: Machine
    """The copy on which it ran. After a failed assertion it cannot be looked at."""
    calls: tuple[Call, ...]
    """Its calls, in the order given; those are still in flight for which the schedule was too short."""
    schedule: str
    """The order in which they ran."""
    symptoms: tuple[Symptom, ...] = ()
    """Everything that is wrong at the end; empty if all is well."""


def replay(
    machine: Machine,
    calls: Sequence[Runnable],
    schedule: str,
    *,
    granularity: Granularity = Granularity.FINE,
    record: int = 0,
) -> Replay:
    """Run calls in the order of a schedule, on a clone.

    When none of the calls can go on, time passes until a transfer ends that lets one go on.

    Parameters
    ----------
    machine
        Where to start from; it is left as it is.
    calls
        Calls in flight on ``machine``, or pairs of a value of `pagemig.calls` and its task.
    schedule
        ``3a1b2a`` is three steps of the first call, one of the second, two of the first.
    granularity
        Where the calls that are started here may stop.
    record
        How many events of it to keep for `pagemig.Machine.trace`; 0 for none.

    Returns
    -------
    Replay
        What came of it.

    Raises
    ------
    UsageError
        The schedule cannot be read, or asks for a step that cannot be made; or a call makes no sense.
    OSError
        The checks of a call refuse it.

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
    kept = integer(record, "record", high=1 << 32)
    stage = Stage.prepare(machine, calls, granularity)
    if kept:
        stage.machine.record(kept)
    return _run(stage.machine, stage.calls, schedule)


@dataclass(frozen=True, slots=True)
class Stage:
    """A machine with the calls of a race in flight, where a schedule begins."""

    machine: Machine
    calls: tuple[Call, ...]

    @staticmethod
    def prepare(machine: Machine, calls: Sequence[Runnable], granularity: Granularity) -> Stage:
        """Clone a machine and start on the clone what is not in flight yet; watch its stores.

        Raises
        ------
        UsageError
            There are no calls or more than letters, or one is not this machine's.
        OSError
            The checks of a call refuse it.
        """
        if not isinstance(machine, Machine):
            raise UsageError(f"machine is {machine!r}; it must be a pagemig.Machine")
        if not isinstance(granularity, Granularity):
            raise UsageError(f"granularity is {granularity!r}; it must be Granularity.FINE or COARSE")
        if not isinstance(calls, Iterable):
            raise UsageError(f"calls is {calls!r}; it must be calls in flight or pairs (call, task)")
        items = tuple(calls)
        if not 1 <= len(items) <= CALLS_MAX:
            raise UsageError(f"{len(items)} calls; a schedule names 1 to 26 of them, a to z")
        running = [item.number for item in items if isinstance(item, Call)]
        if len(set(running)) < len(running):
            raise UsageError("a call in flight is given twice; each has one letter")
        twin = machine.clone()
        if twin._system.contents and not twin.watches_stores:
            twin.watch_stores()
        return Stage(twin, tuple(_in_flight(machine, twin, item, granularity) for item in items))

    def run(self, schedule: str) -> Replay:
        """Run a schedule on a clone."""
        twin = self.machine.clone()
        return _run(twin, tuple(twin._system.calls[call.number] for call in self.calls), schedule)


def _run(machine: Machine, calls: tuple[Call, ...], schedule: str) -> Replay:
    core, numbers = machine._system.core, [call.number for call in calls]
    try:
        drive(machine._system, lambda core: core.replay(numbers, schedule))
        found = core.judge(numbers)
    except InternalError as error:
        said = error.assertion
        fallen = Symptom(ViolationKind.ASSERTION, re.sub("[0-9]+", "#", said), "", said)
        return Replay(machine, calls, schedule, (fallen,))
    symptoms = [Symptom(KINDS[kind], *rest) for kind, *rest in found]
    return Replay(machine, calls, schedule, tuple(symptoms))


KINDS = {
    "invariant": ViolationKind.INVARIANT,
    "assertion": ViolationKind.ASSERTION,
    "deadlock": ViolationKind.DEADLOCK,
    "lost_store": ViolationKind.LOST_STORE,
}
"""What the core calls them."""


def _in_flight(machine: Machine, twin: Machine, item: Runnable, granularity: Granularity) -> Call:
    if isinstance(item, Call):
        if item._system is not machine._system or item.done:
            raise UsageError(f"{item!r} is not in flight on this machine")
        return twin._system.calls[item.number]
    if not isinstance(item, tuple) or len(item) != 2:
        raise UsageError(f"{item!r} is neither a call in flight nor a pair (call, task)")
    what, by = item
    pid = by.pid if isinstance(by, Task) and by._system is machine._system else by
    what = for_machine(machine._system, what)
    return twin.start(what, by=pid, granularity=granularity)
