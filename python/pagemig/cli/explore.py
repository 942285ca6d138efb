"""``pagemig explore``: the calls of a scenario, in every order or in many.

Asks and prints; `pagemig.Scenario.explore` searches. Results go to standard output, the progress to
standard error where that is a terminal.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from pagemig.errors import ExplorationInterrupted, UsageError
from pagemig.scenario import Scenario
from pagemig.scenario.judging import told_outcome
from pagemig.scenario.naming import bytes_in
from pagemig.scenario.searching import MEMORY, strategy_of
from pagemig.strategies import Exhaustive, Pct, Random, Strategy
from pagemig.timeline import Timeline
from pagemig.verdict import ExplorationStatistics, Outcome, Stop, Verdict

from . import terminal
from .run import JSON, SCENARIO, TIMELINE, load

_KINDS = ("exhaustive", "random", "pct")
_OUTCOMES = 12
_RUNS = 1000
_DEPTH = 3
_FIRST = 0
"""Stop at the first finding."""
_FURTHER = 200_000
"""Steps of a second search once something was found: what comes first is seldom shortest."""


def _complete_kind(begun: str) -> list[str]:
    return [name for name in _KINDS if name.startswith(begun)]


_STRATEGY = Annotated[
    str | None,
    typer.Option(
        help="exhaustive, random or pct.",
        metavar="NAME",
        show_default="what the scenario says",
        autocompletion=_complete_kind,
    ),
]


def explore(
    scenario: SCENARIO,
    strategy: _STRATEGY = None,
    preemptions: Annotated[
        int | None,
        typer.Option(help="exhaustive: interruptions, at most.", show_default="what the scenario says"),
    ] = None,
    runs: Annotated[
        int | None, typer.Option(help="random, pct: how many orders.", show_default=str(_RUNS))
    ] = None,
    seed: Annotated[int | None, typer.Option(help="random, pct: what decides.", show_default="0")] = None,
    depth: Annotated[
        int | None, typer.Option(help="pct: steps that must come in one order.", show_default=str(_DEPTH))
    ] = None,
    memory: Annotated[
        str | None, typer.Option(help="Bytes for what was seen.", metavar="SIZE", show_default="2GiB")
    ] = None,
    no_bugs: Annotated[
        bool, typer.Option("--no-bugs", help="Repair what the scenario breaks on purpose.")
    ] = False,
    show_all: Annotated[
        bool, typer.Option("--all", help="Go on after the first finding, and show all outcomes.")
    ] = False,
    timeline: TIMELINE = None,
    as_json: JSON = False,
) -> None:
    """Try every order in which the calls of a scenario can run, and judge each end.

    A finding is a rule of the audit that does not hold, an assertion of the model, a deadlock, a lost
    store, or something that the scenario expects and does not hold. Each comes with the shortest
    schedule that leads to it, and the command that replays it. The exit code is 1 with a finding and 0
    without; if it could not finish it says how far it got. Once something is found the search goes on for
    a while, for a shorter way to it; --all goes on to the end.

    With --timeline the first finding is shown step by step in a web page; without a finding none is
    written.

    **Examples**

    - pagemig explore two-movers
    - pagemig explore gallery/child-first --timeline finding.html
    - pagemig explore mine.toml --preemptions 2 --all
    - pagemig explore mine.toml --strategy pct --runs 500 --seed 7
    """
    terminal.outputs(timeline, source=scenario)
    told = load(scenario)
    told = told.without_bugs() if no_bugs else told
    wanted = _strategy(told, strategy, preemptions, runs, seed, depth)
    room = None if memory is None else _memory(memory)
    try:
        verdict = _search(told, wanted, room, None if show_all else _FIRST)
        if verdict.stopped is Stop.FIRST_FINDING and isinstance(wanted, Exhaustive):
            verdict = _search(told, wanted, room, _FURTHER)
        interrupted = False
    except ExplorationInterrupted as stopped:
        verdict, interrupted = stopped.verdict, True
    shown = None if timeline is None else _write_timeline(timeline, verdict)
    if as_json:
        terminal.emit(_document(told, verdict))
    else:
        _print(scenario, told, verdict, no_bugs, show_all)
    if shown is not None:
        terminal.err().print(escape(shown), soft_wrap=True)
    if verdict.findings:
        raise typer.Exit(1)
    if interrupted:
        raise typer.Exit(130)


def _write_timeline(file: Path, verdict: Verdict) -> str:
    """Write the first finding that has a schedule as a page; return what to say about it."""
    found = next((finding for finding in verdict.findings if finding.schedule), None)
    if found is None:
        return f"{file}: not written, there is no finding with a schedule to show"
    terminal.write(file, Timeline.of_finding(found).to_html())
    return f"{file}: the first finding, step by step"


def _strategy(
    told: Scenario,
    name: str | None,
    preemptions: int | None,
    runs: int | None,
    seed: int | None,
    depth: int | None,
) -> Strategy:
    """Return the strategy that is asked for; what is not said is as in the scenario."""
    part = told.page.explore
    kind = part.strategy if name is None else name
    if kind not in _KINDS:
        raise UsageError(f"--strategy is {kind!r}; it must be {', '.join(_KINDS[:-1])} or {_KINDS[-1]}")
    foreign = {"--preemptions": preemptions} if kind != "exhaustive" else {"--runs": runs, "--seed": seed}
    if kind != "pct":
        foreign["--depth"] = depth
    for option, value in foreign.items():
        if value is not None:
            raise UsageError(f"{option} is not for the strategy {kind}")
    if kind == "exhaustive":
        if preemptions is not None:
            return Exhaustive(preemptions)
        return strategy_of(part) if part.strategy == kind else Exhaustive()
    made, start = part.runs if runs is None else runs, part.seed if seed is None else seed
    if kind == "random":
        return Random(made, start)
    return Pct(part.depth if depth is None else depth, made, start)


def _memory(text: str) -> int:
    try:
        return bytes_in(text)
    except ValueError as error:
        raise UsageError(f"--memory: {error}") from None


def _search(told: Scenario, wanted: Strategy, room: int | None, far: int | None) -> Verdict:
    """Search to the end, so many steps far, or with `_FIRST` up to the first finding."""
    first, steps = far == _FIRST, None if far == _FIRST else far
    if not sys.stderr.isatty():
        return told.explore(wanted, memory=room, transitions=steps, stop_at_first=first)
    with terminal.err().status("exploring") as line:

        def show(now: ExplorationStatistics) -> None:
            line.update(
                f"{now.states:,} states, {now.transitions:,} steps, {now.ends:,} ends, "
                f"{now.memory >> 20:,} MiB of {(room or MEMORY) >> 20:,}"
            )

        return told.explore(wanted, memory=room, transitions=steps, stop_at_first=first, progress=show)


def _print(source: str, told: Scenario, verdict: Verdict, no_bugs: bool, show_all: bool) -> None:
    console = terminal.out()
    broken = f", with {', '.join(told.bugs)} broken" if told.bugs else ""
    console.print(f"[bold]{escape(told.title)}[/]{escape(broken)}")
    console.print(str(verdict).splitlines()[0], soft_wrap=True)
    shown = verdict.outcomes if show_all else verdict.outcomes[:_OUTCOMES]
    if shown:
        console.print()
        rows = terminal.table("What the calls can come to", "#schedules", "outcome", "shortest schedule")
        for outcome in shown:
            rows.add_row(f"{outcome.count:,}", escape(_told(outcome)), outcome.schedule)
        console.print(rows)
        if len(verdict.outcomes) > len(shown):
            console.print(f"[dim]... and {len(verdict.outcomes) - len(shown)} more; --all shows them[/]")
    for finding in verdict.findings:
        console.print(f"\n[red]finding[/] {escape(str(finding))}", soft_wrap=True)
        if finding.schedule:
            option = " --no-bugs" if no_bugs else ""
            command = f"pagemig replay-schedule {source} {finding.schedule}{option}"
            console.print(f"  see it with: [bold]{escape(command)}[/]", soft_wrap=True)
    console.print()
    console.print(_summary(verdict), soft_wrap=True)


def _told(outcome: Outcome) -> str:
    return told_outcome(dict(outcome.observed)) if outcome.observed is not None else str(outcome.results)


def _summary(verdict: Verdict) -> str:
    if verdict.findings:
        return f"[red]{len(verdict.findings)} found[/]"
    if verdict.complete:
        return "[green]Nothing wrong in any order that was to be tried.[/]"
    if verdict.stopped is Stop.RUNS:
        return "[green]Nothing wrong in the orders that were tried[/]; it was a sample and proves no more."
    far = f"{verdict.states:,} states and {verdict.transitions:,} steps"
    return f"[yellow]It did not finish[/]: {verdict.stopped.value} after {far}. Nothing wrong so far."


def _document(told: Scenario, verdict: Verdict) -> dict[str, object]:
    return {
        "title": told.title,
        "bugs": list(told.bugs),
        "schedules": verdict.schedules,
        "exact": verdict.exact,
        "states": verdict.states,
        "transitions": verdict.transitions,
        "complete": verdict.complete,
        "stopped": verdict.stopped.name.lower(),
        "strategy": str(verdict.strategy),
        "outcomes": [
            {
                "schedules": outcome.count,
                "outcome": dict(outcome.observed or ()),
                "schedule": outcome.schedule,
            }
            for outcome in verdict.outcomes
        ],
        "findings": [
            {
                "kind": finding.kind.name.lower(),
                "rule": finding.rule,
                "invariants": finding.ids,
                "detail": finding.detail,
                "schedule": finding.schedule,
                "steps": finding.steps,
                "schedules": finding.count,
            }
            for finding in verdict.findings
        ],
    }
