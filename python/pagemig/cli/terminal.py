"""Writing to a person or to a machine: consoles, tables, progress bars, one-line complaints.

Results go to standard output, everything else to standard error, so that a pipe receives results only.
Start with :func:`out` and :func:`emit`. Above: every verb of :mod:`pagemig.cli`.

Left out: colours chosen by theme; rich's own rules for terminals, pipes and ``NO_COLOR`` apply.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

# A pipe has no width of its own; this one keeps a line of numa_maps whole.
_PIPE_COLUMNS = 120


def out() -> Console:
    """Return a console on standard output as it is now."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else _PIPE_COLUMNS)


def err() -> Console:
    """Return a console on standard error as it is now."""
    return Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else _PIPE_COLUMNS)


def emit(document: Mapping[str, object]) -> None:
    """Write one JSON document, and a newline, to standard output."""
    json.dump(document, sys.stdout, indent=2, ensure_ascii=False, allow_nan=False)
    sys.stdout.write("\n")


def complain(words: str) -> None:
    """Write one line to standard error, whatever line breaks ``words`` has."""
    sys.stderr.write("pagemig: " + " ".join(words.split()) + "\n")


def table(title: str, *columns: str) -> Table:
    """Return an empty table; a column whose name starts with ``#`` is of numbers, to the right."""
    made = Table(
        title=title, title_justify="left", title_style="bold", header_style="bold", box=None, pad_edge=False
    )
    for name in columns:
        if name.startswith("#"):
            made.add_column(name[1:], justify="right", no_wrap=True)
        else:
            made.add_column(name)
    return made


def literal(words: str) -> Text:
    """Return ``words`` as they are, without reading brackets in them as markup."""
    return Text(words, no_wrap=True, overflow="fold")


def progress() -> Progress:
    """Return a progress bar on standard error, drawn only where that is a terminal."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
        console=err(),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
