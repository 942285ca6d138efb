"""Cases that are not quite of the form, one at a time and in a file with sound ones.

Goal: no odd case keeps another one from being run, none is passed with a part that nobody read, and
what can only mean one thing is read. Method: a sound case with one part changed.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .form import expectation, normal
from .runner import FAILED, NOT_ABOUT, PASSED, SKIPPED, main, run_case

Case = dict[str, Any]
Change = Callable[[Case], object]

SOUND: Case = {
    "id": "sound",
    "setup": [
        {"op": "machine", "mem_nodes": [0, 1]},
        {"op": "task", "id": "A", "uid": 0, "caps": ["CAP_SYS_NICE"]},
        {"op": "mmap", "task": "A", "region": "r", "pages": 2},
        {"op": "touch", "task": "A", "region": "r", "pages": "all"},
    ],
    "call": {
        "task": "A",
        "syscall": "move_pages",
        "args": {"pid": 0, "pages": ["r+0"], "nodes": [1], "status": "array", "flags": 2},
    },
    "expect": {"ret": 0, "statuses": [1], "effects": [{"check": "node", "page": "r+0", "node": 1}]},
    "valid_for": ["2.6.33"],
}


def changed(change: Change) -> Case:
    """The sound case, changed."""
    made = copy.deepcopy(SOUND)
    change(made)
    return made


def put(*path: Any, value: object) -> Change:
    """A change of one part: the last word of the path is its name."""

    def change(made: Case) -> None:
        place: Any = made
        for part in path[:-1]:
            place = place[part]
        place[path[-1]] = value

    return change


def flat(made: Case) -> None:
    """The arguments of the call beside its name."""
    made["call"] |= made["call"].pop("args")


READ: list[tuple[str, Change]] = [
    ("null effects", put("expect", "effects", value=None)),
    ("a text for versions", put("valid_for", value="2.6.33, 6.x")),
    ("no other versions", put("expect_by_version", value=None)),
    ("another version without an expectation", put("expect_by_version", value={"6.x": None})),
    ("another version in words", put("expect_by_version", value={"6.x": "as 2.6.33"})),
    ("one call in a list", lambda made: made.update(call=[made["call"]])),
    ("arguments beside the call", flat),
    ("a step that is a text", lambda made: made["setup"].append("drain")),
    ("a field of a step that is null", put("setup", 2, "fs", value=None)),
    (
        "one effect without a list",
        lambda made: put("expect", "effects", value=made["expect"]["effects"][0])(made),
    ),
    ("an effect that is a text", lambda made: made["expect"]["effects"].append("1 pages on node 1")),
    (
        "an effect without its check",
        lambda made: made["expect"]["effects"].append({"text": "1 pages on node 1"}),
    ),
    ("a number as id", put("id", value=7)),
    ("remarks of a case", lambda made: made.update(license="MIT", notes="n", source_url="u", tags=["t"])),
    (
        "remarks within",
        lambda made: [p.update(note="n") for p in (made["call"], made["expect"], *made["setup"])],
    ),
]
"""Odd, but there is one way to read it."""

NO_CALL = "the case has no call"
UNREAD: list[tuple[Change, str]] = [
    (put("call", value=None), NO_CALL),
    (lambda made: made.pop("call"), NO_CALL),
    (lambda made: made.update(call=[made["call"]] * 2), "the case has 2 calls, and it is not said which"),
    (put("call", value="move_pages"), '"call" must be an object with a "syscall"'),
    (put("call", "args", value=None), "the call names no pages"),
    (put("call", "args", value=[1]), '"args" of the call must be an object'),
    (put("call", "pid", value=1), "the call has ['pid'] twice"),
    (put("call", "cpu", value=1), "the call has unknown arguments ['cpu']"),
    (put("setup", value=None), "task 'A' is not made by the setup"),
    (lambda made: made["setup"].append(1), "setup[4] must be an object"),
    (lambda made: made["setup"].append({"task": "A"}), 'setup[4] must be an object with an "op"'),
    (lambda made: made["setup"].append({"op": "machine", "mem_nodes": [0]}), "more than one machine"),
    (put("expect", value=None), 'must have an "expect" or an "expect_by_version"'),
    (put("expect", value="success"), "the expectation 'success' is not understood"),
    (put("expect_by_version", value={"2.6.34": "as ever"}), "the expectation 'as ever' is not understood"),
    (put("expect_by_version", value=["2.6.34"]), '"expect_by_version" must be an object'),
    (put("expect", value={}), "the case expects nothing"),
    (put("expect", "returned", value=0), "the expectation has unknown fields ['returned']"),
    (put("expect", "effects", 0, "mapcount", value=1), "effect 'node' has unknown fields ['mapcount']"),
    (put("expect", "effects", 0, value=7), "effect 7 is not understood"),
    (put("expect", "effects", 0, value={"node": 1}), "effect None is not understood"),
    (put("valid_for", value=[["2.6.33"]]), '"valid_for" must be a list of versions'),
    (put("valid_for", value="old kernels"), "versions ['old kernels'] are not understood"),
    (put("skip_unless", value="root"), "the case has unknown fields ['skip_unless']"),
]
"""Each change with the reason that the skipped case gives."""


@pytest.mark.parametrize(("what", "change"), READ, ids=[what for what, _ in READ])
def test_what_can_mean_one_thing_only_is_read(what: str, change: Change) -> None:
    """And compared: the changed case passes, and fails when its result is turned round."""
    made = changed(change)
    verdict = run_case(made)
    assert verdict.kind == PASSED, verdict
    made["expect"]["statuses"] = [0]
    assert run_case(made).kind == FAILED


@pytest.mark.parametrize(("change", "reason"), UNREAD)
def test_what_nobody_can_read_is_skipped_with_a_reason(change: Change, reason: str) -> None:
    """The reason names the part."""
    verdict = run_case(changed(change))
    assert (verdict.kind, reason in verdict.why) == (SKIPPED, True), verdict


def test_a_difference_is_not_hidden_behind_a_field_that_nobody_reads() -> None:
    """The statuses differ: the unknown field does not make a skip of that."""
    made = changed(put("expect", "returned", value=0))
    made["expect"]["statuses"] = [0]
    assert run_case(made).kind == FAILED
    made = changed(put("expect", "ret", value="quite right"))
    made["expect"]["effects"][0]["node"] = 0
    assert run_case(made).kind == FAILED


def test_an_odd_case_costs_its_file_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither the sound case before it nor the one after it, of the same name, is left out."""
    odd = [1, {}, "text", *(changed(change) for change, _ in UNREAD)]
    path = tmp_path / "file.json"
    path.write_text(json.dumps({"cases": [SOUND, *odd, SOUND]}), encoding="utf-8")
    assert main([str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == f"2 passed, 0 failed, {len(odd)} skipped, 0 not about 2.6.34, 0 excepted"
    assert lines[0] == "skipped cases[1]: a case must be an object"
    assert len(lines) == len(odd) + 1


@pytest.mark.parametrize("version", ["2.6", "v2.6.34", "all", "2.6.33/2.6.34", "2.6.x-3.x", "up to v4.12"])
def test_a_version_is_known_however_it_is_spelled(version: str) -> None:
    """Another expectation is wrong, so that it is this one that is compared."""
    wrong = {"ret": 5}
    made = changed(put("expect_by_version", value={version: SOUND["expect"], "6.x": wrong}))
    made |= {"expect": wrong, "valid_for": ["6.x"]}
    assert run_case(made).kind == PASSED
    assert run_case(made | {"expect_by_version": {"6.x": wrong}}).kind == NOT_ABOUT


def test_what_holds_for_every_version_gives_way_to_what_holds_for_this_one() -> None:
    """However it is written, and in which order."""
    for every in ({"expect": {"ret": 5}, "valid_for": "all"}, {"expect_by_version": {"any": {"ret": 5}}}):
        made: Case = {**SOUND, "valid_for": [], **every}
        assert expectation(normal(made))["ret"] == 5
        made["expect_by_version"] = {**made.get("expect_by_version", {}), "2.6.33": {"ret": 0}}
        assert expectation(normal(made))["ret"] == 0
