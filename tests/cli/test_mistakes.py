"""Every verb, and what a person can get wrong with it: one line that says what and where, exit code 2.

Method: the command line runs in this process, which is quicker by an order of magnitude than a process
for each mistake; ``test_streams.py`` has what only a process of its own shows.
"""

from __future__ import annotations

import gzip
import os
import shutil
from pathlib import Path

import pytest

from pagemig.cli import main
from tests.cli.conftest import TRACE

FAULTS = TRACE.with_name("sort.faults.perf")
SCENARIO = """
title = "Mine"
machine = { nodes = ["1MiB", "1MiB"] }
tasks.app = {}
regions.heap = { task = "app", pages = 2 }
order = "together"
setup = [{ by = "app", do = "touch", where = "heap" }, { do = "drain" }]
calls = [
    { id = "move", by = "app", do = "move_pages", pages = "heap", nodes = 1 },
    { id = "read", by = "app", do = "touch", where = "heap", write = false },
]
"""
GONE = "2147483647"

# What is put in the place of a file, and what is said of it: for scenarios, traces and captures.
FILES = {
    "missing": ("o such file", "no such file", "no such file"),
    "folder": ("it is a folder", "not a regular file", "not a regular file"),
    "empty": ("title: it is missing", "the file is empty", "the file is empty"),
    "binary": ("not UTF-8 text", "not a trace", "JSON"),
    "prose": ("line 1", "not a trace", "JSON"),
    "packed": ("not UTF-8 text", "not a trace", "JSON"),
    "unreadable": ("Input/output error", "Input/output error", "Input/output error"),
    "x" * 300: ("File name too long", "File name too long", "File name too long"),
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one file of each kind that is none of ours, and a scenario that is fine."""
    (tmp_path / "folder").mkdir()
    for kind, content in (
        ("empty", b""),
        ("binary", bytes(range(255, -1, -1)) * 20),
        ("prose", b"It was a dark and stormy night.\n"),
        ("packed", gzip.compress(b"It was a dark and stormy night.\n")),
        ("mine.toml", SCENARIO.encode()),
    ):
        (tmp_path / kind).write_bytes(content)
    # Memory at address 0 is a regular file that nobody can read, root included.
    (tmp_path / "unreadable").symlink_to("/proc/self/mem")
    shutil.copy(FAULTS, tmp_path / "t.perf")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def complaint(capfd: pytest.CaptureFixture[str], *words: str) -> str:
    """What the command says to bad input: lines of our own on standard error, and nothing else."""
    before = {path: path.stat().st_mtime_ns for path in Path.cwd().iterdir()}
    code = main(words)
    said = capfd.readouterr()
    assert (code, said.out) == (2, ""), (words, said)
    assert said.err and all(line.startswith("pagemig: ") for line in said.err.splitlines()), said.err
    assert {path: path.stat().st_mtime_ns for path in Path.cwd().iterdir()} == before, "a file has changed"
    return said.err


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize(
    ("words", "column"),
    [
        (("run", "FILE"), 0),
        (("run", "FILE", "--json"), 0),
        (("explore", "FILE"), 0),
        (("explore", "FILE", "--json"), 0),
        (("step", "FILE"), 0),
        (("replay-schedule", "FILE", "1a"), 0),
        (("replay-schedule", "FILE", "1a", "--json"), 0),
        (("replay", "FILE"), 1),
        (("replay", "FILE", "--json"), 1),
        (("numa-maps", "FILE"), 2),
        (("numa-maps", "FILE", "--json"), 2),
        (("demo", "--capture", "FILE", "--output", "folder"), 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_file_that_is_none_is_named_with_what_is_wrong(
    here: Path, capfd: pytest.CaptureFixture[str], words: tuple[str, ...], column: int, kind: str
) -> None:
    """For every verb that reads one."""
    name = f"{kind}.toml" if kind == "missing" and column == 0 else kind
    said = complaint(capfd, *(name if word == "FILE" else word for word in words))
    assert name in said and FILES[kind][column] in said


RUN, EXPLORE = ("run", "mine.toml"), ("explore", "mine.toml")
REPLAY, FOLLOW = ("replay", "t.perf"), ("replay-schedule", "mine.toml")

WORDS = [
    ((), "frobnicate", "No such command 'frobnicate'"),
    ((), "rnu", "Did you mean 'run'?"),
    ((), "--frobnicate", "No such option: --frobnicate"),
    (("run",), "", "Missing argument 'SCENARIO'"),
    (("run", "two-mover"), "", "did you mean 'two-movers'?"),
    (("run", "a", "b"), "", "unexpected extra argument"),
    (RUN, "--jsno", "Possible options: --json"),
    (RUN, "--schedule x", "--schedule 'x': at character 1: it must be like 3a1b2a"),
    (RUN, "--schedule 3a1", "--schedule '3a1': at character 3"),
    (RUN, "--schedule 1c", "--schedule: there is no call 'c'; there is: a, b"),
    (RUN, "--schedule 999999a", "--schedule: more than 100,000 steps at character 1"),
    (RUN, f"--schedule {'9' * 5000}a", "--schedule: more than 100,000 steps at character 1"),
    (("run", "first-move"), "--schedule 1a", "one after the other"),
    (RUN, "--html folder", "folder: cannot be written: Is a directory"),
    (RUN, "--html no/x.html", "no/x.html: cannot be written: No such file or directory"),
    (RUN, "--html prose/x.html", "prose/x.html: cannot be written: No such file or directory"),
    (RUN, "--html mine.toml", "mine.toml: cannot be written: it is read, or named twice"),
    (RUN, "--html x --perfetto x", "x: cannot be written: it is read, or named twice"),
    (RUN, "--html /dev/full", "/dev/full: cannot be written: No space left on device"),
    (RUN, "--perfetto /dev/full", "/dev/full: cannot be written: No space left on device"),
    (RUN, "--html x --model abacus", "--model is 'abacus'; it must be two-socket"),
    (RUN, "--model two-socket-2010", "--model is for the page that --html writes"),
    (EXPLORE, "--strategy sideways", "--strategy is 'sideways'; it must be exhaustive, random or pct"),
    (EXPLORE, "--runs 5", "--runs is not for the strategy exhaustive"),
    (EXPLORE, "--depth 5", "--depth is not for the strategy exhaustive"),
    (EXPLORE, "--strategy random --preemptions 1", "--preemptions is not for the strategy random"),
    (EXPLORE, "--strategy random --depth 1", "--depth is not for the strategy random"),
    (EXPLORE, "--strategy random --runs 0", "runs is 0; it must be 1 to"),
    (EXPLORE, "--strategy pct --depth 0", "depth is 0; it must be 1 to"),
    (EXPLORE, "--strategy pct --seed -1", "seed is -1; it must be 0 to"),
    (EXPLORE, "--preemptions many", "--preemptions': it must be a whole number"),
    (EXPLORE, "--preemptions -1", "preemptions is -1; it must be 0 to"),
    (EXPLORE, "--memory much", "--memory: 'much' is not a size"),
    (EXPLORE, "--timeline folder", "folder: cannot be written: Is a directory"),
    (EXPLORE, "--timeline mine.toml", "mine.toml: cannot be written: it is read"),
    (("explore", "first-move"), "", "one after the other"),
    (("step", "mine.toml"), "--schedule 1c", "--schedule: there is no call 'c'"),
    (("step", "mine.toml"), "--schedule x", "--schedule 'x': at character 1"),
    (("step", "first-move"), "", "one after the other"),
    (FOLLOW, "", "Missing argument 'SCHEDULE'"),
    (FOLLOW, "x", "schedule 'x': at character 1: it must be like 3a1b2a"),
    (FOLLOW, "1a\u0661b", "schedule '1a\u0661b': at character 3"),
    (FOLLOW, "1c", "schedule, step 1: there is no call 'c'"),
    (FOLLOW, "900a", "a (move) is done; it has no further step"),
    (FOLLOW, f"{'9' * 5000}a", "schedule: more than 100,000 steps at character 1"),
    (FOLLOW, "1a --timeline /dev/full", "/dev/full: cannot be written: No space left on device"),
    (FOLLOW, "1a --timeline x --perfetto x", "x: cannot be written: it is read, or named twice"),
    (("schema",), "--output folder", "folder: cannot be written: Is a directory"),
    (("schema",), "--output no/x", "no/x: cannot be written: No such file or directory"),
    (("schema",), "--output /dev/full", "/dev/full: cannot be written: No space left on device"),
    (("scenarios",), "x", "unexpected extra argument"),
    (("capture",), "", "Missing argument 'PID'"),
    (("capture",), "me", "'PID': it must be a whole number"),
    (("capture",), "0", "pid is 0; it must be 1 to"),
    (("capture",), GONE, f"there is no process {GONE}"),
    (("capture", "SELF"), "--output folder", "folder: cannot be written: Is a directory"),
    (("capture", "SELF"), "--output no/x", "no/x: cannot be written: No such file or directory"),
    (("capture", "SELF"), "--output /dev/full", "/dev/full: cannot be written: No space left"),
    (("numa-maps",), GONE, f"there is no process {GONE}"),
    (("numa-maps",), "99999999999", "pid is 99999999999; it must be 1 to 2147483647"),
    (("numa-maps",), "\u0663", "\u0663: there is no such file"),
    (("demo",), "--pid 1 --capture x", "--pid and --capture name two programs"),
    (("demo",), f"--output folder --pid {GONE}", f"there is no process {GONE}"),
    (("demo",), "--output prose", "prose: File exists"),
    (("demo",), "--output prose/x", "prose/x: Not a directory"),
    (REPLAY, "--nodes 0", "--nodes: 0 nodes; a machine has 1 to 64"),
    (REPLAY, "--nodes many", "'--nodes': it must be a whole number"),
    (REPLAY, "--node-memory much", "--node-memory: 'much' is not a size such as 64MiB"),
    (REPLAY, "--node-memory 1", "--node-memory: '1' is 1 bytes, not whole pages; 0 or 4096 would be"),
    (REPLAY, "--node-memory 1MiB,1MiB,1MiB", "--node-memory: 3 sizes for 2 nodes"),
    (REPLAY, "--node-memory 0", "no node has memory"),
    (REPLAY, "--node-memory 99999TiB", "a machine has up to"),
    (REPLAY, "--fast-node 2", "the fast node is 2, but the nodes are 0 to 1"),
    (REPLAY, "--start-node -1", "the start node is -1, but the nodes are 0 to 1"),
    (REPLAY, "--move-hot 0", "must be at least 1, not 0"),
    (("bench",), "--pages 0", "pages is 0; it must be 1 to"),
    (("bench",), "--rounds many", "'--rounds': it must be a whole number"),
]


@pytest.mark.parametrize(("verb", "rest", "said"), WORDS, ids=lambda value: str(value)[:50])
def test_words_that_make_no_sense_are_answered_with_what_would(
    here: Path, capfd: pytest.CaptureFixture[str], verb: tuple[str, ...], rest: str, said: str
) -> None:
    """Numbers, names, options that contradict each other, places that cannot be written; nothing changes."""
    words = [str(os.getpid()) if word == "SELF" else word for word in (*verb, *rest.split())]
    assert said in complaint(capfd, *words)


def test_every_verb_is_in_the_table() -> None:
    """Goal: a new verb gets its mistakes here."""
    import typer

    from pagemig.cli.app import app

    verbs = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    assert verbs == {verb[0] for verb, _, _ in WORDS if verb}


def test_an_output_that_was_there_is_replaced_whole_and_links_stay(here: Path) -> None:
    """A page over an old page, by way of a link; no file beside it is left."""
    (here / "old.html").write_text("old")
    (here / "link.html").symlink_to("old.html")
    assert main(["run", "mine.toml", "--html", "link.html"]) == 0
    assert (here / "link.html").is_symlink()
    assert (here / "old.html").read_text().startswith("<!doctype html>")
    assert not list(here.glob("*.part"))


def test_what_is_no_file_is_written_to_and_not_replaced(here: Path) -> None:
    """Goal: ``-o /dev/stdout`` does not put a file into ``/dev``. Method: a pipe of our own."""
    os.mkfifo(here / "pipe")
    reader = os.open(here / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    assert main(["replay-schedule", "mine.toml", "1a", "--perfetto", "pipe"]) == 0
    assert len(os.read(reader, 1 << 16)) > 100
    os.close(reader)
    assert (here / "pipe").is_fifo()


@pytest.mark.parametrize(
    ("arguments", "verb"), [(("run", "x.toml", "--html"), "pagemig run"), (("--html",), "pagemig")]
)
def test_an_option_without_its_value_points_to_the_help_of_its_verb(
    arguments: tuple[str, ...], verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not to that of the whole, which does not have the option."""
    assert main(list(arguments)) == 2
    assert f"(see '{verb} --help')" in capsys.readouterr().err
