"""Where the words of the command line go: closed streams, full disks, readers that leave, interrupts."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from pagemig.cli import main
from tests.cli.conftest import TRACE, work_of

INSTALLED = str(Path(sys.executable).with_name("pagemig"))
FAULTS = str(TRACE.with_name("sort.faults.perf"))

# Every verb that prints, at work.
AT_WORK: list[tuple[str, ...]] = [
    (),
    ("--help",),
    ("--version",),
    ("run", "two-movers"),
    ("run", "two-movers", "--json"),
    ("scenarios",),
    ("scenarios", "--json"),
    ("explore", "gallery/child-first"),
    ("explore", "gallery/child-first", "--json"),
    ("replay-schedule", "two-movers", "3a1b"),
    ("replay-schedule", "two-movers", "3a1b", "--json"),
    ("step", "two-movers"),
    ("schema",),
    ("capture", "SELF"),
    ("capture", "SELF", "--json"),
    ("numa-maps", "SELF"),
    ("numa-maps", "SELF", "--json"),
    ("replay", FAULTS),
    ("replay", FAULTS, "--json"),
    ("bench", "--pages", "100", "--rounds", "1"),
    ("bench", "--pages", "100", "--rounds", "1", "--json"),
    ("demo",),
    ("demo", "--json"),
]


def words_of(words: Sequence[str]) -> list[str]:
    """The command, with this process where a pid belongs."""
    return [INSTALLED, *(str(os.getpid()) if word == "SELF" else word for word in words)]


def done_in_a_shell(folder: Path, words: Sequence[str], redirected: str) -> subprocess.CompletedProcess[str]:
    """Run a command with its streams as a shell redirects them."""
    line = " ".join(f"'{word}'" for word in words_of(words)) + redirected
    return subprocess.run(["sh", "-c", line], cwd=folder, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("words", AT_WORK, ids=" ".join)
def test_json_is_all_that_standard_output_gets(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """One document in ASCII, valid by the letter of the standard; without ``--json``, words for people."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    code = main(words_of(words)[1:])
    said = capfd.readouterr()
    assert code == (1 if words[:1] == ("explore",) else 0), said.err
    assert "Traceback" not in said.err and said.out
    if "--json" in words or words == ("schema",):
        assert said.out.isascii()
        json.loads(said.out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert "\x1b" not in said.out, "colours are for terminals"


@pytest.mark.parametrize("words", [("run", "two-movers"), ("schema",), ("--help",), ("run", "nothing")])
def test_a_closed_standard_output_is_said(tmp_path: Path, words: tuple[str, ...]) -> None:
    """As after ``>&-``: one line, exit code 2."""
    done = done_in_a_shell(tmp_path, words, " >&-")
    assert (done.returncode, done.stderr) == (2, "pagemig: standard output is closed\n")


def test_closed_input_and_a_closed_standard_error_are_no_trouble(tmp_path: Path) -> None:
    """There is nothing to read and nobody to complain to; results and exit codes are the same."""
    done = done_in_a_shell(tmp_path, ("step", "two-movers"), " <&- 2>&-")
    assert done.returncode == 0 and "after 0 steps" in done.stdout
    assert done_in_a_shell(tmp_path, ("run", "nothing"), " <&- 2>&-").returncode == 2


@pytest.mark.parametrize("words", [("run", "two-movers"), ("run", "two-movers", "--json"), ("scenarios",)])
def test_a_full_disk_behind_standard_output_is_said_once(tmp_path: Path, words: tuple[str, ...]) -> None:
    """Exit code 2, and Python adds nothing of its own."""
    done = done_in_a_shell(tmp_path, words, " >/dev/full")
    assert (done.returncode, done.stderr) == (2, "pagemig: standard output: No space left on device\n")


@pytest.mark.parametrize("words", [("schema",), ("scenarios",), ("run", "two-movers", "--json")])
def test_a_reader_that_has_seen_enough_is_not_told_more(tmp_path: Path, words: tuple[str, ...]) -> None:
    """As ``| head -n 1``: 141, which is what a shell says of programs that lost their reader."""
    line = " ".join(words_of(words))
    script = f"{{ {line}; echo $? >code; }} | head -c 10 >/dev/null; sleep 0.1"
    code = tmp_path / "code"
    done = subprocess.run(["sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.stderr == ""
    # What fits into the pipe before its reader leaves is not lost.
    assert code.read_text() in ("141\n", "0\n")


@pytest.mark.parametrize(
    "words",
    [
        ("replay", str(TRACE), "--move-hot", "64"),
        ("bench", "--pages", "1000000", "--rounds", "1000"),
        ("explore", "two-movers", "--strategy", "random", "--runs", "1000000000"),
        ("step", "two-movers"),
    ],
    ids=lambda words: words[0],
)
def test_an_interrupt_ends_every_long_verb(tmp_path: Path, words: tuple[str, ...]) -> None:
    """Method: Ctrl-C's signal once it is at work; 130 and no traceback."""
    with subprocess.Popen(
        words_of(words),
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # A test that runs in the background of a shell may have been told to ignore it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as running:
        # A session waits for its reader, and works until then.
        work_of(running, "work", 0 if words[0] == "step" else 10)
        if words[0] == "step":
            time.sleep(1)
        assert running.poll() is None
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=60)
    assert (running.returncode, "Traceback" in said) == (130, False), said


def test_a_bug_of_ours_is_told_from_a_failed_expectation(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Method: break something below. 70, with the traceback that a report needs."""
    monkeypatch.setattr("pagemig.cli.terminal.outputs", lambda *words, **more: [][1])
    assert main(["run", "two-movers"]) == 70
    said = capfd.readouterr().err
    assert "IndexError" in said and said.splitlines()[-1].startswith("pagemig: this is a mistake of pagemig")
