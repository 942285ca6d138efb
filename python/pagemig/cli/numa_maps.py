"""``pagemig numa-maps``: a captured or running program's placement, in the kernel's own format.

Asks and prints; ``Task.numa_maps`` writes the lines.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pagemig import inputs
from pagemig.demo import load
from pagemig.inputs import AddressSpace
from pagemig.numa_maps import parse

from . import terminal


def numa_maps(
    source: Annotated[
        str,
        typer.Argument(
            metavar="CAPTURE.json|PID",
            help="A file of 'pagemig capture', or a running process.",
            show_default=False,
        ),
    ],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document instead of lines.")
    ] = False,
) -> None:
    """Load a program onto a simulated machine and print its numa_maps.

    One line for each area: its start, its policy, what was counted, and N0=100 for 100 pages on node 0.
    Memory of devices and of the kernel, and what was in swap, is left out and counted.

    **Examples**

    - pagemig numa-maps 4242
    - pagemig numa-maps program.json --json
    """
    space = (
        inputs.capture(int(source))
        if source.isascii() and source.isdecimal()
        else AddressSpace.load(Path(source))
    )
    missing = inputs.load_report(space).pages_left_out
    _, task = load(space)
    text = task.numa_maps()
    if as_json:
        areas = [
            {
                "start": area.start,
                "policy": area.policy,
                "name": area.name or None,
                "nodes": {str(node): pages for node, pages in area.nodes.items()},
                "counts": dict(area.counts),
            }
            for area in parse(text)
        ]
        left_out = {reason.value: pages for reason, pages in missing.items()}
        terminal.emit({"source": source, "areas": areas, "left_out": left_out})
        return
    for line in text.splitlines():
        terminal.out().print(terminal.literal(line), soft_wrap=True)
    if missing:
        parts = ", ".join(f"{pages:,} {reason.value}" for reason, pages in missing.items())
        terminal.err().print(f"left out, in pages: {parts}", style="dim", soft_wrap=True)
