"""What a case sets up and calls, in other spellings than those of the cases we have.

Goal: what can mean one thing only is understood, and means that. Method: in each test the statuses, or
the errno, tell what the words came to; the same words with another expectation fail.
"""

from __future__ import annotations

from typing import Any

import pytest

import pagemig as pm

from . import addressing, words
from .form import Skipped
from .runner import FAILED, PASSED, SKIPPED, Verdict, run_case
from .test_adapter import ROOT, USER, area, case, touched

Step = dict[str, Any]
BOUND: Step = {"op": "mbind", "task": "A", "region": "r", "mode": "MPOL_BIND", "nodes": [0]}
FOUR = [ROOT, area(pages=4), BOUND, touched()]


def asked(setup: list[Step], statuses: list[object], pages: object = "r+0..r+3", **args: Any) -> Verdict:
    """Ask where pages are, or move them."""
    given = {"pid": 0, "pages": pages, "nodes": None, "status": "array", "flags": 2, **args}
    call = {"task": "A", "syscall": "move_pages", "args": given}
    return run_case(case(setup, call, ret=0, statuses=statuses))


def refused(syscall: str, code: str, setup: list[Step] | None = None, **args: Any) -> Verdict:
    """A call that fails."""
    call = {"task": "A", "syscall": syscall, "args": args}
    return run_case(case([ROOT, area(), touched()] if setup is None else setup, call, ret=-1, errno=code))


@pytest.mark.parametrize(
    "pages",
    ["r[0:4]", "r[:]", "all of r", "every page of r", "r+0, r+1, r+2 and r+3", "r+0..3", ["r[:2]", "r[2:]"]],
)
def test_the_pages_of_a_region_are_named_in_many_ways(pages: object) -> None:
    """All four are meant."""
    assert asked(FOUR, [1] * 4, pages, nodes="all 1").kind == PASSED
    assert asked(FOUR, [1] * 3, pages, nodes="all 1").kind == FAILED


def test_a_region_by_itself_is_a_page_only_if_it_has_one() -> None:
    """Of more pages it could mean the first or all; for ``mbind`` it is where the region begins."""
    verdict = asked(FOUR, [1], "r", nodes=[1])
    assert (verdict.kind, "which are meant" in verdict.why) == (SKIPPED, True)
    assert asked([ROOT, area(), touched()], [1], "r", nodes=[1]).kind == PASSED
    args = {"addr": "r", "len": "page", "mode": "bind", "nodemask": "1"}
    effects = [
        {"check": "policy", "where": f"r+{page}", "mode": mode, "nodes": nodes}
        for page, mode, nodes in ((0, "MPOL_BIND", [1]), (1, "MPOL_DEFAULT", []))
    ]
    made = case([ROOT, area(pages=2)], {"syscall": "mbind", "args": args}, ret=0, effects=effects)
    assert run_case(made).kind == PASSED


@pytest.mark.parametrize("word", ["r+3..r+0", "r[2:9]", "r[]", "q[0]", "r+0+1", "r..", "r[1:1]"])
def test_pages_that_are_nowhere_are_not_understood(word: str) -> None:
    """A run backwards is not an empty one."""
    with pytest.raises(Skipped):
        addressing.addresses(word, {"r": pm.Region(1, 0x10000, 0x4000)})


@pytest.mark.parametrize("word", ["q+1", "4", "all but the last 2", "3..1", "first 9", True])
def test_pages_that_the_region_has_not_are_not_understood(word: object) -> None:
    """Nor are those of another region."""
    with pytest.raises(Skipped):
        addressing.page_numbers(word, 4, "r")


@pytest.mark.parametrize(
    ("word", "nodes"),
    [
        ("0,1,0,1", [0, 1, 0, 1]),
        ("i % 2", [0, 1, 0, 1]),
        ("i mod 2", [0, 1, 0, 1]),
        ("alternating 1 and 0", [1, 0, 1, 0]),
        ("cycling over 0, 1", [0, 1, 0, 1]),
        ("last node", [1] * 4),
        ("the other node", [1] * 4),
        ("node 1", [1] * 4),
        ("cycling", [0, 1, 0, 1]),
    ],
)
def test_a_node_array_is_told_in_many_ways(word: str, nodes: list[object]) -> None:
    """Each page is where it was sent."""
    assert asked(FOUR, nodes, nodes=word).kind == PASSED
    assert asked(FOUR, [0, 0, 1, 1], nodes=word).kind == FAILED


@pytest.mark.parametrize("word", ["cycling backwards", "0,1", "alternating", "i % x"])
def test_nodes_that_may_mean_two_things_are_not_guessed(word: str) -> None:
    """``alternating`` alone is known: the other node of each page."""
    kind = PASSED if word == "alternating" else SKIPPED
    assert asked(FOUR, [1] * 4, nodes=word).kind == kind


@pytest.mark.parametrize(
    ("syscall", "args"),
    [
        ("move_pages", {"pages": ["r+0"], "nodes": [1], "flags": ["MPOL_MF_LAZY"]}),
        (
            "mbind",
            {"addr": "r+0", "len": 4096, "mode": "MPOL_BIND", "nodemask": [0], "flags": "MPOL_MF_LAZY"},
        ),
        ("mbind", {"addr": "r+0", "len": 4096, "mode": "MPOL_LOCAL"}),
        ("mbind", {"addr": "r+0", "len": 4096, "mode": "MPOL_PREFERRED_MANY", "nodemask": [0, 1]}),
        ("set_mempolicy", {"mode": "MPOL_BIND|MPOL_F_NUMA_BALANCING", "nodemask": [0]}),
        ("set_mempolicy", {"mode": "MPOL_BIND", "nodemask": [0], "maxnode": "ULONG_MAX"}),
        ("migrate_pages", {"old": "0", "new": "1", "maxnode": "max+2"}),
    ],
)
def test_what_came_later_is_refused_by_this_version(syscall: str, args: Step) -> None:
    """EINVAL: flags and modes of later versions are numbers out of range, such masks too long."""
    assert refused(syscall, "EINVAL", **args).kind == PASSED
    assert refused(syscall, "EPERM", **args).kind == FAILED


@pytest.mark.parametrize("maxnode", ["possible", "possible+1", "max", "max+1", "PAGE_SIZE*8+1", "max_node+2"])
@pytest.mark.parametrize("old", ["0", "0-1", "0,1", "{0}", "all", "bit 0"])
def test_node_masks_and_their_lengths_are_told_in_many_ways(maxnode: str, old: str) -> None:
    """The page leaves node 0; an empty mask moves nothing, and a number could be a node or the mask."""
    for mask, node, kind in ((old, 1, PASSED), (old, 0, FAILED), ("none", 0, PASSED), ("0x1", 1, SKIPPED)):
        args = {"pid": "self", "maxnode": maxnode, "old": mask, "new": [1]}
        effects = [{"check": "node", "page": "r+0", "node": node}]
        made = case(
            [ROOT, area(), BOUND, touched()], {"syscall": "migrate_pages", "args": args}, effects=effects
        )
        assert run_case(made).kind == kind


def test_a_task_that_has_exited_is_nobody() -> None:
    """ESRCH for its pid, whichever call names it (syscalls 3.1, 5.2)."""
    setup = [
        ROOT,
        area(),
        touched(),
        {"op": "fork", "parent": "A", "child": "B"},
        {"op": "exit", "task": "B"},
    ]
    assert refused("move_pages", "ESRCH", setup, pid="B", pages=["r+0"], nodes=[1]).kind == PASSED
    assert refused("migrate_pages", "ESRCH", setup, pid="B", old=[0], new=[1]).kind == PASSED
    assert refused("migrate_pages", "ESRCH", setup[:-1], pid="B", old=[0], new=[1]).kind == FAILED


@pytest.mark.parametrize(
    ("caps", "status"),
    [
        (["CAP_SYS_ADMIN", "CAP_SYS_NICE"], 1),
        ("all", 1),
        ("CAP_SYS_NICE", 1),
        ("none", "EPERM"),
        (["CAP_SYS_ADMIN", "CAP_IPC_LOCK"], "EPERM"),
        (["CAP_SYS_NCE"], None),
    ],
)
def test_only_one_capability_counts_but_all_are_known(caps: object, status: object) -> None:
    """A misspelt one is not taken for another."""
    setup = [{**ROOT, "caps": caps, "gid": 5}, area(), touched()]
    args: Step = {"pages": ["r+0"], "nodes": [1], "flags": "MOVE_ALL"}
    if status == 1:
        assert asked(setup, [1], **args).kind == PASSED
    else:
        assert refused("move_pages", "EPERM", setup, **args).kind == (PASSED if status else SKIPPED)


def step(op: str, **fields: Any) -> Step:
    """A step of task A."""
    return {"op": op, "task": "A", **fields}


GONE = "-ENOENT"
STEPS: list[tuple[list[Step], list[object]]] = [
    ([area(pages=4, locked="MAP_LOCKED")], [0] * 4),
    ([area(pages=4, populate=True)], [0] * 4),
    ([area(pages=4, populate=False)], [GONE] * 4),
    ([area(pages=4, fill="page index")], [0] * 4),
    ([step("mmap", region="r", size="16 KiB"), step("write", region="r", pages="even")], [0, GONE, 0, GONE]),
    ([area(pages=4), step("write", page="r+1", value=5)], [GONE, 0, GONE, GONE]),
    ([area(pages=4), step("read", region="r")], [GONE] * 4),
    ([area(pages=4), touched(pages="last 2")], [GONE, GONE, 0, 0]),
    ([area(pages=4), touched(region="r[1:3]")], [GONE, 0, 0, GONE]),
    ([area(pages=4), touched(), step("munmap", region="r", pages=[1, 3])], [0, GONE, 0, GONE]),
    ([area(pages=4), {**BOUND, "region": "r[2:4]", "nodes": [1]}, touched()], [0, 0, 1, 1]),
    ([area(pages=4), {**BOUND, "pages": "0, 2..3", "nodes": [1]}, touched()], [1, 0, 1, 1]),
    ([area(pages=4), step("mbind", region="r", mode="bind", nodemask=[1]), touched()], [1] * 4),
    (
        [step("set_mempolicy", mode="MPOL_BIND|MPOL_F_STATIC_NODES", nodes=[1]), area(pages=4), touched()],
        [1] * 4,
    ),
    ([area(pages=4), touched(), step("madvise", region="r[0]", advice="MADV_DONTNEED")], [GONE, 0, 0, 0]),
    ([step("sched_setaffinity", cpus=[1]), area(pages=4), touched()], [1] * 4),
    ([area(pages=4), touched(), step("swap_out", region="r[2:4]")], [0, 0, GONE, GONE]),
]


@pytest.mark.parametrize(("steps", "statuses"), STEPS)
def test_a_step_is_told_in_many_ways(steps: list[Step], statuses: list[object]) -> None:
    """Where the pages are afterwards tells what was done."""
    assert asked([USER, *steps], statuses).kind == PASSED
    assert asked([USER, *steps], [7, *statuses[1:]]).kind == FAILED


def test_what_was_pinned_or_isolated_is_let_go_again() -> None:
    """Until then it stays where it is (syscalls 3.3)."""
    for take, back, status in (("pin", "unpin", "-EAGAIN"), ("isolate_from_lru", "putback", "-EBUSY")):
        taken = [*FOUR, step(take, pages="r+0..r+3")]
        assert asked(taken, [status] * 4, nodes="all 1").kind == PASSED
        assert asked([*taken, step(back, region="r")], [1] * 4, nodes="all 1").kind == PASSED
        assert asked([*FOUR, step(back, page="r+0")], [1] * 4, nodes="all 1").kind == SKIPPED


def test_capabilities_and_users_change_on_the_way() -> None:
    """Without CAP_SYS_NICE, MOVE_ALL is refused."""
    args: Step = {"pages": ["r+0"], "nodes": [1], "flags": "MOVE_ALL"}
    for change in (
        step("capset", caps=[]),
        step("drop_caps"),
        step("seteuid", uid="nobody"),
        step("setuid", uid=0, euid=1000),
    ):
        assert refused("move_pages", "EPERM", [*FOUR, change], **args).kind == PASSED
    assert refused("move_pages", "EPERM", [*FOUR, step("capset", caps="all")], **args).kind == FAILED


def test_merged_pages_are_taken_apart_and_others_become_such() -> None:
    """A merged page is passed over (syscalls 3.3); run 2 of ksm undoes the merging."""
    filled = area(pages=2, fill=7)
    merge: list[Step] = [step("madvise", region="r", advice="MADV_MERGEABLE"), {"op": "ksm_full_scan"}]
    assert asked([ROOT, filled, *merge], [GONE] * 2, "r[:]", nodes="all 1").kind == PASSED
    apart: Step = {"op": "ksm", "run": 2}
    assert asked([ROOT, filled, *merge, apart], [1] * 2, "r[:]", nodes="all 1").kind == PASSED


def test_a_call_that_is_repeated_is_compared_each_time() -> None:
    """A positive result of the first call would fail it."""
    call: Step = {"syscall": "migrate_pages", "args": {"old": [0], "new": [1], "repeat": 3}}
    assert run_case(case(FOUR, call, ret="0 every time")).kind == PASSED
    assert run_case(case([*FOUR, step("pin", page="r+0")], call, ret=0)).kind == FAILED
    assert (
        run_case(case(FOUR, {**call, "args": {**call["args"], "then": [{"syscall": "mbind"}]}}, ret=0)).kind
        == SKIPPED
    )
    assert asked(FOUR, [0, 1] * 2, nodes="alternating 0 and 1", repeat=2).kind == SKIPPED


def test_a_machine_is_told_in_many_ways() -> None:
    """How many nodes there are, swap, distances; what would not fit into the host is not built."""
    moving: Step = {"pages": ["r+0"], "nodes": [2]}
    for fields in ({"mem_nodes": 3}, {"mem_nodes": "0-2"}, {"mem_nodes": 3, "swap": True}):
        assert asked([{"op": "machine", **fields}, *FOUR], [2], **moving).kind == PASSED
    far = [[10, 40, 20], [40, 10, 20], [20, 20, 10]]
    assert asked([{"op": "machine", "mem_nodes": 3, "distance": far}, *FOUR], [2], **moving).kind == PASSED
    for fields in ({"mem_nodes": 1 << 40}, {"mem_nodes": ["many"]}, {"speed": 1}):
        assert asked([{"op": "machine", **fields}, *FOUR], [2], **moving).kind == SKIPPED
    assert asked([ROOT, area(pages=1 << 40)], [2], **moving).kind == SKIPPED


def test_cpusets_are_told_in_many_ways() -> None:
    """Parents by name, all nodes, files with a prefix, and cpusets that are gone."""
    made: list[Step] = [
        {"op": "cpuset", "name": "p", "mems": "all"},
        {"op": "cpuset", "name": "c", "parent": "p", "mems": "1"},
    ]
    attach: Step = {"op": "cpuset_attach", "cpuset": "c", "task": "A"}
    args = {"cpuset": "p", "file": "cpuset.mems", "value": "0"}
    assert refused("cpuset_write", "EBUSY", [ROOT, *made], **args).kind == PASSED
    assert asked([ROOT, *made, attach, area(pages=4), touched()], [1] * 4).kind == PASSED
    gone: Step = {"op": "cpuset_rmdir", "cpuset": "c"}
    assert asked([ROOT, *made, attach, gone, area(pages=4), touched()], [1] * 4).kind == FAILED
    effects = [{"check": "cpuset_file", "cpuset": "p", "file": "cpuset.memory_migrate", "value": "1"}]
    args |= {"file": "cpuset.memory_migrate", "value": "1"}
    assert (
        run_case(case([ROOT, *made], {"syscall": "cpuset_write", "args": args}, effects=effects)).kind
        == PASSED
    )
    assert (
        run_case(case([ROOT, *made, gone, gone], {"syscall": "cpuset_write", "args": args}, ret=0)).kind
        == SKIPPED
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [("ULONG_MAX", 2**64 - 1), ("ULONG_MAX - 16384", 2**64 - 16385), ("1 << 63", 2**63), ("-0x10", -16)],
)
def test_numbers_may_be_constants_with_little_arithmetic(text: str, value: int) -> None:
    """A leading zero could mean octal: that is not guessed."""
    assert words.number(text, "number") == value
    assert words.size("4 kB", "length") == words.size("page", "length") == 4096
    for word in ("010", "0-3", "1 + ", "MAX", None):
        with pytest.raises((Skipped, ValueError)):
            words.number(word, "number")


@pytest.mark.parametrize(
    "odd",
    [
        area(mergeable="odd"),
        area(fill=1000),
        area(locked="a little"),
        area(at=1 << 70),
        touched(pages=[0, None]),
        step("mlock", region="r", pages=[]),
        step("pin", page=[]),
        step("setuid", uid=5, drops_caps="some"),
        {"op": "cpuset", "name": "c", "memory_migrate": -1},
        {"op": "cpuset", "name": "c", "parent": ""},
    ],
)
def test_a_step_with_a_word_that_makes_no_sense_is_not_performed_half(odd: Step) -> None:
    """The word was taken for yes, for its lowest byte, for all pages or for none."""
    setup = [ROOT, area(pages=4), touched(), {**odd, "region": "q"} if odd["op"] == "mmap" else odd]
    assert asked(setup, [0] * 4).kind == SKIPPED


def test_a_case_for_each_node_says_so_in_the_one_way_that_is_known() -> None:
    """Any other word there was taken for it."""
    for word, kind in (("n", PASSED), (0, SKIPPED)):
        args = {"mode": "MPOL_BIND", "nodemask": ["n"], "for_each_node": word}
        effects = [{"check": "task_policy", "mode": "MPOL_BIND", "nodes": [0, 1]}]
        made = case([ROOT], {"syscall": "set_mempolicy", "args": args}, ret=0)
        assert run_case(made).kind == kind
        if kind == PASSED:
            assert run_case(case([ROOT], made["call"], effects=effects)).kind == FAILED


def test_what_comes_after_a_call_is_done_or_the_case_is_skipped() -> None:
    """Words after a call of the setup, beside a sequence or within a fork were passed over."""
    moving: Step = {"op": "call", "syscall": "move_pages", "pages": ["r+0"], "nodes": [1], "flags": 2}
    assert asked([*FOUR, moving], [1, 0, 0, 0]).kind == PASSED
    for more in ({"then": ["touch all"]}, {"repeat": 2}):
        assert asked([*FOUR, {**moving, **more}], [1, 0, 0, 0]).kind == SKIPPED
    cpuset: Step = {"op": "cpuset", "name": "c", "mems": "0"}
    sequence = {"seq": ["attach A to c"]}
    fork: Step = {"op": "fork", "parent": "A", "child": "B"}
    policy = {"mode": "MPOL_BIND", "nodemask": [1]}
    for syscall, right, wrong in (
        ("cpuset_attach", sequence, {**sequence, "task": "A"}),
        ("set_mempolicy", {**policy, "then": [fork]}, {**policy, "then": [{**fork, "uid": 5}]}),
    ):
        for args, kind in ((right, PASSED), (wrong, SKIPPED)):
            call = {"task": "A", "syscall": syscall, "args": args}
            assert run_case(case([ROOT, cpuset], call, ret=0)).kind == kind
