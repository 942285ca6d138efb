"""The external cases, one test each, and the counted reasons of those that wait.

Goal: what other people's test suites and manuals expect of ``move_pages`` holds
here. Method: the runner's own verdicts; a case that is skipped is counted with
its reason, so that neither can change unseen.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from .form import BadFormError, expectation, load
from .runner import PASSED, SKIPPED, main, run_case

FILE = Path(__file__).parent / "cases.json"
CASES = {case["id"]: case for case in load(FILE)}

LATER_CALLS = {
    "mbind": 34,
    "migrate_pages": 19,
    "set_mempolicy": 14,
    "get_mempolicy": 11,
    "(radix tree)": 6,
    "(first touch)": 5,
    "cpuset_attach": 4,
    "(parse node string)": 4,
    "cpuset_write": 3,
    "(touch 1 MiB)": 3,
    "cpuset_set_mems": 2,
    "(two full scans)": 1,
    "cpuset_mkdir": 1,
}
SKIPPED_BECAUSE = Counter(
    {f"system call {name!r} arrives in a later stage": count for name, count in LATER_CALLS.items()}
    | {"says nothing about 2.6.34, only about 6.x": 2}
)
SKIPPED_MOVES: dict[str, str] = {
    "LTP-MP11": "shared anonymous memory arrives in a later stage",
    "KST-MIG-shared_anon": "shared anonymous memory arrives in a later stage",
    "KST-RMAP-ksm": "KSM arrives in a later stage",
    "KST-RMAP-ksm-query": "KSM arrives in a later stage",
    "KST-RMAP-shm": "files and shared memory objects arrive in a later stage",
    "MAN-MP-einval-page": "files and shared memory objects arrive in a later stage",
    "DOC-flags": "files and shared memory objects arrive in a later stage",
    "MAN-MP-swapped": "swap arrives in a later stage",
    "DOC-mapcount": "no anonymous mapping of this version refuses to be removed, and faults are not injected",
    "MT-mover": "the call names no pages: the case describes a program, not a call",
    "MT-age": "the call names no pages: the case describes a program, not a call",
}
MOVES = [name for name, case in CASES.items() if case["call"]["syscall"] == "move_pages"]


@pytest.mark.parametrize("name", [name for name in MOVES if name not in SKIPPED_MOVES])
def test_a_case_of_move_pages_comes_out_as_on_linux(name: str) -> None:
    """Method: run it; the message is the difference, or why it could not be run."""
    verdict = run_case(CASES[name])
    assert verdict.kind == PASSED, verdict.why


def test_every_other_case_waits_for_the_reason_it_says() -> None:
    """Goal: nothing is skipped silently: the exact set of reasons, and how often each."""
    others = [run_case(case) for name, case in CASES.items() if name not in MOVES or name in SKIPPED_MOVES]
    assert {verdict.kind for verdict in others} == {SKIPPED}
    moves = {verdict.case: verdict.why for verdict in others if verdict.case in SKIPPED_MOVES}
    assert moves == SKIPPED_MOVES
    assert Counter(v.why for v in others if v.case not in SKIPPED_MOVES) == SKIPPED_BECAUSE


def written(folder: Path, content: Any) -> str:
    """Write a file of cases, or of something else, and return its path."""
    path = folder / "file.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    ("content", "where"),
    [
        ("{", "file.json:1:2: not JSON"),
        ("[1, 2", "file.json:1:6: not JSON"),
        ({}, 'file.json: the top must be an object with a list "cases"'),
        ({"cases": [1]}, "cases[0] must be an object"),
        ({"cases": [{}]}, 'cases[0] must have an "id"'),
        ({"cases": [{"id": "a", "setup": 1}]}, 'cases[0] (a) "setup" must be a list'),
        ({"cases": [{"id": "a", "setup": [{}]}]}, 'cases[0] (a) setup[0] must be an object with an "op"'),
        ({"cases": [{"id": "a", "call": {}}]}, 'cases[0] (a) must have a "call"'),
        ({"cases": [{"id": "a", "call": {"syscall": "x"}}]}, 'cases[0] (a) must have an "expect"'),
    ],
)
def test_a_file_of_another_form_is_refused_in_one_line(
    content: Any, where: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, and one line that says what and where."""
    assert main([written(tmp_path, content)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert where in said.err
    assert said.err.count("\n") == 1


def test_a_failing_case_shows_its_difference_and_fails_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1; the summary is the last line."""
    case = json.loads(json.dumps(CASES["LTP-MP02"]))
    case["expect"]["statuses"] = [1, 0]
    assert main([written(tmp_path, {"cases": [case, CASES["MAN-MP-swapped"], CASES["LTP-MP06"]]})]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "failed LTP-MP02: statuses [1, 1], expected [1, 0] (first difference at 1)"
    assert lines[1] == "skipped MAN-MP-swapped: swap arrives in a later stage"
    assert lines[-1] == "1 passed, 1 failed, 1 skipped"


def test_what_nobody_understands_is_skipped_and_never_passed() -> None:
    """A word, a field or a sentence that is unknown becomes the reason of a skip."""
    changes: list[tuple[list[Any], Any, str]] = [
        (["setup", 2, "colour"], "red", "setup step 'mmap' has unknown fields ['colour']"),
        (["setup", 2, "prot"], "mauve", "protection 'mauve' is not understood"),
        (["call", "args", "pages"], "here", "address 'here' names a region that the setup does not map"),
        (["call", "args", "nodes"], "far away", "node 'far away' is not understood"),
        (["call", "args", "mood"], 1, "the call has unknown arguments ['mood']"),
        (["expect", "effects"], [{"check": "text", "text": "all is well"}], "effect in prose: 'all is well'"),
        (["expect", "effects"], [{"check": "smell"}], "effect 'smell' arrives in a later stage"),
    ]
    for path, value, reason in changes:
        case = json.loads(json.dumps(CASES["LTP-MP02"]))
        place = case
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value
        verdict = run_case(case)
        assert (verdict.kind, verdict.why) == (SKIPPED, reason)


def test_the_expectation_is_the_one_for_this_version() -> None:
    """2.6.34 by name, then what holds for 2.6.33, then a range that contains it."""
    assert expectation({"expect": {"ret": 1}, "valid_for": ["2.6.33"]})["ret"] == 1
    both = {"expect": {"ret": 1}, "valid_for": ["2.6.33"], "expect_by_version": {"2.6.34": {"ret": 2}}}
    assert expectation(both)["ret"] == 2
    older = {"expect": {"ret": 1}, "valid_for": ["6.x"], "expect_by_version": {"2.6.33": {"ret": 3}}}
    assert expectation(older)["ret"] == 3
    ranged = {"valid_for": [], "expect_by_version": {"<2.6.28": {"ret": 4}, "2.6.28-4.12": {"ret": 5}}}
    assert expectation(ranged)["ret"] == 5
    with pytest.raises(Exception, match=r"says nothing about 2\.6\.34, only about 6\.x"):
        expectation({"expect": {"ret": 1}, "valid_for": ["6.x"]})


def test_a_missing_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2."""
    assert main([str(tmp_path / "nowhere.json")]) == 2
    assert "nowhere.json: cannot be read: No such file" in capsys.readouterr().err
    with pytest.raises(BadFormError):
        load(tmp_path)
