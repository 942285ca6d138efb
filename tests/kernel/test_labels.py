"""Every step label of the migration specification is tested, or listed here with why not yet.

Labels that no call on anonymous memory without swap cache can reach, by group:

* MM-2 to MM-11: need an address space (files, swap cache); anonymous pages end at MM-1.
* BM, WO, FB: methods of file systems.
* MC-4, MC-10, MG-1: PG_checked, PG_mappedtodisk and PG_writeback belong to files and swap.
* MC-7, UM-4: need a KSM page.
* UM-5, UM-14: need a memory cgroup.
* UM-6: needs writeback.
* MP-1, MP-4: PF_SWAPWRITE is looked at by reclaim only; the core's own tests see it set and cleared.
* NP-2: `move_pages` never queues a page that no record names.
* PB-4: the number is used by callers that offline memory only.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SPECIFICATION = ROOT / "docs" / "spec" / "migration.md"
LABEL = re.compile(r"\b(?:MV|DP|DM|PS|NP|MP|UM|MN|MM|MC|MG|RP|EW|PB|BM|WO|FB)-\d+(?=[a-h]?\b)")
RANGE = re.compile(r"\b([A-Z]{2})-(\d+) to (?:\1-)?(\d+)\b")


def numbered(prefix: str, *numbers: int) -> set[str]:
    """Labels of one prefix."""
    return {f"{prefix}-{number}" for number in numbers}


LATER = {
    "needs an address space": numbered("MM", *range(2, 12)),
    "is a method of a file system": numbered("BM", *range(1, 10))
    | numbered("WO", *range(1, 7))
    | numbered("FB", 1, 2, 3),
    "concerns flags of file and swap pages": numbered("MC", 4, 10) | numbered("MG", 1),
    "needs a KSM page": numbered("MC", 7) | numbered("UM", 4),
    "needs a memory cgroup": numbered("UM", 5, 14),
    "needs writeback": numbered("UM", 6),
    "shows in reclaim only": numbered("MP", 1, 4),
    "cannot be reached by move_pages": numbered("NP", 2),
    "is used by offlining only": numbered("PB", 4),
}


def specified() -> set[str]:
    """Every label that begins a step of the specification."""
    text = SPECIFICATION.read_text(encoding="utf-8")
    return {match[1] for match in re.finditer(r"^([A-Z]{2}-\d+)\. ", text, re.MULTILINE)}


def named_in(text: str) -> set[str]:
    """Labels in a docstring, ranges written out."""
    found = set(LABEL.findall(text))
    for prefix, first, last in RANGE.findall(text):
        found |= numbered(prefix, *range(int(first), int(last) + 1))
    return found


def named() -> set[str]:
    """Every label that the docstring of some test names."""
    found = set()
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                found |= named_in(ast.get_docstring(node) or "")
    return found


def test_the_specification_has_the_steps_that_it_is_known_for() -> None:
    """The collection itself works: first and last labels of some functions, and no UM-13."""
    labels = specified()
    assert {"UM-1", "UM-18", "MP-6", "RP-10", "MM-11", "MV-8", "EW-7", "DP-7"} <= labels
    assert "UM-13" not in labels
    assert len(labels) > 100


def test_every_step_is_tested_or_listed_for_later() -> None:
    """A label that is neither is a hole in the tests."""
    later = set().union(*LATER.values())
    assert sorted(specified() - named() - later) == []


@pytest.mark.parametrize("reason", LATER)
def test_the_list_for_later_names_steps_that_exist(reason: str) -> None:
    """So that the list shrinks with the work and does not outlive it."""
    assert LATER[reason] <= specified()
    assert not LATER[reason] & named(), f"{reason}: tested by now"
