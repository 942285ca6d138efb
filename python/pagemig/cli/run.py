"""``pagemig run`` and ``pagemig scenarios``: a scenario run once, and the list of those that there are.

Asks and prints; `pagemig.Scenario` runs. A scenario is read by `load`, which all verbs about
scenarios share: mistakes in a file are all told, one a line.
"""

from __future__ import annotations

import string
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.padding import Padding

from pagemig.cost_model import CostModel, presets
from pagemig.errors import UsageError
from pagemig.report import Report
from pagemig.report.text import chain, counted, histogram, outcome_of, status_name, verdict
from pagemig.scenario import Scenario, library

from . import terminal
from .schedule_text import letters


def complete(begun: str) -> list[str]:
    """Return the names of the library that begin with what was typed; the shell adds files by itself."""
    return [name for name in library() if name.startswith(begun)]


def _complete_model(begun: str) -> list[str]:
    return [name for name in presets if name.startswith(begun)]


SCENARIO = Annotated[
    str,
    typer.Argument(
        metavar="SCENARIO",
        help="A TOML file, or a name of the library.",
        show_default=False,
        autocompletion=complete,
    ),
]
PERFETTO = Annotated[
    Path | None,
    typer.Option(
        "--perfetto", help="Also write a trace for ui.perfetto.dev.", metavar="FILE", show_default=False
    ),
]
TIMELINE = Annotated[
    Path | None,
    typer.Option(
        "--timeline",
        help="Also write a web page that shows the race step by step.",
        metavar="FILE",
        show_default=False,
    ),
]
JSON = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")]

_COUNTERS = 12


def load(source: str) -> Scenario:
    """Read a scenario; where it has several mistakes, tell each on a line of its own and end with 2."""
    try:
        return Scenario.load(source if Path(source).suffix == "" else Path(source))
    except UsageError as error:
        lines = str(error).splitlines()
        if len(lines) == 1:
            raise
        sys.stderr.write("".join(f"pagemig: {line}\n" for line in lines))
        raise typer.Exit(2) from None


def run(
    scenario: SCENARIO,
    schedule: Annotated[
        str | None,
        typer.Option(help="Who makes how many steps: 3a1b2a; then in turn.", show_default=False),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(help="Also write a web page with pictures.", metavar="FILE", show_default=False),
    ] = None,
    perfetto: PERFETTO = None,
    model: Annotated[
        str | None,
        typer.Option(
            help=f"On the page, modelled time: {', '.join(presets)}.",
            metavar="NAME",
            show_default=False,
            autocompletion=_complete_model,
        ),
    ] = None,
    as_json: JSON = False,
) -> None:
    """Run a scenario once: what each call came to, what moved, what stayed and why.

    The exit code is 0 if everything that the scenario expects holds and the audit finds nothing, and 1
    if not. A scenario is a TOML file, or a name of the library: **pagemig scenarios** lists them.

    **Examples**

    - pagemig run two-movers
    - pagemig run mine.toml --html report.html --model two-socket-2010
    - pagemig run two-movers --schedule 3a1b2a
    - pagemig run mine.toml --json
    """
    priced = _model(model, html)
    terminal.outputs(html, perfetto, source=scenario)
    told = load(scenario)
    if schedule is not None:
        _check(schedule, told)
    report = told.run(schedule=schedule)
    if html is not None:
        terminal.write(html, report.to_html(priced))
    if perfetto is not None:
        terminal.write(perfetto, report.to_perfetto())
    if as_json:
        terminal.emit(report.to_dict())
    else:
        _print(report)
    if not report.ok:
        raise typer.Exit(1)


def _check(schedule: str, told: Scenario) -> None:
    """Refuse a schedule that is none, or that names a call that there is not."""
    known = string.ascii_lowercase[: len(told.page.calls)]
    for letter in letters(schedule, "--schedule"):
        if letter not in known:
            raise UsageError(f"--schedule: there is no call {letter!r}; there is: {', '.join(known)}")


def _model(name: str | None, html: Path | None) -> CostModel | None:
    """Return the preset of a name, None for none."""
    if name is None:
        return None
    if name not in presets:
        raise UsageError(f"--model is {name!r}; it must be {' or '.join(presets)}")
    if html is None:
        raise UsageError("--model is for the page that --html writes")
    return presets[name]


def scenarios(as_json: JSON = False) -> None:
    """List the scenarios that come with the package, with a line for each.

    Each can be run, explored and stepped by its name.

    **Examples**

    - pagemig scenarios
    - pagemig scenarios --json
    - pagemig run two-movers
    """
    listed = [(name, Scenario.load(name)) for name in library()]
    if as_json:
        terminal.emit(
            {
                "scenarios": [
                    {"name": name, "title": told.title, "bugs": list(told.bugs)} for name, told in listed
                ]
            }
        )
        return
    rows = terminal.table("", "name", "what it shows")
    for name, told in listed:
        rows.add_row(f"[bold]{escape(name)}[/]", escape(told.title))
    terminal.out().print(rows)


def _print(report: Report) -> None:
    console = terminal.out()
    console.print(f"[bold]{escape(report.title)}[/]")
    if report.story.strip():
        console.print(Padding(escape(report.story.strip()), (0, 0, 0, 2)))
    console.print()
    calls = terminal.table("Calls", "call", "by", "what", "came to", "#steps")
    for call in report.calls:
        name = call.id if call.letter is None else f"{call.letter} {call.id}"
        calls.add_row(
            escape(name), escape(call.by), escape(call.text), escape(outcome_of(call)), f"{call.steps:,}"
        )
    console.print(calls)
    if report.schedule:
        console.print(f"schedule {report.schedule}", style="dim", soft_wrap=True)
        console.print("(3a1b: three steps of call a, then one of call b; --schedule repeats it)", style="dim")
    console.print()
    _print_pages(report)
    _print_costs(report)
    _print_verdict(report)


def _print_pages(report: Report) -> None:
    console = terminal.out()
    if report.regions:
        regions = terminal.table("Where the pages are", "region", "before", "after", "#moved")
        for region in report.regions:
            before, after = histogram(region.before.histogram), histogram(region.after.histogram)
            regions.add_row(escape(f"{region.task}.{region.name}"), before, after, f"{region.moved:,}")
        console.print(regions)
        console.print()
    if report.why_not:
        stayed = terminal.table("Why pages stayed", "page", "call", "status", "why")
        for why in report.why_not:
            stayed.add_row(escape(why.page), escape(why.call), status_name(why.status), escape(chain(why)))
        console.print(stayed)
        console.print()


def _print_costs(report: Report) -> None:
    console = terminal.out()
    machine = [item for item in report.counters if item.node is None]
    if machine:
        counters = terminal.table("Counters that changed", "counter", "#before", "#after", "#change")
        for item in machine[:_COUNTERS]:
            counters.add_row(item.name, f"{item.before:,}", f"{item.after:,}", f"{item.change:+,}")
        console.print(counters)
        console.print()
    if report.cost:
        told = ", ".join(counted(count, name) for name, count in report.cost.items())
        console.print(f"[bold]Cost[/]: {told}")
    console.print(f"{report.steps:,} steps, {report.ticks:,} ms of virtual time, {report.seconds:.2f} s\n")


def _print_verdict(report: Report) -> None:
    console = terminal.out()
    for item in report.expectations:
        mark = "[green]holds[/]" if item.holds else "[red]FAILS[/]"
        console.print(f"{mark} {escape(str(item))}", soft_wrap=True)
    for finding in report.findings:
        console.print(f"[red]finding[/] {escape(finding)}", soft_wrap=True)
    said, rest = verdict(report).split(":", 1)
    console.print(f"[{'green' if report.ok else 'red'}]{said}[/]:{rest}")
