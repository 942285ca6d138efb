"""``pagemig capture`` writes down a running program, ``pagemig numa-maps`` tells where its pages are."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pagemig.inputs import AddressSpace, shipped_capture
from pagemig.numa_maps import parse


@pytest.fixture
def program() -> Iterator[int]:
    """The pid of a program that holds 4 MiB and waits."""
    code = "data = bytearray(b'x') * (4 << 20); print('ready', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-I", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None and child.stdout.readline() == b"ready\n"
        yield child.pid
        child.kill()


def test_a_running_program_is_written_to_a_file_that_can_be_read_again(
    pagemig: Callable, program: int, tmp_path: Path
) -> None:
    """Its 4 MiB are there, under its pid unless a name is given."""
    done = pagemig("capture", program)
    assert done.returncode == 0, done.stderr
    space = AddressSpace.load(tmp_path / f"{program}.json")
    assert space.pid == program and space.anonymous >= 4 << 20
    told = json.loads(pagemig("capture", program, "-o", "named.json", "--json").stdout)
    assert told["file"] == "named.json" and told["areas"] == len(space.areas)
    assert AddressSpace.load(tmp_path / "named.json").areas


def test_a_captured_program_is_told_as_numa_maps(pagemig: Callable, tmp_path: Path) -> None:
    """The lines are those of the kernel, and hold the capture's anonymous pages and its files."""
    space = shipped_capture()
    space.save(tmp_path / "program.json")
    done = pagemig("numa-maps", "program.json")
    assert done.returncode == 0
    assert "mapped by the kernel for itself" in done.stderr
    assert "file=" in done.stdout
    areas = parse(done.stdout)
    heap = {area.start for area in space.areas if area.is_heap}
    assert sum(area.counts.get("anon", 0) for area in areas if area.start in heap) * 4096 > 20 << 20
    told = json.loads(pagemig("numa-maps", "program.json", "--json").stdout)
    assert [(area["start"], area["counts"]) for area in told["areas"]] == [
        (area.start, dict(area.counts)) for area in areas
    ]


def test_a_running_program_is_told_as_numa_maps(pagemig: Callable, program: int) -> None:
    """A number is a process."""
    done = pagemig("numa-maps", program)
    assert done.returncode == 0, done.stderr
    assert sum(area.pages for area in parse(done.stdout)) * 4096 >= 4 << 20


def test_a_process_that_is_gone_is_named(complaint: Callable[..., str]) -> None:
    """Method: a process that has ended and been waited for."""
    gone = subprocess.Popen(["true"])
    gone.wait()
    assert str(gone.pid) in complaint("capture", gone.pid)
    assert str(gone.pid) in complaint("numa-maps", gone.pid)


@pytest.mark.parametrize("pid", ["0", "-1", "99999999999"])
def test_a_number_that_is_no_pid_is_refused(complaint: Callable[..., str], pid: str) -> None:
    """Before anything is looked for."""
    assert "pid" in complaint("capture", "--", pid)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("none.json", None, "no such file"),
        ("empty.json", b"", "empty"),
        ("prose.json", b"Call me Ishmael.", "JSON"),
        ("other.json", b'{"format": "something else"}', "format"),
        ("named.json.gz", b"{}", "gzip"),
        ("cut.json.gz", gzip.compress(b"x" * 10_000, mtime=0)[:-9], "cut off"),
    ],
)
def test_a_file_that_is_no_capture_is_refused_in_one_line(
    complaint: Callable[..., str], tmp_path: Path, name: str, content: bytes | None, said: str
) -> None:
    """The file is named, and what is wrong with it."""
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    for words in (("numa-maps", path), ("demo", "--capture", path)):
        line = complaint(*words)
        assert str(path) in line and said in line


def test_a_file_that_cannot_be_written_is_named(
    complaint: Callable[..., str], program: int, tmp_path: Path
) -> None:
    """The folder is not there."""
    assert "nowhere" in complaint("capture", program, "-o", tmp_path / "nowhere" / "x.json")
