"""``pagemig demo``: a real program's heap, moved on a simulated machine, told and drawn.

Asks and prints; :mod:`pagemig.demo` does it, :mod:`pagemig.webpage` draws the page.
"""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

import pagemig
from pagemig import inputs
from pagemig.demo import Demonstration, run, sample_program
from pagemig.errors import UsageError
from pagemig.host import HostUnavailable, host_query_ns_per_page
from pagemig.inputs import AddressSpace
from pagemig.numa_maps import parse_line
from pagemig.webpage import demonstration_page

from . import terminal

PAGE = "index.html"
_LINES = 8


def demo(
    output: Annotated[
        Path, typer.Option("--output", "-o", help=f"Folder to write {PAGE} to; made if it is not there.")
    ] = Path("pagemig-demo"),
    pid: Annotated[
        int | None, typer.Option(help="Capture this running process instead of a sample.", show_default=False)
    ] = None,
    capture: Annotated[
        Path | None,
        typer.Option(help="Use a file that 'pagemig capture' wrote, capture nothing.", show_default=False),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document instead of tables.")
    ] = False,
) -> None:
    """Move the heap of a real program on a simulated machine, and explain every page.

    A program is captured: where its memory is and which pages are present, never what is in them. It
    is loaded onto a machine of four NUMA nodes that behaves like Linux 2.6.34; one task shares some of
    its pages, another has pinned some. Then one move_pages call asks for the whole heap on node 2.

    You see the placement before and after as numa_maps, what the call answered and why, what it cost,
    and a web page with pictures.

    **Examples**

    - pagemig demo
    - pagemig demo --pid 4242 --output story
    - pagemig demo --capture program.json
    """
    if pid is not None and capture is not None:
        raise UsageError("--pid and --capture name two programs; give one of them")
    output.mkdir(parents=True, exist_ok=True)
    page = output / PAGE
    terminal.outputs(page, source=None if capture is None else str(capture))
    space, program, refused = _subject(pid, capture)
    host, host_refused = _host()
    shown = run(space, program=program, refused=refused, host_ns_per_page=host)
    terminal.write(page, demonstration_page(shown, command=_command(pid, capture), colophon=_colophon()))
    if as_json:
        terminal.emit(_document(shown, page))
    else:
        _print(shown, host_refused, page)
    if shown.findings:
        raise typer.Exit(1)


def _subject(pid: int | None, capture: Path | None) -> tuple[AddressSpace, str, str]:
    """Return the program, its name for people, and why no live one was captured."""
    if capture is not None:
        space = AddressSpace.load(capture)
        return space, f"{space.name}, captured in {capture}", ""
    if pid is not None:
        space = inputs.capture(pid)
        return space, f"{space.name}, process {pid} of this host", ""
    try:
        with sample_program() as sample:
            space = inputs.capture(sample)
        return space, "a Python program that ran on this host a moment ago", ""
    except (UsageError, OSError) as error:
        words = f"This host lets nobody capture a program ({error}), so a capture from another one is used."
        return inputs.shipped_capture(), "a Python program captured when pagemig was made", words


def _host() -> tuple[float | None, str]:
    """Measure the host's own look-up: nanoseconds a page, or why there is no figure."""
    try:
        return host_query_ns_per_page(), ""
    except HostUnavailable as error:
        return None, error.reason


def _command(pid: int | None, capture: Path | None) -> str:
    if capture is not None:
        return f"pagemig demo --capture {capture}"
    return "pagemig demo" if pid is None else f"pagemig demo --pid {pid}"


def _colophon() -> str:
    return (
        f"pagemig {pagemig.__version__}, {pagemig.build_profile} build, Python {platform.python_version()} "
        f"on {platform.system()} {platform.release()} {platform.machine()}. Placement and statuses are exact "
        "and the same on every host; nanoseconds are of this one run."
    )


def _print(shown: Demonstration, host_refused: str, page: Path) -> None:
    console = terminal.out()
    if shown.refused:
        console.print(f"[yellow]{escape(shown.refused)}[/]")
    console.print(
        f"[bold]The heap of {escape(shown.program)}[/]: {len(shown.before):,} pages of 4 KiB, on a simulated "
        "machine of four nodes\n"
    )
    _print_maps("Before the move (numa_maps of the heap)", shown.numa_maps_before)
    _print_maps(f"After move_pages to node {shown.target}", shown.numa_maps_after)
    console.print(_statuses(shown))
    console.print()
    cost = terminal.table("What the call cost", "operation", "#count", "#a page")
    for name, count in shown.cost.items():
        cost.add_row(name.replace("_", " "), f"{count:,}", f"{count / shown.asked:.2f}")
    console.print(cost)
    console.print(f"\n[bold]{shown.ns_per_page:.0f} ns a page[/] for the whole simulated migration", end="")
    if shown.host_ns_per_page is None:
        console.print(f"; this host's kernel would not say where its own pages are ({escape(host_refused)})")
    else:
        console.print(
            f"; this host's kernel needs [bold]{shown.host_ns_per_page:.0f} ns[/] just to look one of its "
            f"own pages up ({shown.ns_per_page / shown.host_ns_per_page:.2f} times that)"
        )
    for finding in shown.findings:
        console.print(f"[red]broken: {escape(finding)}[/]")
    if not shown.findings:
        console.print("The machine was audited: every rule holds.")
    console.print(f"\nThe pictures: [bold]{escape(str(page))}[/]", soft_wrap=True)


def _print_maps(title: str, text: str) -> None:
    console = terminal.out()
    lines = text.splitlines()
    console.print(f"[bold]{title}[/]")
    # The areas with most pages say most; the web page has all of them.
    shown = sorted(sorted(lines, key=_pages, reverse=True)[:_LINES])
    for line in shown:
        console.print(terminal.literal(line), soft_wrap=True)
    if len(lines) > len(shown):
        console.print(f"[dim]... and {len(lines) - len(shown)} smaller areas[/]")
    console.print()


def _pages(line: str) -> int:
    return parse_line(line).pages


def _statuses(shown: Demonstration) -> Table:
    rows = terminal.table(
        f"What move_pages answered for {shown.asked:,} addresses", "outcome", "status", "#pages", "why"
    )
    for row in shown.outcomes:
        code = f"node {shown.target}" if row.status is None else row.code
        rows.add_row(row.kind.value, code, f"{row.pages:,}", row.reason)
    return rows


def _document(shown: Demonstration, page: Path) -> dict[str, object]:
    return {
        "program": shown.program,
        "refused": shown.refused or None,
        "heap_pages": len(shown.before),
        "asked": shown.asked,
        "target": shown.target,
        "outcomes": [
            {
                "kind": row.kind.value,
                "status": row.status,
                "code": row.code,
                "pages": row.pages,
                "reason": row.reason,
            }
            for row in shown.outcomes
        ],
        "numa_maps_before": shown.numa_maps_before.splitlines(),
        "numa_maps_after": shown.numa_maps_after.splitlines(),
        "cost": dict(shown.cost),
        "ns_per_page": round(shown.ns_per_page, 1),
        "host_ns_per_page": None if shown.host_ns_per_page is None else round(shown.host_ns_per_page, 1),
        "findings": list(shown.findings),
        "page": str(page),
    }
