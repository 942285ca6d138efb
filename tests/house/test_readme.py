"""Every example in the documents runs, and prints what the page says it prints.

Python stands in a ``python`` block, and what it prints in the ``text`` block after it; a block that is
``python continued`` knows what the one before it knew. Commands stand in
a ``console`` block after ``$``, each with what it prints; a line of three dots is for any number of lines.
A ``toml`` block that begins with the name of a file in a comment is that file, for the commands below it.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.repository import ROOT, matching, place, text_of

_EXAMPLE = re.compile(
    r"^```python( continued)?\n(.*?)^```\n(?:\n?^```text\n(.*?)^```)?", re.MULTILINE | re.DOTALL
)
_BLOCK = re.compile(r"^```(console|toml)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_NAME = re.compile(r"# ([\w-]+\.toml)\n")

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
PAGES += [page for page in matching(".md", under="docs") if "spec" not in page.parts]


Example = list[tuple[str, str]]
"""Blocks that belong together, each with what it prints."""


def examples_of(page: Path) -> list[Example]:
    """Every fenced Python block of a page, with the output block that may follow it."""
    found: list[Example] = []
    for continued, code, output in _EXAMPLE.findall(text_of(page)):
        if not continued:
            found.append([])
        found[-1].append((code, output))
    return found


def examples() -> list[pytest.param]:
    """The examples of all pages."""
    return [
        pytest.param(example, id=f"{place(page)}-{number}")
        for page in PAGES
        for number, example in enumerate(examples_of(page))
    ]


@pytest.mark.parametrize("example", examples())
def test_an_example_runs_and_prints_what_the_page_says(
    example: Example, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Method: run its blocks in a namespace of its own, in the checkout, and compare what they printed."""
    monkeypatch.chdir(ROOT)
    namespace = {"__name__": "__example__"}
    for code, output in example:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, "<example>", "exec"), namespace)
        assert printed.getvalue() == output


def commands(block: str) -> list[tuple[str, str]]:
    """Every command of a console block, with what it is to print."""
    parts = re.split(r"^\$ (.*\n(?:> .*\n)*)", block, flags=re.MULTILINE)
    assert not parts[0].strip(), f"a console block begins with $: {block}"
    typed = [command.replace("\n> ", "\n").rstrip("\n") for command in parts[1::2]]
    return list(zip(typed, parts[2::2], strict=True))


def shown(text: str) -> str:
    """What a page shows of some output: tables are padded, a page is not."""
    return "".join(f"{line.rstrip()}\n" for line in text.strip("\n").splitlines())


def agrees(printed: str, expected: str) -> bool:
    """Whether output is what a page shows, three dots being any lines."""
    pattern = re.escape(shown(expected)).replace(re.escape("...\n"), r"(?:.*\n)*?")
    return re.fullmatch(pattern, shown(printed)) is not None


def pages_with_commands() -> list[Path]:
    """The pages that show commands."""
    return [page for page in PAGES if any(kind == "console" for kind, _ in _BLOCK.findall(text_of(page)))]


@pytest.mark.parametrize("page", pages_with_commands(), ids=place)
def test_the_commands_of_a_page_print_what_it_says(page: Path, tmp_path: Path) -> None:
    """Method: a shell types them one after the other in an empty folder, with the page's files."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for kind, block in _BLOCK.findall(text_of(page)):
        if kind == "toml":
            name = _NAME.match(block)
            if name:
                (tmp_path / name.group(1)).write_text(block, encoding="utf-8")
            continue
        for command, expected in commands(block):
            done = subprocess.run(
                ["sh", "-c", command],
                cwd=tmp_path,
                env={**os.environ, "PATH": path},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
            )
            assert (done.returncode, done.stderr) == (0, ""), f"{command}\n{done.stdout}{done.stderr}"
            assert agrees(done.stdout, expected), f"{command}\n{done.stdout}"


def test_the_comparison_of_commands_can_fail() -> None:
    """Goal: the test above shows something. Dots stand for whole lines, and for nothing else."""
    assert agrees("a  \nb\nc\n", "a\n...\nc\n") and agrees("a\nc\n", "a\n...\nc\n")
    assert not agrees("a\nb\n", "a\n") and not agrees("a\nb\n", "a\nc\n") and not agrees("", "a\n")
    assert commands("$ one\nx\n$ two <<END\n> in\n> END\n") == [("one", "x\n"), ("two <<END\nin\nEND", "")]


def test_the_readme_has_an_example() -> None:
    """Goal: the tests above are not empty. A block without a printed answer would show nothing."""
    assert any(output for example in examples_of(ROOT / "README.md") for _, output in example)
    assert ROOT / "README.md" in pages_with_commands()


@pytest.mark.parametrize("command", ["make demo", "make test"])
def test_the_readme_names_the_two_commands(command: str) -> None:
    """What a new user types first."""
    assert command in text_of(ROOT / "README.md")
