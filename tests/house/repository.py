"""The repository as the house tests see it: which files are ours, and what they say.

Start with :func:`files`. It lists what git knows or would add, so that nothing built or fetched is
ever judged.
"""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@cache
def files() -> tuple[Path, ...]:
    """Every file that is tracked or would be, in order; absolute paths."""
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\0")
    return tuple(sorted(path for name in listed if name and (path := ROOT / name).is_file()))


def matching(*suffixes: str, under: str = ".") -> list[Path]:
    """The files with one of the suffixes below a folder."""
    folder = ROOT / under
    return [path for path in files() if path.suffix in suffixes and folder in path.parents]


@cache
def text_of(path: Path) -> str:
    """What a file says, or nothing where it is not text."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


def line_of(text: str, offset: int) -> int:
    """The number of the line at an offset, from 1."""
    return text.count("\n", 0, offset) + 1


def place(path: Path, line: int | None = None) -> str:
    """A file, and a line of it, as a message names them."""
    name = path.relative_to(ROOT).as_posix()
    return name if line is None else f"{name}:{line}"
