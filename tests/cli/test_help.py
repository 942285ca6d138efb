"""The command line explains itself, and says in one line what is wrong with what it was told."""

from __future__ import annotations

import lzma
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from pagemig.cli.app import app
from pagemig.inputs import shipped_capture
from pagemig.scenario import Scenario
from tests.cli.conftest import TRACE

VERBS = ("demo", "capture", "replay", "numa-maps")


def test_without_a_word_it_lists_its_verbs(pagemig: Callable) -> None:
    """Somebody who types the name alone wants to know what there is."""
    done = pagemig()
    assert done.returncode == 0
    assert all(verb in done.stdout for verb in VERBS)
    assert "Exit codes" in done.stdout


@pytest.mark.parametrize(
    ("verb", "words"),
    [
        ("demo", ("--output", "--pid", "--capture", "--json", "numa_maps", "node 2")),
        ("capture", ("PID", "--output", "never", "root")),
        ("replay", ("--move-hot", "--nodes", "--node-memory", "valgrind", "half")),
        ("numa-maps", ("CAPTURE.json|PID", "N0=100", "--json")),
    ],
)
def test_the_help_of_a_verb_teaches(pagemig: Callable, verb: str, words: tuple[str, ...]) -> None:
    """Every option is there, and what the verb is good for."""
    done = pagemig(verb, "--help")
    assert done.returncode == 0 and done.stderr == ""
    assert not [word for word in words if word not in done.stdout]


def examples() -> list[str]:
    """Every example that the help of a verb shows."""
    group: Any = typer.main.get_command(app)
    shown = {
        verb: re.findall(r"^ *- (.*pagemig .*)$", made.help, re.M) for verb, made in group.commands.items()
    }
    assert all(any(f"pagemig {verb}" in line for line in shown[verb]) for verb in shown), shown
    return [line for lines in shown.values() for line in lines]


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the examples of the help name."""
    folder = tmp_path_factory.mktemp("workshop")
    (folder / "my.lackey").write_bytes(
        lzma.decompress(TRACE.read_bytes())[:1_500_000].rpartition(b"\n")[0] + b"\n"
    )
    shipped_capture().save(folder / "program.json")
    (folder / "mine.toml").write_text(Scenario.load("two-movers").to_toml(), encoding="utf-8")
    return folder


@pytest.mark.parametrize("line", examples())
def test_every_example_of_the_help_works(workshop: Path, line: str) -> None:
    """Method: a shell types it; 4242 is this process. What is meant to be found may be found."""
    typed = line.replace("4242", str(os.getpid()))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-c", typed],
        cwd=workshop,
        env={**os.environ, "PATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == int(("gallery/" in line and "explore" in line) or "9a2b4a1b3a" in line), (
        done.stderr
    )
    assert done.stdout and "Traceback" not in done.stderr
    for name in re.findall(r"--(?:html|timeline|output|perfetto) (\S+)", line):
        assert (workshop / name).exists(), line


def test_the_version_says_which_build_it_is(pagemig: Callable) -> None:
    """A figure from a debug build means nothing, so the build is named."""
    done = pagemig("--version")
    assert done.returncode == 0
    assert done.stdout.startswith("pagemig ")
    assert "debug build" in done.stdout or "release build" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["frobnicate"], "frobnicate"),
        (["replay"], "TRACE"),
        (["replay", "x", "--frobnicate"], "--frobnicate"),
        (["replay", "x", "--nodes", "many"], "--nodes"),
        (["capture", "me"], "PID"),
        (["demo", "--pid"], "--pid"),
    ],
)
def test_words_that_make_no_sense_are_one_line_that_points_to_the_help(
    complaint: Callable[..., str], words: list[str], said: str
) -> None:
    """No box, no usage text, no traceback."""
    line = complaint(*words)
    assert said in line and "--help" in line


@pytest.mark.parametrize("missing", ["typer", "rich", "jinja2"])
def test_without_its_extra_it_says_how_to_install_it(missing: str) -> None:
    """Goal: numpy alone is enough for the package, so the command line may have to refuse."""
    code = f"import sys; sys.modules[{missing!r}] = None\nfrom pagemig.cli import main\nsys.exit(main([]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert missing in done.stderr and "pip install 'pagemig[cli]'" in done.stderr


def completed(line: str) -> list[str]:
    """What bash is offered after a line that has been typed."""
    installed = Path(sys.executable).with_name("pagemig")
    asked = {"COMP_WORDS": line, "COMP_CWORD": str(line.count(" ")), "_PAGEMIG_COMPLETE": "complete_bash"}
    done = subprocess.run(
        [str(installed)], env={**os.environ, **asked}, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_a_shell_completes_verbs_options_and_the_names_of_scenarios() -> None:
    """Goal: ``pagemig --install-completion`` installs something that knows our words."""
    assert completed("pagemig exp") == ["explore"]
    assert completed("pagemig explore --preem") == ["--preemptions"]
    assert completed("pagemig run two-") == ["two-movers"]
    assert completed("pagemig run gallery/no-fr") == ["gallery/no-freeze"]
    assert completed("pagemig run two-movers --model two-socket-201") == ["two-socket-2010"]
    assert completed("pagemig explore two-movers --strategy ex") == ["exhaustive"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_gets_a_script_of_its_own_and_its_answers(shell: str) -> None:
    """The script that ``--install-completion`` installs, and what it is answered with in zsh and fish."""
    installed = str(Path(sys.executable).with_name("pagemig"))

    def asked(**variables: str) -> str:
        done = subprocess.run([installed], env={**os.environ, **variables}, capture_output=True, text=True)
        assert done.stderr == ""
        return done.stdout

    assert f"complete_{shell}" in asked(_PAGEMIG_COMPLETE=f"source_{shell}")
    if shell != "bash":
        told = {"_PAGEMIG_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
        assert "two-movers" in asked(**told, _TYPER_COMPLETE_ARGS="pagemig run two-")


def test_a_reader_that_leaves_early_is_no_error_worth_a_traceback() -> None:
    """Method: nobody holds the other end of the pipe, as after ``| head``."""
    reader, writer = os.pipe()
    os.close(reader)
    command = [str(Path(sys.executable).with_name("pagemig")), "replay", "--help"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert done.returncode == 141
    assert done.stderr == ""


def test_an_interrupt_ends_it_quietly() -> None:
    """Method: the interrupt arrives in the middle of a replay."""
    code = (
        "import os, signal, sys\n"
        "from pagemig import playback\n"
        "from pagemig.cli import main\n"
        "playback.replay = lambda *words, **more: os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.exit(main(['replay', 'x']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.parametrize("encoding", ["ascii", "iso-8859-1"])
def test_what_a_terminal_cannot_write_is_a_question_mark(tmp_path: Path, encoding: str) -> None:
    """The bullets of the help, and the title of a scenario."""
    Scenario(title="p\N{GREEK SMALL LETTER MU}", machine={"nodes": ["1MiB"]}).dump(tmp_path / "mine.toml")
    for words in (["run", "--help"], ["explore", "--help"], ["run", "mine.toml"]):
        done = subprocess.run(
            [sys.executable, "-m", "pagemig.cli", *words],
            env=os.environ | {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"},
            cwd=tmp_path,
            capture_output=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, b""), words
        assert b"?" in done.stdout
