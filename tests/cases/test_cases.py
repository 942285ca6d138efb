"""The external cases, one test each, and the counted reasons of those that wait.

Goal: what other people's test suites and manuals expect of the system
calls holds here. Method: the runner's own verdicts; a case that is skipped is counted with
its reason, so that neither can change unseen.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import pagemig as pm

from .form import BadFormError, expectation, load
from .runner import PASSED, SKIPPED, main, run_case

FILE = Path(__file__).parent / "cases.json"
CASES = {case["id"]: case for case in load(FILE)}

WAITING_FOR: dict[str, list[str]] = {
    "shared anonymous memory arrives in a later stage": ["LTP-MP11", "NC-MGP8-root", "KST-MIG-shared_anon"],
    "files and shared memory objects arrive in a later stage": [
        "LTP-SM03-preferred",
        "LTP-CM02",
        "LTP-CM03",
        "NC-SHM-policy",
        "MAN-MP-einval-page",
        "KST-RMAP-shm",
        "DOC-flags",
    ],
    "what shall be done then, 'write 10*N files of 10*i + j%10 pages', is not understood": ["LTP-SM04"],
    "system call 'cpuset_attach' arrives in a later stage": [
        "LTP-CM10",
        "LTP-CM15",
        "MAN-CS-second",
        "MAN-CS-notold",
    ],
    "threads with a policy of their own arrive in a later stage": ["LTP-CM17"],
    "system call 'cpuset_write' arrives in a later stage": ["LTP-CB-0", "LTP-CB--1", "LTP-CB-A"],
    "system call 'cpuset_mkdir' arrives in a later stage": ["LTP-CI"],
    "known contradiction: expects [3] for 2.6.34 while syscalls 6.2 (later pieces are offered a wrong file "
    "offset and do not merge) gives [1, 1, 1]": ["LTP-V02"],
    "system call '(two full scans)' arrives in a later stage": ["LTP-KSM06-across"],
    "says nothing about 2.6.34, only about 6.x": ["LTP-KSM06-pernode", "RT-reg2"],
    "KSM arrives in a later stage": ["KST-RMAP-ksm", "KST-RMAP-ksm-query"],
    "scope 'cli': about the command line of another program": [
        "NC-NODESTR-all",
        "NC-NODESTR-3",
        "NC-NODESTR-!0",
        "NC-NODESTR-??",
    ],
    "swap arrives in a later stage": ["MAN-MP-swapped"],
    "no anonymous mapping of this version refuses to be removed, and faults are not injected": [
        "DOC-mapcount"
    ],
    "scope 'radix': about a data structure by itself": [
        "RT-extend",
        "RT-contract",
        "RT-thrash",
        "RT-replace",
        "RT-replace-tag",
        "RT-cmpxchg",
    ],
    "the call names no pages: the case describes a program, not a call": ["MT-mover", "MT-age"],
}
WAITING = {name: reason for reason, names in WAITING_FOR.items() for name in names}


@pytest.mark.parametrize("name", [name for name in CASES if name not in WAITING])
def test_a_case_comes_out_as_on_linux(name: str) -> None:
    """Method: run it; the message is the difference, or why it could not be run."""
    verdict = run_case(CASES[name])
    assert verdict.kind == PASSED, verdict.why


def test_every_other_case_waits_for_the_reason_it_says() -> None:
    """Goal: nothing is skipped silently: each case that is, with its reason."""
    others = [run_case(CASES[name]) for name in WAITING]
    assert {verdict.kind for verdict in others} == {SKIPPED}
    assert {verdict.case: verdict.why for verdict in others} == WAITING


def test_the_case_that_contradicts_the_specification_comes_out_as_the_specification_says() -> None:
    """LTP-V02 wants one area of three pages; by syscalls 6.2 the pieces after the first do not merge."""
    machine = pm.Machine(nodes=[pm.MiB] * 2)
    task = machine.spawn()
    region = task.mmap(3 * pm.PAGE_SIZE, protection=pm.W)
    task.touch(region)
    every = pm.MbindFlags.MOVE_ALL
    task.mbind(region[1], pm.Policy(pm.PolicyMode.BIND, [0]), flags=every)
    task.mbind(region, pm.Policy(pm.PolicyMode.DEFAULT))
    assert [len(area) for area in task.regions if area.start in region] == [1, 1, 1]


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
