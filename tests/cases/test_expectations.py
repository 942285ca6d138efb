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


TOLD = [
    ("r+0 is on node 1", "r+0 is on node 0"),
    ("page r+0 is on node 1, r+1 on node 0", "r+0 is on node 1 and r+1 on node 1"),
    ("the page is on node 1", "the page stays on node 1"),
    ("contents unchanged", "the page does not move"),
    ("The content is preserved.", "nothing moves"),
    ("all pages on node 1", "all pages on node 0"),
    ("query says 1", "query: all 0"),
    ("page remains writable", "no status is written"),
    ("1 page is on node 1", "2 pages are on node 1"),
    (
        "old node one page fewer, new node one more, isolated counters back to zero",
        "old node two pages fewer, new node two more, isolated counters back to zero",
    ),
]


@pytest.mark.parametrize(("right", "wrong"), TOLD)
def test_a_sentence_about_pages_is_compared(right: str, wrong: str) -> None:
    """One page goes from node 0 to node 1."""
    assert moving({"effects": [right]}).kind == PASSED
    assert moving({"effects": [wrong]}).kind == FAILED


def test_a_page_that_stays_is_said_to_stay() -> None:
    """It is asked to go where it is: its list may be another then, its frame is not."""
    staying: Step = {"nodes": [0]}
    for text in ("the page does not move", "no page moves", "nothing is moved", "the page stays on node 0"):
        assert moving({"effects": [text]}, **staying).kind == PASSED
        assert moving({"effects": [text]}).kind == FAILED


@pytest.mark.parametrize(
    "text", ["both pages on node 1", "the page moves", "r+0 and q+0 are on node 1", "ok"]
)
def test_a_sentence_about_other_pages_is_skipped(text: str) -> None:
    """Both of one page, a page without a name among many, one that is nowhere."""
    assert moving({"effects": [text]}).kind == SKIPPED


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ({"check": "nodes", "pages": ["r+0", "r+1"], "nodes": [1, 0]}, {"nodes": [0, 1]}),
        ({"check": "node", "pages": ["r+0", "r+1"], "node": [1, 0]}, {"node": [1, 2]}),
        ({"check": "counter", "name": "NR_ANON_PAGES", "value": 2}, {"value": 1}),
        ({"check": "counter", "name": "nr_anon_pages", "node": 1, "delta": 1}, {"delta": 0}),
        ({"check": "counter", "name": "nr_anon_pages", "change": 0}, {"change": 1}),
        ({"check": "byte", "pages": "r[:]", "value": "page index"}, {"value": 0}),
        ({"check": "same_frame", "of": ["r+0", "r+0"]}, {"of": ["r+0", "r+1"]}),
        ({"check": "vma_count", "region": "r", "value": 1}, {"value": 2}),
        ({"check": "vma_pages", "region": "r", "sizes": [2]}, {"sizes": [1, 1]}),
    ],
)
def test_an_effect_is_compared_in_other_spellings(right: Step, wrong: Step) -> None:
    """One of two pages goes to node 1; each begins with its number."""
    args = {"pid": 0, "pages": ["r+0"], "nodes": [1], "status": "array", "flags": 2}
    call = {"task": "A", "syscall": "move_pages", "args": args}
    setup = [ROOT, area(pages=2), touched(value="page index")]
    assert run_case(case(setup, call, effects=[right])).kind == PASSED
    assert run_case(case(setup, call, effects=[{**right, **wrong}])).kind == FAILED


def test_nodes_that_could_be_for_one_page_each_or_for_all_are_not_guessed() -> None:
    """``node: [0, 1]`` of two pages: all that are allowed, or where each one is."""
    for nodes, kind in (([1, 0], PASSED), ([0, 1], SKIPPED), ([2, 3], FAILED), ([0, 1, 2], PASSED)):
        effect = {"check": "node", "pages": ["r+0", "r+1"], "node": nodes}
        assert moving({"effects": [effect]}).kind == kind


def test_the_node_that_get_mempolicy_returns_is_compared() -> None:
    """With MPOL_F_NODE and MPOL_F_ADDR the mode is a node (syscalls 6.5)."""
    args = {"mode": "ptr", "maxnode": 0, "addr": "r+0", "flags": "MPOL_F_NODE|MPOL_F_ADDR"}
    setup = [
        ROOT,
        area(),
        {"op": "mbind", "task": "A", "region": "r", "mode": "BIND", "nodes": "1"},
        touched(),
    ]
    for node, kind in ((1, PASSED), (0, FAILED)):
        effects = [{"check": "returned_node", "node": node}]
        call = {"syscall": "get_mempolicy", "args": args}
        assert run_case(case(setup, call, ret=0, effects=effects)).kind == kind


def test_a_call_of_the_setup_returns_what_it_should() -> None:
    """0 if nothing is said; a check in words is one, too."""
    refused = {"op": "call", "syscall": "move_pages", "pages": ["r+0"], "nodes": [9], "flags": 2}
    right: list[Step] = [
        {**refused, "expect": {"ret": -1, "errno": "ENODEV"}},
        {**refused, "nodes": [1]},
        {"op": "check", "text": "r+0 is on node 1"},
    ]
    wrong: list[Step] = [
        {**refused, "expect": {"ret": -1, "errno": "EPERM"}},
        refused,
        {"op": "check", "text": "r+0 is on node 0"},
    ]
    call = {"task": "A", "syscall": "move_pages", "args": {"pages": ["r+0"], "nodes": None}}
    setup = [ROOT, area(), touched()]
    assert run_case(case([*setup, *right], call, statuses=[1])).kind == PASSED
    for at, step in enumerate(wrong):
        assert run_case(case([*setup, *right[:at], step], call, ret=0)).kind == FAILED
    odd = {**refused, "expect": {"statuses": [1]}}
    assert run_case(case([*setup, odd], call, ret=0)).kind == SKIPPED
