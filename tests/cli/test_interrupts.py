"""Ctrl-C while a verb is at work on a file: 130, no traceback, and no half of a file.

Method: the signal goes to the whole group, as a terminal sends it, at several moments of the work. A run
that was done before its signal came has its file, all of it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from pagemig.inputs import AddressSpace
from tests.cli.conftest import work_of

INSTALLED = str(Path(sys.executable).with_name("pagemig"))

ENDS = (130, 0, -signal.SIGINT)
"""Interrupted at work; done before; or ended by the signal itself, before the work or after it."""

MANY_AREAS = """
import ctypes
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
size = ctypes.c_size_t
base = libc.mmap(None, size(20_000 * 8192), 3, 0x22, -1, size(0))
for number in range(20_000):
    libc.mprotect(ctypes.c_void_p(base + number * 8192), size(4096), 1)
print("ready", flush=True)
input()
"""
"""A program of some 40,000 areas: writing them down takes seconds."""


@pytest.fixture(scope="module")
def sprawling() -> Iterator[int]:
    """The pid of a program whose capture takes long enough to be interrupted."""
    with subprocess.Popen(
        [sys.executable, "-I", "-c", MANY_AREAS], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None and child.stdout.readline() == b"ready\n"
        yield child.pid
        child.kill()


def interrupted(folder: Path, words: Sequence[str], since: str, ticks: int) -> tuple[int, str]:
    """Run a command, press Ctrl-C at a moment of its import or its work; exit code and complaints."""
    with subprocess.Popen(
        [INSTALLED, *words],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A test that runs in the background of a shell may have been told to ignore it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as running:
        work_of(running, since, ticks)
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGINT)
        _, said = running.communicate(timeout=60)
    return running.returncode, said


@pytest.mark.parametrize(
    ("since", "ticks"),
    [
        *(("import", ticks) for ticks in (0, 3, 10, 20, 40)),
        *(("work", ticks) for ticks in (0, 5, 20, 40, 60, 100)),
    ],
)
def test_an_interrupted_demo_leaves_no_half_of_a_page(tmp_path: Path, since: str, ticks: int) -> None:
    """The page is there as a whole, or not at all."""
    code, said = interrupted(tmp_path, ("demo", "--output", "story"), since, ticks)
    assert code in ENDS and "Traceback" not in said, said
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert all(path.read_text().rstrip().endswith("</html>") for path in left)
    assert len(left) <= 1
    assert code != 0 or left


@pytest.mark.parametrize("ticks", [0, 10, 40, 80, 160])
def test_an_interrupted_capture_leaves_what_was_there(tmp_path: Path, sprawling: int, ticks: int) -> None:
    """The old file stays until the new one is whole; nothing else is left."""
    path = tmp_path / "program.json"
    path.write_text("what was there")
    code, said = interrupted(tmp_path, ("capture", str(sprawling), "--output", path.name), "work", ticks)
    assert code in ENDS and "Traceback" not in said, said
    assert [found.name for found in tmp_path.iterdir()] == [path.name]
    if path.read_text() == "what was there":
        assert code != 0
    else:
        assert len(AddressSpace.load(path).areas) > 20_000


def test_the_first_moments_are_early_enough_to_interrupt(tmp_path: Path, sprawling: int) -> None:
    """Otherwise the two tests above would show nothing."""
    assert interrupted(tmp_path, ("demo",), "import", 0)[0] == -signal.SIGINT
    assert interrupted(tmp_path, ("demo",), "work", 0)[0] == 130
    assert interrupted(tmp_path, ("capture", str(sprawling)), "work", 10)[0] == 130
