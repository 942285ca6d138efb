"""The external cases, one test each, and the counted reasons of those that are not run.

Goal: what other people's test suites and manuals expect of the system
calls holds here. Method: the runner's own verdicts; a case that is not run to its end is counted
with its reason, so that neither can change unseen.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import pagemig as pm

from .form import BadFormError, NotAbout, expectation, load
from .runner import EXCEPTED, FAILED, NOT_ABOUT, PASSED, SKIPPED, Verdict, main, run_case

FILE = Path(__file__).parent / "cases.json"
CASES = {case["id"]: case for case in load(FILE)}

OTHERS: dict[str, dict[str, list[str]]] = {
    SKIPPED: {
        "scope 'cli': about how the command line of another program is read; the model reads no such words": [
            "NC-NODESTR-all",
            "NC-NODESTR-3",
            "NC-NODESTR-!0",
            "NC-NODESTR-??",
        ],
        "scope 'radix': about a data structure by itself; its tests are in rust/core/tests/radix_tree": [
            "RT-extend",
            "RT-contract",
            "RT-thrash",
            "RT-replace",
            "RT-replace-tag",
            "RT-cmpxchg",
        ],
        "scope 'policy-layer': about a program above the system calls; test_policy_layer plays one": [
            "MT-mover",
            "MT-age",
        ],
    },
    NOT_ABOUT: {"only about 6.x": ["LTP-KSM06-pernode", "RT-reg2"]},
    EXCEPTED: {
        "known contradiction: expects [3] for 2.6.34 while syscalls 6.2 (later pieces are offered a too "
        "small file offset and do not merge) gives [1, 1, 1]": ["LTP-V02"],
        "the one thing that cannot be set up: no call that a program can make meets a mapping that refuses "
        "to be removed, and faults are not injected; what then happens is tested where it can be, with "
        "merged pages under offlining (S36)": ["DOC-mapcount"],
    },
}
"""Every case that is not run to its end: kind, reason, names."""
VERDICTS = {
    name: Verdict(name, kind, reason)
    for kind, reasons in OTHERS.items()
    for reason, names in reasons.items()
    for name in names
}
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", [name for name in CASES if name not in VERDICTS])
def test_a_case_comes_out_as_on_linux(name: str) -> None:
    """Method: run it; the message is the difference, or why it could not be run."""
    verdict = run_case(CASES[name])
    assert verdict.kind == PASSED, verdict.why


def test_every_other_case_is_listed_with_the_reason_it_gives() -> None:
    """Goal: nothing is left out silently: each case that is, with its kind and its reason."""
    assert {name: run_case(CASES[name]) for name in VERDICTS} == VERDICTS


def test_only_three_scopes_are_skipped_and_their_tests_are_where_they_are_said_to_be() -> None:
    """Method: the scopes of the cases that are skipped; each radix case is named by a test of the core."""
    skipped = [CASES[name] for name, verdict in VERDICTS.items() if verdict.kind == SKIPPED]
    assert {case["scope"] for case in skipped} == {"cli", "radix", "policy-layer"}
    radix = (ROOT / "rust/core/tests/radix_tree/cases.rs").read_text(encoding="utf-8")
    layer = Path(__file__).with_name("test_policy_layer.py").read_text(encoding="utf-8")
    told = {"radix": radix, "policy-layer": layer}
    assert not [c["id"] for c in skipped if c["scope"] in told and c["id"] not in told[c["scope"]]]


def test_the_summary_counts_every_case_once(capsys: pytest.CaptureFixture[str]) -> None:
    """The last line; the run as a whole does not fail."""
    assert main([str(FILE)]) == 0
    lines = capsys.readouterr().out.splitlines()
    passed = len(CASES) - len(VERDICTS)
    assert lines[-1] == f"{passed} passed, 0 failed, 12 skipped, 2 not about 2.6.34, 2 excepted"
    assert lines[:-1] == [f"{v.kind} {v.case}: {v.why}" for name in CASES if (v := VERDICTS.get(name))]


def test_the_case_that_contradicts_the_specification_comes_out_as_the_specification_says() -> None:
    """LTP-V02 wants one area of three pages; by syscalls 6.2 the pieces after the first do not merge.

    Were it otherwise, the case would not be excepted but fail; so would another expectation.
    """
    machine = pm.Machine(nodes=[pm.MiB] * 2)
    task = machine.spawn()
    region = task.mmap(3 * pm.PAGE_SIZE, protection=pm.W)
    task.touch(region)
    every = pm.MbindFlags.MOVE_ALL
    task.mbind(region[1], pm.Policy(pm.PolicyMode.BIND, [0]), flags=every)
    task.mbind(region, pm.Policy(pm.PolicyMode.DEFAULT))
    assert [len(area) for area in task.regions if area.start in region] == [1, 1, 1]
    case = json.loads(json.dumps(CASES["LTP-V02"]))
    case["expect_by_version"]["2.6.34"]["effects"][0]["sizes"] = [1, 2]
    assert run_case(case) == Verdict("LTP-V02", FAILED, "the areas have [1, 1, 1] pages, expected [1, 2]")
    del case["setup"][-1]
    case["expect_by_version"]["2.6.34"]["effects"][0]["sizes"] = [3]
    assert run_case(case).kind == FAILED


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
        ({"cases": {"a": {}}}, 'file.json: the top must be an object with a list "cases"'),
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
    assert main([written(tmp_path, {"cases": [case, CASES["RT-reg2"], CASES["LTP-MP06"]]})]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "failed LTP-MP02: statuses [1, 1], expected [1, 0] (first difference at 1)"
    assert lines[1] == "not about 2.6.34 RT-reg2: only about 6.x"
    assert lines[-1] == "1 passed, 1 failed, 0 skipped, 1 not about 2.6.34, 0 excepted"


def test_what_nobody_understands_is_skipped_and_never_passed() -> None:
    """A word, a field or a sentence that is unknown becomes the reason of a skip."""
    changes: list[tuple[list[Any], Any, str]] = [
        (["setup", 2, "colour"], "red", "setup step 'mmap' has unknown fields ['colour']"),
        (["setup", 2, "prot"], "mauve", "protection 'mauve' is not understood"),
        (["call", "args", "pages"], "here", "address 'here' names a region that the setup does not map"),
        (["call", "args", "nodes"], "far away", "node 'far away' is not understood"),
        (["call", "args", "mood"], 1, "the call has unknown arguments ['mood']"),
        (["expect", "effects"], [{"check": "text", "text": "all is well"}], "effect in prose: 'all is well'"),
        (["expect", "effects"], [{"check": "smell"}], "effect 'smell' is not understood"),
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
    before = {"expect_by_version": {"<2.6.34": {"ret": 6}, "6.x": {"ret": 7}}, "expect": {}, "valid_for": []}
    assert expectation(before)["ret"] == 6
    for versions in (["6.x"], [], ["2.6.36-3.8"]):
        with pytest.raises(NotAbout, match=r"only about (6\.x|no version|2\.6\.36-3\.8)"):
            expectation({"expect": {"ret": 1}, "valid_for": versions})


def test_a_missing_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2."""
    assert main([str(tmp_path / "nowhere.json")]) == 2
    assert "nowhere.json: cannot be read: No such file" in capsys.readouterr().err
    with pytest.raises(BadFormError):
        load(tmp_path)
