"""``pagemig replay-schedule``: one order of a scenario's calls, step by step, and what comes of it.

Asks and prints; `pagemig.scenario.stepping` makes the steps.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from pagemig.errors import UsageError
from pagemig.report import Expectation
from pagemig.scenario.stepping import Stepper
from pagemig.timeline import Timeline

from . import terminal
from .run import JSON, PERFETTO, SCENARIO, TIMELINE, load
from .schedule_text import letters


def replay_schedule(
    scenario: SCENARIO,
    schedule: Annotated[
        str, typer.Argument(metavar="SCHEDULE", help="Who makes how many steps: 3a1b2a.", show_default=False)
    ],
    no_bugs: Annotated[
        bool, typer.Option("--no-bugs", help="Repair what the scenario breaks on purpose.")
    ] = False,
    timeline: TIMELINE = None,
    perfetto: PERFETTO = None,
    as_json: JSON = False,
) -> None:
    """Run the calls of a scenario in one order, and show every step.

    A schedule such as **3a1b2a** is three steps of the first call, one of the second and two of the
    first. pagemig explore prints one with each of its findings. The exit code is 1 if something is
    wrong at the end, 0 if not, and 2 for a schedule that cannot be followed: it says which step cannot
    be made, and why.

    **Examples**

    - pagemig replay-schedule two-movers 3a1b
    - pagemig replay-schedule gallery/child-first 9a2b4a1b3a --timeline finding.html
    """
    terminal.outputs(timeline, perfetto, source=scenario)
    told = load(scenario)
    told = told.without_bugs() if no_bugs else told
    order = letters(schedule, "schedule")
    stepper = Stepper(told.page)
    made = [_step(stepper, number, letter) for number, letter in enumerate(order, 1)]
    found = stepper.symptoms()
    failed: tuple[Expectation, ...] = ()
    if stepper.done and stepper.fallen is None:
        failed = tuple(item for item in stepper.expectations() if not item.holds)
    if timeline is not None or perfetto is not None:
        _write(told.timeline(stepper.schedule), timeline, perfetto)
    if as_json:
        terminal.emit(
            {
                "title": told.title,
                "schedule": stepper.schedule,
                "done": stepper.done,
                "steps": made,
                "findings": list(found),
                "failed": [str(item) for item in failed],
            }
        )
    else:
        _print(told.title, stepper, made, found, failed)
    if found or failed:
        raise typer.Exit(1)


def _write(shown: Timeline, page: Path | None, trace: Path | None) -> None:
    """Write the pictures that are asked for."""
    if page is not None:
        terminal.write(page, shown.to_html())
    if trace is not None:
        terminal.write(trace, shown.to_perfetto())


def _step(stepper: Stepper, number: int, letter: str) -> dict[str, object]:
    """Make one step; return what it was."""
    view = next((view for view in stepper.calls if view.letter == letter), None)
    try:
        stepper.step(letter)
    except UsageError as error:
        raise UsageError(f"schedule, step {number}: {error}") from None
    if view is None:
        raise UsageError(f"schedule, step {number}: there is no call {letter!r}")
    return {"step": number, "letter": letter, "call": view.id, "label": view.at or "", "text": view.text}


def _print(
    title: str,
    stepper: Stepper,
    made: list[dict[str, object]],
    found: tuple[str, ...],
    failed: tuple[Expectation, ...],
) -> None:
    console = terminal.out()
    console.print(f"[bold]{escape(title)}[/]")
    rows = terminal.table(f"Schedule {stepper.schedule}", "#step", "call", "label", "what it does")
    for step in made:
        rows.add_row(
            str(step["step"]),
            escape(f"{step['letter']} {step['call']}"),
            str(step["label"]),
            escape(str(step["text"])),
        )
    console.print(rows)
    console.print()
    for words in found:
        console.print(f"[red]finding[/] {escape(words)}", soft_wrap=True)
    for item in failed:
        console.print(f"[red]FAILS[/] {escape(str(item))}", soft_wrap=True)
    if found or failed:
        return
    if stepper.done:
        console.print("[green]All calls are done, and nothing is wrong.[/]")
    else:
        left = ", ".join(f"{view.letter} {view.id}" for view in stepper.calls if not view.came.done)
        console.print(f"Nothing is wrong so far; not done yet: {escape(left)}")
