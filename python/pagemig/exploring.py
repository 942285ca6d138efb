"""Trying every order in which calls can run, or many, and judging each.

Start with `explore`. The search itself is the core's; here it is advanced in slices, so that Ctrl-C
works, and every distinct end is judged. Neighbours: `pagemig.strategies` says which schedules,
`pagemig.verdict` what came of them, `pagemig.replaying` runs one of them.

Source: concurrency 1.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from . import _core
from .arguments import integer
from .call import Call
from .errors import ExplorationInterrupted, UsageError
from .flags import GiB, Granularity
from .machine import Machine
from .replaying import KINDS, Replay, Runnable, Stage, ViolationKind
from .strategies import Exhaustive, Pct, Random, Strategy
from .task import Task
from .verdict import ExplorationStatistics, Outcome, Raised, Stop, Verdict, Violation

Check: TypeAlias = Callable[[Replay], "bool | str | None"]
"""Judges an end: False, a text or an `AssertionError` says that it is wrong."""
Observe: TypeAlias = Callable[[Replay], Any]
"""What distinguishes ends besides the results of the calls."""

_STEPS_MAX = 1_000_000
_EVERYTHING = Exhaustive()
_SLICE = 256
_SLICE_SECONDS = 0.04


def explore(
    machine: Machine,
    calls: Sequence[Runnable],
    strategy: Strategy = _EVERYTHING,
    *,
    check: Check | None = None,
    observe: Observe | None = None,
    granularity: Granularity = Granularity.FINE,
    memory: int = 2 * GiB,
    transitions: int | None = None,
    steps: int = _STEPS_MAX,
    stop_at_first: bool = False,
    reduction: bool = True,
    progress: Callable[[ExplorationStatistics], object] | None = None,
) -> Verdict:
    """Run calls in every order, or in many, on clones, and say what can happen.

    Every distinct state is audited; the model's own assertions, deadlocks and, where frames have
    bytes, lost stores are found, too. Ctrl-C raises `ExplorationInterrupted` with the verdict so far.

    Parameters
    ----------
    machine, calls, granularity
        Where to start from, as for `pagemig.replay`.
    strategy
        Which schedules: an `Exhaustive` (all, by default), a `Random` or a `Pct`.
    check
        Called once for every distinct end, with a replay that led there. It fails by returning
        False or a text, or by an `AssertionError`.
    observe
        Called likewise; what it returns, hashable, tells outcomes apart besides the results of calls.
    memory, transitions, steps
        Limits: bytes of states and machines on the way, steps altogether, steps of a schedule (a million).
    stop_at_first
        Whether the first finding ends it. Its schedule is the shortest among those tried till then.
    reduction
        Whether a call that is done is remembered by its result alone, and not by how it got there.
        The verdict is the same, but for the numbers of states and steps.
    progress
        Called now and then with the statistics so far.

    Returns
    -------
    Verdict
        What can happen, and how much of it was covered.

    Raises
    ------
    UsageError, OSError
        An argument makes no sense; the checks of a call refuse it.

    Examples
    --------
    >>> import pagemig as pm
    >>> machine = pm.Machine(nodes=[pm.MiB] * 2)
    >>> app = machine.spawn()
    >>> heap = app.mmap(pm.PAGE_SIZE)
    >>> race = [(pm.calls.move_pages(heap, 1), app), (pm.calls.touch(heap), app)]
    >>> pm.explore(machine, race, pm.Exhaustive(preemptions=0)).complete
    True
    """
    stage = Stage.prepare(machine, calls, granularity)
    limits = _limits(memory, transitions, steps)
    search = _begin(stage, strategy, **limits, stop_at_first=stop_at_first, reduction=reduction)
    judge = _Judge(stage, search, strategy, check, observe)
    try:
        stopped = _run(search, judge, stop_at_first and check is not None, progress)
    except KeyboardInterrupt:
        raise ExplorationInterrupted(judge.verdict(Stop.INTERRUPTED)) from None
    return judge.verdict(stopped)


def _require_functions(**given: object) -> None:
    for name, function in given.items():
        if function is not None and not callable(function):
            raise UsageError(f"{name} is {function!r}; it must be a function or None")


def _limits(memory: int, transitions: int | None, steps: int) -> dict[str, int | None]:
    return {
        "memory": integer(memory, "memory"),
        "transitions": None if transitions is None else integer(transitions, "transitions"),
        "steps": integer(steps, "steps", 1, _STEPS_MAX),
    }


def _begin(stage: Stage, strategy: Strategy, **limits: Any) -> _core.Exploration:
    if not isinstance(strategy, (Exhaustive, Random, Pct)):
        raise UsageError(f"strategy is {strategy!r}; it must be an Exhaustive, a Random or a Pct")
    for name in ("stop_at_first", "reduction"):
        if not isinstance(limits[name], bool):
            raise UsageError(f"{name} is {limits[name]!r}; it must be True or False")
    numbers = [call.number for call in stage.calls]
    return _core.Exploration(stage.machine._system.core, numbers, strategy=strategy._row(), **limits)


def _run(
    search: _core.Exploration,
    judge: _Judge,
    judges_early: bool,
    progress: Callable[[ExplorationStatistics], object] | None,
) -> Stop:
    """Advance a search to its end and judge every end that it met."""
    _require_functions(progress=progress)
    size, judged = _SLICE, _SLICE
    while True:
        made = search.statistics()[1]
        # Ends are judged early after so many steps as no clock can influence.
        wanted = min(size, judged - made) if judges_early else size
        began = time.monotonic()
        is_over = search.advance(wanted)
        took = time.monotonic() - began
        size = size * 2 if took < _SLICE_SECONDS / 2 else max(1, size // 2) if took > _SLICE_SECONDS else size
        if progress is not None:
            progress(ExplorationStatistics(*search.statistics()))
        if is_over:
            break
        if judges_early and search.statistics()[1] >= judged:
            judged *= 2
            judge.judge_ends()
            if judge.failed:
                return Stop.FIRST_FINDING
    judge.judge_ends()
    stopped = search.stopped()
    return Stop[stopped.upper()] if stopped is not None else Stop.INTERRUPTED


@dataclass
class _Judge:
    """Judges ends, each once, and puts the verdict together."""

    stage: Stage
    search: _core.Exploration
    strategy: Strategy
    check: Check | None
    observe: Observe | None
    failed: dict[int, str] = field(default_factory=dict)
    """What is wrong with an end, by its state."""
    seen: dict[int, tuple[tuple[Any, ...], Any]] = field(default_factory=dict)
    """Results and what was observed, by state."""

    def __post_init__(self) -> None:
        _require_functions(check=self.check, observe=self.observe)

    def judge_ends(self) -> None:
        """Judge every end that is new."""
        if self.check is None and self.observe is None:
            return
        for state, _, _ in self.search.ends():
            if state in self.seen:
                continue
            end = self.stage.run(self.search.schedule(state))
            failure = None if self.check is None else _failure(self.check, end)
            observed = None if self.observe is None else plain(self.observe(end))
            _require_hashable(observed)
            self.seen[state] = _results(end), observed
            if failure is not None:
                self.failed[state] = failure

    def verdict(self, stopped: Stop) -> Verdict:
        """Say what was found so far."""
        schedules, exact = self.search.schedules()
        statistics = ExplorationStatistics(*self.search.statistics())
        ends = self.search.ends()
        return Verdict(
            schedules=schedules,
            exact=exact,
            states=statistics.states,
            transitions=statistics.transitions,
            outcomes=self._outcomes(ends),
            findings=self._findings(ends),
            stopped=stopped,
            strategy=self.strategy,
            statistics=statistics,
            calls={chr(ord("a") + at): _describe(call) for at, call in enumerate(self.stage.calls)},
        )

    def _outcomes(self, ends: list[tuple[int, int, int]]) -> tuple[Outcome, ...]:
        by_number: dict[int, tuple[tuple[Any, ...], Any]] = {}
        found: dict[tuple[tuple[Any, ...], Any], Outcome] = {}
        for state, number, count in ends:
            key = self.seen.get(state) or by_number.get(number)
            schedule = self.search.schedule(state)
            if key is None:
                key = by_number[number] = _results(self.stage.run(schedule)), None
            before = found.get(key)
            if before is not None:
                count += before.count
                schedule = min(schedule, before.schedule, key=_length)
            found[key] = Outcome(count, key[0], key[1], schedule)
        return tuple(sorted(found.values(), key=lambda one: (-one.count, _length(one.schedule))))

    def _findings(self, ends: list[tuple[int, int, int]]) -> tuple[Violation, ...]:
        stage = self.stage
        found = [
            Violation(KINDS[kind], rule, ids, detail, schedule, count, stage)
            for kind, rule, ids, detail, count, schedule in self.search.findings()
        ]
        missed: dict[str, tuple[int, str]] = {}
        for state, _, count in ends:
            if (failure := self.failed.get(state)) is not None:
                schedule = self.search.schedule(state)
                sum_so_far, shortest = missed.get(failure, (0, schedule))
                missed[failure] = sum_so_far + count, min(shortest, schedule, key=_length)
        kind = ViolationKind.EXPECTATION
        for failure, (count, schedule) in missed.items():
            found.append(Violation(kind, failure, "", failure, schedule, count, stage))
        return tuple(sorted(found, key=lambda one: (_length(one.schedule), one.kind.name, one.rule)))


def _failure(check: Check, end: Replay) -> str | None:
    """Return what a check says is wrong, None if nothing is."""
    try:
        answer: Any = check(end)
    except AssertionError as error:
        return str(error) or "the check's assertion failed"
    if isinstance(answer, np.bool_):
        answer = bool(answer)
    if answer is False:
        return "the check said False"
    if isinstance(answer, str):
        return answer
    if answer is not None and answer is not True:
        raise UsageError(f"check returned {answer!r}; it must be a bool, a text or None")
    return None


def _require_hashable(observed: Any) -> None:
    try:
        hash(observed)
    except TypeError:
        raise UsageError(f"observe returned {observed!r}; it must be hashable, such as a tuple") from None


def _results(end: Replay) -> tuple[Any, ...]:
    return tuple(_result(call) for call in end.calls)


def _result(call: Call) -> Any:
    if call.error is not None:
        return Raised(type(call.error).__name__, getattr(call.error, "errno", None))
    return plain(call.result)


def plain(value: Any) -> Any:
    """Return a value that compares by what it says: arrays as tuples, tasks as their pid.

    >>> plain([np.array([1, 2]), {"b": 1}])
    ((1, 2), (('b', 1),))
    """
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Task):
        return value.pid
    if isinstance(value, dict):
        return tuple(sorted((plain(key), plain(item)) for key, item in value.items()))
    if isinstance(value, (set, frozenset)):
        return tuple(sorted(plain(item) for item in value))
    if type(value) in (list, tuple):
        return tuple(plain(item) for item in value)
    return value


def _describe(call: Call) -> str:
    return f"{type(call.what).__name__} by task {call.pid}"


def _length(schedule: str) -> tuple[int, int, str]:
    """Steps, then switches, then whatever decides between equals."""
    counts = [int(run) for run in _numbers(schedule)]
    return sum(counts), len(counts), schedule


def _numbers(schedule: str) -> list[str]:
    return "".join(letter if letter.isdigit() else " " for letter in schedule).split()
