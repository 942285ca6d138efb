"""``pagemig step``: a scenario taken apart by hand, one step at a time, back and forth.

Reads commands from standard input, a person's or a script's, and prints how things stand;
`pagemig.scenario.stepping` makes the steps. Left out: completion of what is typed.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from pagemig.errors import UsageError
from pagemig.report.text import told_result
from pagemig.scenario import Scenario
from pagemig.scenario.judging import outcome_of, told_outcome
from pagemig.scenario.stepping import CallView, Stepper

from . import terminal
from .run import SCENARIO, load
from .schedule_text import letters

_STEPS = re.compile("[0-9]{1,9}")

_HELP = (
    ("a, 3a, 3a1b", "let a call make a step, or several, or several calls in turn"),
    ("until a UM-9", "let a call go on until just before a step"),
    ("run", "let all calls go on in turn until they are done"),
    ("back, back 5", "take a step back, or several"),
    ("where", "show again where every call and every page is"),
    ("audit", "run the invariants"),
    ("story", "tell what the scenario is about"),
    ("save FILE", "write the scenario with this schedule (.toml), or the schedule alone"),
    ("help", "show this"),
    ("quit", "end"),
)


def step(
    scenario: SCENARIO,
    schedule: Annotated[
        str | None, typer.Option(help="Steps to make first: 3a1b.", show_default=False)
    ] = None,
    no_bugs: Annotated[
        bool, typer.Option("--no-bugs", help="Repair what the scenario breaks on purpose.")
    ] = False,
) -> None:
    """Step through a scenario: you say who goes on, and see what every step does.

    At each stop you see where every call is and what its next step does, which locks it holds and what it
    waits for, and how the pages look: their counts, their flags, and the entries that lead to them. Going
    back costs nothing. Type **help** for the commands; they can come from a pipe, too.

    **Examples**

    - pagemig step two-movers
    - pagemig step two-movers --schedule 3a1b
    - echo "until a UM-9" | pagemig step reader-meets-migration
    """
    told = load(scenario)
    told = told.without_bugs() if no_bugs else told
    stepper = Stepper(told.page)
    if schedule is not None:
        letters(schedule, "--schedule")
        try:
            stepper.step(schedule)
        except UsageError as error:
            raise UsageError(f"--schedule: {error}") from None
    session = _Session(told, stepper)
    terminal.out().print(f"[bold]{escape(told.title)}[/]")
    session.show()
    if not session.read():
        raise typer.Exit(2)


class _Session:
    """A stepper, and what is typed."""

    def __init__(self, told: Scenario, stepper: Stepper) -> None:
        self.told = told
        self.stepper = stepper
        self._verbs: dict[str, Callable[[list[str]], bool]] = {
            "until": self._until,
            "run": self._run,
            "back": self._back,
            "where": lambda words: True,
            "audit": self._audit,
            "story": self._story,
            "save": self._save,
            "help": self._help,
        }

    def read(self) -> bool:
        """Do what is typed until the end; return whether everything could be done, in a script."""
        asks, well = sys.stdin.isatty(), True
        while True:
            if asks:
                terminal.out().print("[bold]who goes on?[/] ", end="")
            line = sys.stdin.readline()
            words = line.split()
            if not line or words[:1] in (["quit"], ["exit"], ["q"]):
                return asks or well
            if not words or words[0].startswith("#"):
                continue
            try:
                if self._do(words):
                    self.show()
            except UsageError as error:
                well = False
                terminal.complain(str(error))

    def _do(self, words: list[str]) -> bool:
        """Do one command; return whether to show how things stand afterwards."""
        verb = self._verbs.get(words[0])
        if verb is not None:
            return verb(words[1:])
        letters = "".join(words)
        if not any(letter.isalpha() for letter in letters) or not letters[-1].islower():
            raise UsageError(f"{' '.join(words)!r} is no command; type help for what there is")
        long = [word for word in words if sum(letter.isalpha() for letter in word) > 1]
        if any(word.isalpha() for word in long):
            raise UsageError(f"{words[0]!r} is no command; type help for what there is")
        if re.search(r"\d{10}", letters):
            raise UsageError(f"{letters[:40]!r}: more steps than any call has")
        self.stepper.step(letters)
        return True

    def _until(self, words: list[str]) -> bool:
        if len(words) != 2:
            raise UsageError("until wants a call and a step, such as: until a UM-9")
        self.stepper.until(words[0], words[1])
        return True

    def _run(self, words: list[str]) -> bool:
        self.stepper.finish()
        return True

    def _back(self, words: list[str]) -> bool:
        if len(words) > 1 or not all(_STEPS.fullmatch(word) for word in words):
            raise UsageError("back wants a number of steps, or nothing")
        self.stepper.back(int(words[0]) if words else 1)
        return True

    def _audit(self, words: list[str]) -> bool:
        found = self.stepper.symptoms()
        for finding in found:
            terminal.out().print(f"[red]finding[/] {escape(finding)}", soft_wrap=True)
        if not found:
            terminal.out().print("Every rule holds.")
        return False

    def _story(self, words: list[str]) -> bool:
        terminal.out().print(escape(self.told.story.strip() or "It tells no story."))
        return False

    def _save(self, words: list[str]) -> bool:
        if len(words) != 1:
            raise UsageError("save wants a file, such as: save race.toml")
        path, schedule = Path(words[0]), self.stepper.schedule
        try:
            if path.suffix == ".toml":
                self.told.changed(schedule=schedule or None).dump(path)
            else:
                terminal.write(path, schedule + "\n")
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror}") from None
        terminal.out().print(f"schedule {schedule or 'of no step'}, written to {escape(str(path))}")
        return False

    def _help(self, words: list[str]) -> bool:
        rows = terminal.table("", "type", "to")
        for what, meaning in _HELP:
            rows.add_row(f"[bold]{what}[/]", meaning)
        terminal.out().print(rows)
        return False

    # how things stand --------------------------------------------------------------------

    def show(self) -> None:
        """Print where every call is, and how the pages look."""
        console, stepper = terminal.out(), self.stepper
        console.print(f"\nafter {stepper.steps} steps {stepper.schedule}", style="dim", soft_wrap=True)
        rows = terminal.table("", "call", "by", "at", "next", "holds", "waits")
        for view in stepper.calls:
            rows.add_row(
                f"[bold]{view.letter}[/] {escape(view.id)}",
                escape(view.by),
                view.at or "done",
                escape(_next(view)),
                escape(", ".join(view.holds)),
                escape(view.waits or ""),
            )
        console.print(rows)
        pages = terminal.table("", "page", "#frame", "#node", "#count", "#mapped", "flags", "entries")
        for page in stepper.pages:
            numbers = (page.pfn, page.node, page.count, page.mapcount)
            entries = "; ".join(page.entries)
            pages.add_row(escape(page.name), *map(str, numbers), page.flags, escape(entries))
        if pages.row_count:
            console.print(pages)
        for finding in stepper.symptoms():
            console.print(f"[red]finding[/] {escape(finding)}", soft_wrap=True)
        if stepper.done and stepper.fallen is None:
            self._show_end()

    def _show_end(self) -> None:
        console = terminal.out()
        for item in self.stepper.expectations():
            mark = "[green]holds[/]" if item.holds else "[red]FAILS[/]"
            console.print(f"{mark} {escape(str(item))}", soft_wrap=True)
        console.print("All calls are done.")


def _next(view: CallView) -> str:
    """What a call does next, or what it has come to."""
    if not view.came.done:
        return view.text
    outcome = outcome_of(view.came)
    if isinstance(view.came.result, object) and outcome == "ok" and view.came.accesses is not None:
        accesses = view.came.accesses
        counts = {name: getattr(accesses, name) for name in ("hits", "minor", "major", "cow")}
        return told_result(counts)
    return told_outcome({"result": outcome}).removeprefix("result: ")
