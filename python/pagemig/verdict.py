"""What an exploration found: outcomes with their numbers, and what is wrong, with the way to it.

Start with `Verdict`; a `Violation` replays itself. It claims what was covered and no more:
`Verdict.complete` is True only if everything within the strategy's bounds was. Neighbours:
`pagemig.exploring` makes them.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .replaying import Replay, Stage, ViolationKind
from .strategies import Exhaustive, Strategy


class Stop(enum.Enum):
    """Why an exploration is over."""

    COVERED = "everything within the bounds was covered"
    RUNS = "all runs were made"
    MEMORY = "the limit of memory was reached"
    TRANSITIONS = "the limit of transitions was reached"
    LENGTH = "a schedule went on beyond the limit of steps"
    FIRST_FINDING = "something was found"
    INTERRUPTED = "it was interrupted"


class ExplorationStatistics(NamedTuple):
    """How far an exploration is."""

    states: int
    """Distinct states of the machine."""
    transitions: int
    """Steps made."""
    ends: int
    """Distinct states in which all calls are done."""
    findings: int
    """Ways of being wrong, expectations apart."""
    memory: int
    """Bytes in use for states and for the machines on the way."""
    runs: int
    """Schedules run to their end by a sampling strategy."""
    steps: int
    """Steps of the longest schedule so far."""


class Raised(NamedTuple):
    """The error in which a call ended, by what it can be told by."""

    error: str
    """The name of its class."""
    errno: int | None
    """Its errno, if it has one."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What calls can come to."""

    count: int
    """How many schedules lead to it."""
    results: tuple[Any, ...]
    """What each call returned: arrays as tuples, tasks as their pid, an error as a `Raised`."""
    observed: Any
    """What ``observe`` said of it, None if nobody asked."""
    schedule: str
    """The shortest schedule to it."""


@dataclass(frozen=True, slots=True)
class Violation:
    """Something wrong, with the shortest schedule that leads to it."""

    kind: ViolationKind
    """What sort of thing."""
    rule: str
    """The rule of the audit; of other kinds what was said, with # for each number."""
    ids: str
    """The invariants that a rule of the audit states."""
    detail: str
    """What is wrong at the end of the schedule, in words and numbers."""
    schedule: str
    """The shortest schedule: fewest steps, then fewest switches. Exact if the search was exhaustive."""
    count: int
    """How many schedules end with it."""
    stage: Stage = field(repr=False, compare=False)
    """Where the schedule begins."""

    @property
    def steps(self) -> int:
        """How many steps the schedule has."""
        return sum(int(number) for number in re.findall("[0-9]+", self.schedule))

    def replay(self) -> Replay:
        """Run the schedule on a clone of where the exploration began.

        Returns
        -------
        Replay
            The end of the schedule, with the machine as it is there.
        """
        return self.stage.run(self.schedule)

    def __str__(self) -> str:
        name = self.kind.name.lower().replace("_", " ")
        what = "" if self.detail.startswith(self.rule) or self.kind is ViolationKind.DEADLOCK else self.rule
        ids = f" ({self.ids})" if self.ids else ""
        said = f"{what}{ids}: {self.detail}" if what else self.detail
        steps = f"{self.steps} step{'' if self.steps == 1 else 's'}"
        return f"{name}: {said}\n  breaks with schedule {self.schedule!r} ({steps})"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an exploration found, and how far it got."""

    schedules: int
    """Complete schedules: ways from the beginning to an end or to something wrong. A call that spins
    and comes back to an equal state has not made another one. Of a sampling strategy: distinct
    schedules that were run."""
    exact: bool
    """Whether that number, and the counts, are exact as far as the exploration went; else there are
    more."""
    states: int
    """Distinct states of the machine."""
    transitions: int
    """Steps that were made for it."""
    outcomes: tuple[Outcome, ...]
    """What the calls can come to, the most frequent first."""
    findings: tuple[Violation, ...]
    """What is wrong, the shortest schedule first."""
    stopped: Stop
    """Why it is over."""
    strategy: Strategy
    """Which schedules were tried."""
    statistics: ExplorationStatistics
    """How far it got."""
    calls: Mapping[str, str] = field(hash=False)
    """What each letter of a schedule stands for."""

    @property
    def complete(self) -> bool:
        """Whether everything within the strategy's bounds was covered. A sample never is."""
        return self.stopped is Stop.COVERED

    @property
    def holds(self) -> bool:
        """Whether nothing wrong was found. Only a complete verdict says that there is nothing."""
        return not self.findings

    def __str__(self) -> str:
        least = "" if self.exact else "at least "
        counted = (
            f"{least}{_count(self.schedules, 'schedule')}, {_count(self.states, 'state')}, "
            f"{_count(len(self.outcomes), 'outcome')}"
        )
        found = f", {_count(len(self.findings), 'finding')}" if self.findings else ""
        lines = [f"{counted}{found}: {self._coverage()}"]
        for outcome in self.outcomes:
            results = ", ".join(
                f"{label} = {result!r}" for label, result in zip(self.calls, outcome.results, strict=True)
            )
            seen = "" if outcome.observed is None else f", observed {outcome.observed!r}"
            times = _count(outcome.count, "schedule")
            lines.append(f"  {times} such as {outcome.schedule!r}: {results}{seen}")
        lines += ["  " + line for found in self.findings for line in str(found).splitlines()]
        return "\n".join(lines)

    def _coverage(self) -> str:
        if self.stopped is Stop.COVERED:
            bound = self.strategy.preemptions if isinstance(self.strategy, Exhaustive) else None
            within = "" if bound is None else f" with at most {_count(bound, 'preemption')}"
            return f"all of them{within}"
        if self.stopped is Stop.RUNS:
            return f"a sample of {_count(self.statistics.runs, 'run')}; there may be more"
        after = f"after {_count(self.transitions, 'step')}; there may be more"
        return f"not finished, {self.stopped.value} {after}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
