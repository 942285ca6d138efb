"""Every scenario of the concurrency page has its tests, in one place: by hand, and in every order."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.repository import ROOT

SPECIFICATION = ROOT / "docs" / "spec" / "concurrency.md"
HOME = ROOT / "tests" / "races" / "scenarios"
NAME = re.compile(r"test_s(\d\d)_(explored_)?\w")


def scenarios() -> list[str]:
    """The numbers of all scenarios, as the specification gives them."""
    return sorted(re.findall(r"^\*\*S(\d\d)\. ", SPECIFICATION.read_text(encoding="utf-8"), re.MULTILINE))


def functions(path: Path) -> Iterator[ast.FunctionDef]:
    """The test functions of a file."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            yield node


def played(*, explored: bool) -> dict[str, list[ast.FunctionDef]]:
    """The tests of each scenario: those driven by hand, or those that explore."""
    found = defaultdict(list)
    for path in sorted(HOME.glob("test_*.py")):
        for function in functions(path):
            name = NAME.match(function.name)
            assert name is not None, f"{path.name}: {function.name} belongs to no scenario"
            assert bool(name[2]) is path.stem.endswith("_explored"), f"{path.name}: {function.name}"
            if bool(name[2]) is explored:
                found[name[1]].append(function)
    return found


def named_in(text: str) -> set[str]:
    """The numbers of the scenarios in a docstring, ranges written out."""
    found = set(re.findall(r"\bS(\d\d)\b", text))
    for first, last in re.findall(r"\bS(\d\d) to S(\d\d)\b", text):
        found |= {f"{number:02}" for number in range(int(first), int(last))}
    return found


def test_the_specification_has_48_scenarios() -> None:
    """The collection itself works."""
    assert scenarios() == [f"{number:02}" for number in range(1, 49)]


@pytest.mark.parametrize("explored", [False, True], ids=["by hand", "explored"])
def test_every_scenario_has_its_test(explored: bool) -> None:
    """And every test names its scenario in its docstring."""
    tests = played(explored=explored)
    assert sorted(tests) == scenarios()
    for number, functions_of_it in tests.items():
        for function in functions_of_it:
            assert number in named_in(ast.get_docstring(function) or ""), function.name


def test_a_scenario_has_one_home() -> None:
    """Elsewhere no test carries the name of a scenario: who looks for S27 finds all of it here."""
    elsewhere = [path for path in sorted((ROOT / "tests").rglob("test_*.py")) if path.parent != HOME]
    strays = [
        function.name for path in elsewhere for function in functions(path) if NAME.match(function.name)
    ]
    assert strays == []
