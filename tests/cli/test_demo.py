"""``pagemig demo`` moves a real program's heap, explains every page, and leaves one web page."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pagemig.demo import TARGET, arrange, run
from pagemig.inputs import AddressSpace, Area, shipped_capture
from pagemig.report import Kind
from pagemig.webpage import demonstration_page
from tests.reports.web import Page


@pytest.fixture(scope="module")
def space() -> AddressSpace:
    """The capture of a real program that comes with the package."""
    return shipped_capture()


def demonstrate(pagemig: Callable, *words: object) -> tuple[dict[str, Any], Path]:
    """What ``--json`` prints, and the page."""
    done = pagemig("demo", "--json", *words)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    return told, Path(told["page"])


def test_all_six_outcomes_happen_and_are_explained(space: AddressSpace) -> None:
    """Moved, there already, -EACCES, -EAGAIN, -ENOENT, -EFAULT: each with its count and its reason."""
    situation = arrange(space)
    shown = run(space, program="x")
    rows = {row.kind: row for row in shown.outcomes}
    assert set(rows) == {
        Kind.MOVED,
        Kind.ALREADY_THERE,
        Kind.SHARED,
        Kind.BUSY,
        Kind.NOT_PRESENT,
        Kind.NO_MAPPING,
    }
    codes = {row.code for row in shown.outcomes}
    assert codes == {"node", "-EACCES", "-EAGAIN", "-ENOENT", "-EFAULT"}
    assert sum(row.pages for row in shown.outcomes) == shown.asked == len(situation.asked)
    assert 0 < rows[Kind.SHARED].pages <= situation.shared
    assert 0 < rows[Kind.BUSY].pages <= situation.pinned
    assert situation.partner.name in rows[Kind.SHARED].reason
    assert situation.device.name in rows[Kind.BUSY].reason
    assert rows[Kind.MOVED].pages > len(shown.before) // 2


def test_pages_are_where_their_status_says(space: AddressSpace) -> None:
    """A node status is where the page is now; a negative one leaves the page where it was."""
    shown = run(space, program="x")
    of_heap = shown.statuses[: len(shown.before)]
    assert np.array_equal(shown.after, np.where(of_heap >= 0, of_heap, shown.before))
    assert np.array_equal(shown.after == TARGET, of_heap >= 0)
    assert shown.findings == ()


def test_the_same_capture_tells_the_same_story(space: AddressSpace) -> None:
    """All but the clock: statuses, numa_maps and costs are the same in every run."""
    one, other = run(space, program="x"), run(space, program="x")
    assert np.array_equal(one.statuses, other.statuses)
    assert (one.numa_maps_before, one.numa_maps_after) == (other.numa_maps_before, other.numa_maps_after)
    assert one.cost == other.cost


def test_a_program_without_a_heap_is_refused(tmp_path: Path, complaint: Callable[..., str]) -> None:
    """The capture is named."""
    path = tmp_path / "bare.json"
    AddressSpace(7, "bare", (Area(0x1000, 0x2000, "r--"),)).save(path)
    assert "bare" in complaint("demo", "--capture", path)


def test_a_running_program_is_captured_and_a_page_is_left(pagemig: Callable, tmp_path: Path) -> None:
    """The plain demonstration, as make runs it; where the host refuses, it says so and goes on."""
    told, page = demonstrate(pagemig, "--output", tmp_path / "new" / "folder")
    assert page == tmp_path / "new" / "folder" / "index.html"
    assert page.is_file()
    assert told["heap_pages"] * 4096 > 20 << 20 or told["refused"]
    assert told["ns_per_page"] > 0
    assert told["findings"] == []
    assert len(told["numa_maps_before"]) == len(told["numa_maps_after"])


def test_where_the_host_refuses_it_says_so_and_goes_on(tmp_path: Path) -> None:
    """Method: a host whose ``/proc`` shows nothing, and whose kernel does not say where pages are."""
    code = (
        "import sys\n"
        "from pagemig import host, inputs\n"
        "from pagemig.errors import UsageError\n"
        "def refuse(*words):\n"
        "    raise UsageError('the host refuses to show maps')\n"
        "def silent(*words):\n"
        "    raise host.HostUnavailable('no such call here')\n"
        "inputs.capture, host.host_query_ns_per_page = refuse, silent\n"
        "from pagemig.cli import main\n"
        "sys.exit(main(['demo']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and done.stderr == ""
    assert "the host refuses to show maps" in done.stdout and "no such call here" in done.stdout
    page = Page((tmp_path / "pagemig-demo" / "index.html").read_text("utf-8"))
    assert "the host refuses to show maps" in page.words
    assert "would not say" in page.words


def test_the_page_stands_alone(pagemig: Callable, tmp_path: Path, space: AddressSpace) -> None:
    """Nothing from elsewhere, every element closed, every picture with a title and a description."""
    path = tmp_path / "program.json"
    space.save(path)
    told, page = demonstrate(pagemig, "--capture", path)
    text = (tmp_path / page).read_text("utf-8")
    seen = Page(text)
    assert seen.elsewhere == []
    assert seen.wrong == []
    assert len(seen.pictures) == 5
    assert len(re.findall(r"<desc>[^<]+</desc>", text)) == 5
    for row in told["outcomes"]:
        assert row["reason"] in seen.words
    for line in told["numa_maps_before"] + told["numa_maps_after"]:
        assert line in seen.words
    assert "prefers-color-scheme: dark" in text and "width=device-width" in text


def test_names_from_outside_cannot_break_the_page(space: AddressSpace) -> None:
    """A program may be called anything."""
    shown = run(space, program="<script>alert(1)</script>", refused="<b>no</b>")
    page = demonstration_page(shown, command="x <y>", colophon="&")
    assert "<script" not in page and "<b>no" not in page


def test_a_person_sees_the_tables(pagemig: Callable, tmp_path: Path, space: AddressSpace) -> None:
    """Placement, statuses with reasons, costs, nanoseconds, the audit, and where the page is."""
    path = tmp_path / "program.json"
    space.save(path)
    done = pagemig("demo", "--capture", path, "--output", "out")
    assert done.returncode == 0 and done.stderr == ""
    for words in (
        "Before the move",
        "N0=",
        "-EACCES",
        "-EAGAIN",
        "-ENOENT",
        "-EFAULT",
        "ns a page",
        "audited",
    ):
        assert words in done.stdout
    assert "out/index.html" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--pid", "0"), "pid"),
        (("--pid", "-5"), "pid"),
        (("--pid", "1", "--capture", "x.json"), "--capture"),
        (("--capture", "none.json"), "none.json"),
    ],
)
def test_a_program_that_cannot_be_had_is_one_line(
    complaint: Callable[..., str], words: tuple[str, ...], said: str
) -> None:
    """Asked for by name, so it is not silently replaced by another one."""
    assert said in complaint("demo", *words)


def test_a_process_that_is_gone_is_named(complaint: Callable[..., str]) -> None:
    """Method: a process that has ended and been waited for."""
    gone = subprocess.Popen(["true"])
    gone.wait()
    assert str(gone.pid) in complaint("demo", "--pid", gone.pid)


def test_a_folder_that_cannot_be_made_is_named(complaint: Callable[..., str], tmp_path: Path) -> None:
    """A file stands where the folder should be."""
    (tmp_path / "file").write_text("")
    assert "file" in complaint("demo", "--output", tmp_path / "file" / "folder")
