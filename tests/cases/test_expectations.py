"""What a case expects, in other spellings than those of the cases we have.

Goal: each spelling is compared, not passed over. Method: for each one what is true, which passes, and
the same spelling with what is false, which fails; what may mean two things is skipped.
"""

from __future__ import annotations

from typing import Any

import pytest

from .runner import FAILED, PASSED, SKIPPED, Verdict, run_case
from .test_adapter import ROOT, area, case, touched

Step = dict[str, Any]

OTHER = ["EPERM", "EINVAL"]


def moving(expect: Step, **args: Any) -> Verdict:
    """Move the first of two pages to node 1."""
    given = {"pid": 0, "pages": ["r+0"], "nodes": [1], "status": "array", "flags": 2, **args}
    call = {"task": "A", "syscall": "move_pages", "args": given}
    return run_case(case([ROOT, area(pages=2), touched()], call, **expect))


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("ESRCH/EPERM", "EINVAL/EPERM"),
        ("ESRCH or EPERM", "EINVAL or EPERM"),
        ("ESRCH, EPERM", "EINVAL, EPERM"),
        (["ESRCH", "EPERM"], OTHER),
        ("-ESRCH", "-EPERM"),
        (3, 1),
        ("3", 0),
        ("ESRCH|EPERM", "none"),
    ],
)
def test_an_errno_is_one_of_those_that_are_named(right: object, wrong: object) -> None:
    """The pid names nobody: ESRCH (syscalls 3.1)."""
    assert moving({"ret": -1, "errno": right}, pid="unused").kind == PASSED
    assert moving({"ret": -1, "errno": wrong}, pid="unused").kind == FAILED


@pytest.mark.parametrize("word", ["EFOO", "ESRCH or so", True, 5000, {"name": "ESRCH"}])
def test_an_errno_that_does_not_exist_is_no_expectation(word: object) -> None:
    """It is skipped, not failed."""
    assert moving({"ret": -1, "errno": word}, pid="unused").kind == SKIPPED


def test_no_errno_is_expected_as_zero_or_in_words() -> None:
    """And is not there when a call fails."""
    for none in (0, "0", "none"):
        assert moving({"ret": 0, "errno": none}).kind == PASSED
        assert moving({"errno": none}, pid="unused").kind == FAILED


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ([0, 1], [1, 2]),
        ("0", "1"),
        (">= 0", "> 0"),
        ("0 or 1", "1 or 2"),
        ("non-negative", "positive"),
        ("0 or -1", "negative"),
        (0.0, 1.0),
        ("<= 0", "-EPERM"),
        ("== 0 every time", "-1 every time"),
    ],
)
def test_a_result_is_one_of_those_that_are_named(right: object, wrong: object) -> None:
    """The call returns 0."""
    assert moving({"ret": right}).kind == PASSED
    assert moving({"ret": wrong}).kind == FAILED


def test_a_result_may_be_written_as_the_kernel_returns_it() -> None:
    """A negative errno, by name or by number; -1 stands for every failure."""
    for right in ("-ESRCH", -3, -1, [0, "-ESRCH"]):
        assert moving({"ret": right}, pid="unused").kind == PASSED
    for wrong in ("-EPERM", -22, 0, [0, "-EPERM"]):
        assert moving({"ret": wrong}, pid="unused").kind == FAILED
    for unread in ("about 0", False, {"is": 0}):
        assert moving({"ret": unread}).kind == SKIPPED


def test_an_errno_counts_only_where_the_call_may_and_does_fail() -> None:
    """``0 or -1``: it is that of the failure; 0 with an errno contradicts itself."""
    both = {"ret": "0 or -1", "errno": "ESRCH"}
    assert [moving(both).kind, moving(both, pid="unused").kind] == [PASSED, PASSED]
    assert moving(both, nodes=[9]).kind == FAILED
    assert moving({"ret": 0, "errno": "ESRCH"}).kind == FAILED


def test_statuses_that_nobody_wrote_hold_what_the_case_put_there() -> None:
    """Whatever number that is."""
    failing: Step = {"status": "array init 7", "nodes": [9]}
    expect = {"ret": -1, "errno": "ENODEV"}
    for statuses in ([7], ["unwritten"], [], "untouched", ["node 7"]):
        assert moving({**expect, "statuses": statuses}, **failing).kind == PASSED
    assert moving({**expect, "statuses": [99]}, **failing).kind == FAILED
    told = {"effects": [{"check": "text", "text": "statuses untouched"}]}
    assert moving({**expect, **told}, **failing).kind == PASSED
    assert moving(told, status="array init 7").kind == FAILED


@pytest.mark.parametrize("nodes", [[0, 1], [1, 0], "0-1", "0,1", "all", "{0, 1}"])
def test_the_nodes_of_a_policy_are_a_set_however_it_is_written(nodes: object) -> None:
    """Another set fails, and the nodes of no policy need not be named."""
    setup = [ROOT, area(pages=2)]
    for policy, kind in (([0, 1], PASSED), ([1], FAILED)):
        args = {"addr": "r+0", "len": "2 pages", "mode": "MPOL_BIND", "nodemask": policy, "flags": 0}
        effect = {"check": "policy", "task": "A", "where": "r+0", "mode": "MPOL_BIND", "nodes": nodes}
        assert run_case(case(setup, {"syscall": "mbind", "args": args}, effects=[effect])).kind == kind
        of_none = {"check": "policy", "task": "A", "where": "r+0", "mode": "MPOL_DEFAULT"}
        assert run_case(case(setup, {"syscall": "mbind", "args": args}, effects=[of_none])).kind == FAILED
        other = {"check": "task_policy", "mode": "MPOL_DEFAULT"}
        assert run_case(case(setup, {"syscall": "mbind", "args": args}, effects=[other])).kind == PASSED


@pytest.mark.parametrize("place", ["zone", "node"])
def test_a_counter_of_a_node_is_not_that_of_the_machine(place: str) -> None:
    """One of the two pages is there."""
    counter = {"check": "counter", "name": "nr_anon_pages", place: 1}
    assert moving({"effects": [{**counter, "value": 1}]}).kind == PASSED
    assert moving({"effects": [{**counter, "value": 2}]}).kind == FAILED
    assert moving({"effects": [{**counter, "value": 1, "zone": 1, "node": 0}]}).kind == SKIPPED


def test_pages_are_counted_once_and_none_on_a_node_may_be_said() -> None:
    """A page named twice is one page; ``0 on node 0`` says what ``0 elsewhere`` does."""
    twice: Step = {"pages": ["r+0", "r+0"], "nodes": [1, 1]}
    for count, kind in ((1, PASSED), (2, FAILED)):
        told = [{"check": "text", "text": f"{count} pages on node 1"}]
        assert moving({"effects": told}, **twice).kind == kind
    args = {"mode": "MPOL_INTERLEAVE", "nodemask": [1], "then": ["touch 8 anonymous pages"]}
    for count, kind in ((8, PASSED), (7, FAILED)):
        told = [{"check": "text", "text": f"{count} pages on node 1, 0 on node 0, 0 elsewhere"}]
        call = {"syscall": "set_mempolicy", "args": args}
        assert run_case(case([ROOT], call, effects=told)).kind == kind


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("A", "EINVAL"),
        ("-1", "EINVAL"),
        ("1-0", "EINVAL"),
        ("0-", "EINVAL"),
        ("0-99", "EINVAL"),
        ("0 1", None),
    ],
)
def test_what_is_no_list_of_nodes_is_refused_by_the_file_of_a_cpuset(value: str, code: str | None) -> None:
    """As what is no number is by memory_migrate; the root refuses everything (supporting-paths 18)."""
    setup = [ROOT, {"op": "cpuset", "name": "c", "mems": "0"}]
    for path, errno in (("c", code), ("/", code and "EACCES")):
        args = {"cpuset": path, "file": "mems", "value": value}
        made = case(setup, {"task": "A", "syscall": "cpuset_write", "args": args}, ret=-1, errno=errno)
        assert run_case(made).kind == (PASSED if code else SKIPPED)
    assert (
        run_case(case([ROOT, {"op": "cpuset", "name": "c", "mems": "1-0"}], {"syscall": "x"})).kind == SKIPPED
    )


def test_a_cpuset_that_is_left_without_cpus_takes_no_task() -> None:
    """ENOSPC (supporting-paths 18); one of which nothing is said has some."""
    call = {"task": "A", "syscall": "cpuset_attach", "args": {"cpuset": "c"}}
    for cpus, expect in (("", {"ret": -1, "errno": "ENOSPC"}), ("0", {"ret": 0}), (None, {"ret": 0})):
        setup = [ROOT, {"op": "cpuset", "name": "c", "mems": "0", "cpus": cpus}]
        assert run_case(case(setup, call, **expect)).kind == PASSED
