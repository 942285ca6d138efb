"""Whatever the specification gives a name, some test names: steps, quirks, invariants, examples.

A label is named by a test if it stands in the test's docstring, alone or within a range
(``MM-2 to MM-6``). The test then sets up the condition and asserts what can be observed: that is
for the reader of the test to judge, and for nobody to skip.
"""

from __future__ import annotations

import ast
import re

import pytest

from tests.house.repository import ROOT

SPECIFICATION = ROOT / "docs" / "spec"
STEPS = "MV|DP|DM|PS|NP|MP|UM|MN|MM|MC|MG|RP|EW|PB|BM|WO|FB"
LABEL = re.compile(rf"\b(?:(?:{STEPS})-\d+(?=[a-h]?\b)|I-\d+\b|Q\d\d\b|E\d\b)")
RANGE = re.compile(rf"\b({STEPS}|I)-(\d+) to (?:\1-)?(\d+)\b")
WIDE_RANGE = re.compile(r"\b([QE])(\d+) to (?:\1)?(\d+)\b")

# What is defined where: one pattern a kind, matched line by line.
DEFINITIONS = {
    "steps": ("migration.md", re.compile(r"^([A-Z]{2}-\d+)\. ", re.MULTILINE)),
    "quirks": ("README.md", re.compile(r"^\| (Q\d\d) \|", re.MULTILINE)),
    "invariants": ("invariants.md", re.compile(r"^\| (I-\d+) \|", re.MULTILINE)),
    "examples": ("migration.md", re.compile(r"^## (E\d)\. ", re.MULTILINE)),
}


def specified(kind: str) -> set[str]:
    """Every label of a kind that the specification defines."""
    file, pattern = DEFINITIONS[kind]
    return set(pattern.findall((SPECIFICATION / file).read_text(encoding="utf-8")))


def named_in(text: str) -> set[str]:
    """Labels in a docstring, ranges written out."""
    found = set(LABEL.findall(text))
    for prefix, first, last in RANGE.findall(text):
        width = 2 if prefix == "I" else 1
        found |= {f"{prefix}-{number:0{width}}" for number in range(int(first), int(last) + 1)}
    for prefix, first, last in WIDE_RANGE.findall(text):
        found |= {f"{prefix}{number:0{len(first)}}" for number in range(int(first), int(last) + 1)}
    return found


def named() -> set[str]:
    """Every label that the docstring of some test names."""
    found = set()
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                found |= named_in(ast.get_docstring(node) or "")
    return found


def test_the_specification_has_the_labels_that_it_is_known_for() -> None:
    """The collection itself works: firsts and lasts of each kind, and no UM-13."""
    steps = specified("steps")
    assert {"UM-1", "UM-18", "MP-6", "RP-10", "MM-11", "MV-8", "EW-7", "DP-7", "BM-9"} <= steps
    assert "UM-13" not in steps
    assert specified("quirks") == {f"Q{number:02}" for number in range(1, 35)}
    assert {"I-01", "I-129"} <= specified("invariants")
    assert len(specified("invariants")) > 75
    assert specified("examples") == {f"E{number}" for number in range(1, 8)}


def test_ranges_of_labels_are_written_out() -> None:
    """So that a docstring may say what it means in one breath."""
    assert named_in("MM-2 to MM-4, I-100 to I-103; Q09 to Q11") >= {"MM-3", "I-101", "Q10"}
    assert named_in("DM-2f and UM-16.") == {"DM-2", "UM-16"}


@pytest.mark.parametrize("kind", DEFINITIONS)
def test_every_label_of_the_specification_is_tested(kind: str) -> None:
    """A label that no test names is a hole in the tests."""
    assert sorted(specified(kind) - named()) == []
