"""What the tests of the command line share: running it as a person does, in a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., "subprocess.CompletedProcess[str]"]

TRACE = Path(__file__).resolve().parents[1] / "inputs" / "data" / "sort.lackey.xz"


@pytest.fixture
def pagemig(tmp_path: Path) -> Run:
    """Run the installed command in an empty folder: ``pagemig("replay", path)``."""
    installed = Path(sys.executable).with_name("pagemig")

    def run(*words: object) -> subprocess.CompletedProcess[str]:
        command = [str(installed), *map(str, words)]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)

    return run


@pytest.fixture
def trace() -> Path:
    """A recorded program: the first 2.4 million data accesses of a sort."""
    return TRACE


def only_line(done: subprocess.CompletedProcess[str]) -> str:
    """The one line of complaint of a command that was given bad input."""
    assert done.returncode == 2, (done.returncode, done.stdout, done.stderr)
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("pagemig: ")
    return lines[0]


@pytest.fixture
def complaint(pagemig: Run) -> Callable[..., str]:
    """Run the command with bad input: exit code 2, nothing on standard output, and the one line."""
    return lambda *words: only_line(pagemig(*words))


def work_of(running: subprocess.Popen[str], since: str, ticks: int) -> None:
    """Wait until a command is done, or has worked for so many ticks (10 ms) since a moment.

    The moment is the begin of its "import" or of its "work". Method: what it has mapped says that it
    imports its verbs; that it listens to Ctrl-C again, that it is through with them. How long Python and
    numpy take to start is the host's affair.
    """
    process = Path(f"/proc/{running.pid}")
    begun = None
    latest = time.monotonic() + 120
    while running.poll() is None:
        assert time.monotonic() < latest, "it does not work"
        try:
            if begun is None and "pydantic_core" in (process / "maps").read_text():
                caught = int((process / "status").read_text().partition("SigCgt:")[2].split()[0], 16)
                if since == "import" or caught & 1 << (signal.SIGINT - 1):
                    begun = _ticks(process)
            if begun is not None and _ticks(process) - begun >= ticks:
                return
        except OSError:
            return
        time.sleep(0.005)


def _ticks(process: Path) -> int:
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])
