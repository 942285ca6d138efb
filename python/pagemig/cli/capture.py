"""``pagemig capture``: write down where a running program's memory is.

Asks and prints; :func:`pagemig.inputs.capture` reads.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from pagemig import inputs

from . import terminal


def capture(
    pid: Annotated[int, typer.Argument(metavar="PID", help="The process to capture.", show_default=False)],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write.", show_default="PID.json")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON summary instead of a sentence.")
    ] = False,
) -> None:
    """Capture the address space of a running process as JSON.

    What is kept: its areas, and on which node each page is as far as the host tells. What is in the
    pages is never read. The file is for 'pagemig demo --capture', 'pagemig numa-maps' and
    pagemig.inputs.AddressSpace.load.

    You may capture your own processes; for those of others the host wants root.

    **Examples**

    - pagemig capture 4242
    - pagemig capture 4242 --output program.json.gz
    """
    path = output if output is not None else Path(f"{pid}.json")
    if pid > 0:
        terminal.outputs(path)
    space = inputs.capture(pid)
    space.save(path)
    if as_json:
        terminal.emit(
            {
                "pid": pid,
                "name": space.name,
                "areas": len(space.areas),
                "resident_bytes": space.resident,
                "file": str(path),
            }
        )
        return
    terminal.out().print(
        f"{escape(space.name)} (process {pid}): {len(space.areas)} areas, "
        f"{space.resident / (1 << 20):.1f} MiB resident, written to [bold]{escape(str(path))}[/]",
        soft_wrap=True,
    )
