"""Every example in the documents runs, and prints what the page says it prints."""

from __future__ import annotations

import contextlib
import io
import re

import pytest

from tests.house.repository import ROOT, matching, place, text_of

_EXAMPLE = re.compile(r"^```python\n(.*?)^```\n(?:\n?^```text\n(.*?)^```)?", re.MULTILINE | re.DOTALL)

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
PAGES += [page for page in matching(".md", under="docs") if "spec" not in page.parts]


def examples() -> list[pytest.param]:
    """Every fenced Python block, with the output block that may follow it."""
    return [
        pytest.param(code, output, id=f"{place(page)}-{number}")
        for page in PAGES
        for number, (code, output) in enumerate(_EXAMPLE.findall(text_of(page)))
    ]


@pytest.mark.parametrize(("code", "output"), examples())
def test_an_example_runs_and_prints_what_the_page_says(code: str, output: str) -> None:
    """Method: run the block in a namespace of its own and compare what it printed."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "<example>", "exec"), {"__name__": "__example__"})
    assert printed.getvalue() == output


def test_the_readme_has_an_example() -> None:
    """Goal: the test above is not empty. A block without a printed answer would show nothing."""
    assert any(output for _, output in _EXAMPLE.findall(text_of(ROOT / "README.md")))


@pytest.mark.parametrize("command", ["make demo", "make test"])
def test_the_readme_names_the_two_commands(command: str) -> None:
    """What a new user types first."""
    assert command in text_of(ROOT / "README.md")
