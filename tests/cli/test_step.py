"""``pagemig step``: a session as it is typed, from a pipe."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pagemig as pm
from pagemig.scenario import Scenario


def session(folder: Path, *lines: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Type lines into a session on the race of a reader and a mover."""
    command = [str(Path(sys.executable).with_name("pagemig")), "step", "reader-meets-migration", *options]
    text = "".join(f"{line}\n" for line in lines)
    return subprocess.run(
        command, cwd=folder, input=text, capture_output=True, text=True, timeout=120, check=False
    )


def test_each_stop_shows_calls_pages_and_entries(tmp_path: Path) -> None:
    """The step, its sentence, the locks, the counts, the flags and who maps the page."""
    done = session(tmp_path, "until a UM-10", "quit")
    assert done.returncode == 0, done.stderr
    last = done.stdout[done.stdout.rindex("after ") :]
    assert "UM-10" in last
    assert "If nothing maps the page any more, moves it to the new" in last
    assert "page_lock of frame 0" in last
    assert "app: migration, writable" in last
    assert "LOCKED" in last


def test_a_session_ends_with_what_the_scenario_expects(tmp_path: Path) -> None:
    """Steps, a run to the end, and the verdict."""
    done = session(tmp_path, "3a", "b", "run")
    assert done.returncode == 0, done.stderr
    assert "after 4 steps 3a1b" in done.stdout
    assert "holds expect.outcomes" in done.stdout
    assert "All calls are done." in done.stdout


def test_going_back_and_saving(tmp_path: Path) -> None:
    """A schedule is saved in a scenario, or alone; both lead to the same place."""
    done = session(tmp_path, "9a", "back 3", "back", "save mine.toml", "save mine.txt", "audit", "story")
    assert done.returncode == 0, done.stderr
    assert Scenario.load(tmp_path / "mine.toml").page.schedule == "5a"
    assert (tmp_path / "mine.txt").read_text() == "5a\n"
    assert "Every rule holds." in done.stdout
    assert "whoever touches it waits for the page's lock" in done.stdout
    assert pm.Scenario.load(tmp_path / "mine.toml").run().ok


def test_a_session_can_begin_with_a_schedule(tmp_path: Path) -> None:
    """One that cannot be followed is bad input."""
    assert "after 6 steps 5a1b" in session(tmp_path, options=("--schedule", "5a1b")).stdout
    done = session(tmp_path, options=("--schedule", "5x"))
    assert done.returncode == 2
    assert done.stderr == "pagemig: --schedule: there is no call 'x'; there is: a, b\n"


def test_what_cannot_be_done_is_said_and_the_session_goes_on(tmp_path: Path) -> None:
    """In a script the exit code tells that something could not be done."""
    lines = ["hello", "3z", "until a", "until a ZZ-1", "back 99", "back x", "save", "where", "help", "3a"]
    done = session(tmp_path, *lines)
    assert done.returncode == 2
    said = done.stderr.splitlines()
    assert said[0] == "pagemig: 'hello' is no command; type help for what there is"
    assert said[1] == "pagemig: there is no call 'z'; there is: a, b"
    assert said[2] == "pagemig: until wants a call and a step, such as: until a UM-9"
    assert said[3] == "pagemig: a has ended, and made no step ZZ-1"
    assert said[4].startswith("pagemig: 99 steps back; ")
    assert len(said) == 8 and "Traceback" not in done.stderr
    assert "let a call go on until just before a step" in done.stdout


def test_a_call_that_waits_is_not_stepped(tmp_path: Path) -> None:
    """What it waits for, and who has it, is said."""
    done = session(tmp_path, "until a UM-10", "until b EW-6", "b", "where")
    assert done.returncode == 2
    assert "b (reader) waits for page_lock of frame 0, held by a (mover)" in done.stderr
