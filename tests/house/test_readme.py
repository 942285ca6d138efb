"""Every example in the documents runs, and prints what the page says it prints.

Python stands in a ``python`` block, and what it prints in the ``text`` block after it; a block that is
``python continued`` knows what the one before it knew. Commands stand in
a ``console`` block after ``$``, each with what it prints; a line of three dots is for any number of lines.
A ``toml`` block that begins with the name of a file in a comment is that file, for the commands below it.
A ``sh`` block is for what sets something up, and is run by the build. `pages` plays the commands.
"""

from __future__ import annotations

import contextlib
import io
import re
import sys
from pathlib import Path

import pytest

from tests.house import trends
from tests.house.pages import BLOCK, agrees, commands, played
from tests.house.repository import ROOT, matching, place, text_of

_EXAMPLE = re.compile(
    r"^```python( continued)?\n(.*?)^```\n(?:\n?^```text\n(.*?)^```)?", re.MULTILINE | re.DOTALL
)

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


def pages_with_commands() -> list[Path]:
    """The pages that show commands."""
    return [page for page in PAGES if any(kind == "console" for kind, _ in BLOCK.findall(text_of(page)))]


@pytest.mark.parametrize("page", pages_with_commands(), ids=place)
def test_the_commands_of_a_page_print_what_it_says(page: Path, tmp_path: Path) -> None:
    """Method: a shell types them one after the other, in a folder with the page's files and our traces."""
    assert played(text_of(page), tmp_path, Path(sys.executable).parent) > 0


def sh_lines() -> list[tuple[str, str]]:
    """Every line of a ``sh`` block: its page, and what is typed."""
    blocks = [
        (place(page), block) for page in PAGES for kind, block in BLOCK.findall(text_of(page)) if kind == "sh"
    ]
    return [(page, line.partition("#")[0].strip()) for page, block in blocks for line in block.splitlines()]


def test_lines_that_set_something_up_are_run_by_the_build() -> None:
    """Goal: what a page only tells to type is typed somewhere. ``sh`` blocks hold three kinds of lines.

    Verbs of make, which `make ci` runs or which measure; `pip install`, which `make smoke` types, each
    line in an environment of its own; and asv, which `make trends` types (`trends`).
    """
    makefile = text_of(ROOT / "Makefile")
    goals = re.search(r"^ci: ([\w -]+?) *##", makefile, re.MULTILINE)
    assert goals and "-m tests.house.pages" in makefile and "-m tests.house.trends" in makefile
    verbs = set(re.findall(r"^([\w-]+):.*## ", makefile, re.MULTILINE))
    lines = sh_lines()
    for page, line in lines:
        words = line.split()
        if words[:1] == ["make"]:
            assert words[1] in verbs, f"{page}: {line}"
            built = {*goals.group(1).split(), "wheel"}
            assert words[1] in built or page == "CONTRIBUTING.md", f"{page}: {line}"
        else:
            by_trends = page == place(trends.PAGE) and line in trends.asv_lines(text_of(trends.PAGE))
            assert line.startswith("pip install ") or by_trends, f"{page}: {line}"
    assert ("README.md", "make demo") in lines
    assert any(line.startswith("pip install ") for page, line in lines if page == "README.md")


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
