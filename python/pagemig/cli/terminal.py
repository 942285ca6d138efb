"""Writing to a person or to a machine: consoles, tables, progress bars, one-line complaints.

Results go to standard output, everything else to standard error, so that a pipe receives results only.
Start with :func:`out` and :func:`emit`. Above: every verb of :mod:`pagemig.cli`.

Left out: colours chosen by theme; rich's own rules for terminals, pipes and ``NO_COLOR`` apply.
"""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from pagemig.errors import UsageError
from pagemig.inputs.writing import replacing

# A pipe has no width of its own; this one keeps a line of numa_maps whole.
_PIPE_COLUMNS = 120


def out() -> Console:
    """Return a console on standard output as it is now."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else _PIPE_COLUMNS)


def err() -> Console:
    """Return a console on standard error as it is now."""
    return Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else _PIPE_COLUMNS)


def emit(document: Mapping[str, object]) -> None:
    """Write one JSON document, and a newline, to standard output; ASCII, for terminals of any encoding."""
    json.dump(document, sys.stdout, indent=2, allow_nan=False)
    sys.stdout.write("\n")


def outputs(*files: Path | None, source: str | None = None) -> None:
    """Refuse files that cannot be written, before any work is done for them.

    Parameters
    ----------
    files
        What is to be written; None for what is not asked for.
    source
        What is read, as it was typed; it is not written over.

    Raises
    ------
    UsageError
        A folder, a file in a folder that is not there, one file for two things, or the source.
    """
    known = set() if source is None else {os.path.realpath(source)}
    for file in files:
        if file is None:
            continue
        code = errno.EISDIR if file.is_dir() else 0 if file.parent.is_dir() else errno.ENOENT
        if code:
            raise UsageError(f"{file}: cannot be written: {os.strerror(code)}")
        place = os.path.realpath(file)
        if place in known and (file.is_file() or not file.exists()):
            raise UsageError(f"{file}: cannot be written: it is read, or named twice; name another file")
        known.add(place)


def write(file: Path, content: str | bytes) -> None:
    """Write a file, all of it or nothing.

    Raises
    ------
    UsageError
        It cannot be written: with the file and why. What was there stays.
    """
    with replacing(file) as opened:
        opened.write(content.encode("utf-8") if isinstance(content, str) else content)


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
