"""``pagemig schema``: the JSON schema of scenarios, for editors that complete them.

Prints; `pagemig.scenario.schema` makes it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from pagemig import scenario

from . import terminal


def schema(
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File to write.", show_default="standard output"),
    ] = None,
) -> None:
    """Print the JSON schema of scenario files.

    An editor that knows it completes keys and says what is wrong while you write: put a line
    **#:schema scenario.schema.json** at the top of the TOML file.

    **Examples**

    - pagemig schema
    - pagemig schema --output scenario.schema.json
    """
    made = scenario.schema()
    if output is None:
        terminal.emit(made)
        return
    terminal.write(output, json.dumps(made, indent=2) + "\n")
    terminal.out().print(f"The schema of scenarios, written to {output}", soft_wrap=True)
