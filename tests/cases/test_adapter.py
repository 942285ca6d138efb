"""The adapter of external cases by itself: what it understands, and what it leaves alone.

Goal: other files of the same form come out right. Method: cases of our own, and the external ones
with one word changed: an expectation that is turned round must fail, and a word that makes no
sense must become a verdict, whatever it is and wherever it stands.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

import pagemig as pm

from . import threads, words
from .areas import filesystem
from .form import Skipped, load
from .runner import FAILED, PASSED, SKIPPED, run_case
from .steps import perform
from .world import build

CASES = {case["id"]: case for case in load(Path(__file__).parent / "cases.json")}
Step = dict[str, Any]

ROOT: Step = {"op": "task", "id": "A", "uid": 0, "caps": ["CAP_SYS_NICE"]}
USER: Step = {"op": "task", "id": "A", "uid": 1000, "caps": []}


def area(**fields: Any) -> Step:
    """A step that maps one page of task A as region r."""
    return {"op": "mmap", "task": "A", "region": "r", "pages": 1, "prot": "rw", **fields}


def touched(task: str = "A", **fields: Any) -> Step:
    """A step in which a task writes to region r."""
    return {"op": "touch", "task": task, "region": "r", "pages": "all", "access": "write", **fields}


def case(setup: list[Step], call: Step, **expect: Any) -> dict[str, Any]:
    """A case that holds for this version."""
    return {"id": "ours", "setup": setup, "call": call, "expect": expect, "valid_for": ["2.6.33"]}


def moved(status: object, setup: list[Step], flags: str = "MPOL_MF_MOVE") -> dict[str, Any]:
    """A case in which the first page of region r is to be moved to node 1."""
    args = {"pid": 0, "pages": ["r+0"], "nodes": [1], "status": "array", "flags": [flags]}
    return case(setup, {"task": "A", "syscall": "move_pages", "args": args}, ret=0, statuses=[status])


def changed(name: str, path: list[Any], value: object) -> dict[str, Any]:
    """An external case with one word changed."""
    copied: dict[str, Any] = copy.deepcopy(CASES[name])
    place = copied
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    return copied


FIRST = ["expect", "effects", 0]
TURNED: list[tuple[str, list[Any], object]] = [
    ("LTP-MP11", [*FIRST, "node"], 1),
    ("LTP-MP11", ["expect", "errno"], "EACCES"),
    ("LTP-SM03-preferred", [*FIRST, "text"], "all 15 pages on node n"),
    ("LTP-SM03-preferred", [*FIRST, "text"], "all 16 pages on node 0"),
    ("LTP-SM04", ["call", "args", "mode"], "MPOL_BIND"),
    ("LTP-CM02", [*FIRST, "node"], 1),
    ("LTP-CM03", ["setup", 2, "mems"], [1]),
    ("LTP-CM10", [*FIRST, "node"], 0),
    ("LTP-CM10", ["setup", 8, "memory_migrate"], 0),
    ("LTP-CM15", [*FIRST, "text"], "a was on 1"),
    ("LTP-CM15", ["expect", "effects", 1, "node"], 0),
    ("LTP-CM17", ["expect", "effects", 1, "text"], "b was on 0"),
    ("LTP-CM17", ["expect", "effects", 2, "node"], 1),
    ("LTP-CB-0", [*FIRST, "value"], 1),
    ("LTP-CB-0", ["call", "args", "value"], "1"),
    ("LTP-CB--1", ["call", "args", "value"], "1"),
    ("LTP-CB-A", ["expect", "errno"], "EACCES"),
    ("LTP-CI", [*FIRST, "value"], 1),
    ("LTP-KSM06-across", [*FIRST, "value"], 2),
    ("LTP-KSM06-across", ["expect", "effects", 1, "value"], "100*N"),
    ("LTP-KSM06-across", ["title"], "99 equal pages per node"),
    ("KST-RMAP-ksm", ["expect_by_version", "2.6.33", "statuses"], ["target"]),
    ("KST-RMAP-ksm", ["expect_by_version", "2.6.33", "effects", 0, "check"], "frame_changed"),
    ("KST-RMAP-ksm-query", ["expect_by_version", "2.6.33", "statuses"], [0]),
    ("KST-RMAP-ksm-query", ["setup", 2, "mergeable"], False),
    ("NC-MGP8-root", [*FIRST, "node"], 0),
    ("NC-MGP8-root", ["setup", 1, "caps"], []),
    ("NC-SHM-policy", ["call", "args", "seq", 2], "preferred 0 at 6 MiB len 2 MiB"),
    (
        "NC-SHM-policy",
        [*FIRST, "text"],
        "interleave range alternates nodes by page, bind/preferred range on node 0",
    ),
    ("MAN-MP-einval-page", ["setup", 2, "fs", "migratepage"], True),
    ("MAN-MP-einval-page", ["setup", 2, "fs", "writepage"], True),
    ("MAN-MP-swapped", ["expect", "statuses"], [1]),
    ("MAN-CS-second", ["expect", "effects", 1, "node"], 8),
    ("MAN-CS-notold", ["expect", "effects", 1, "node"], 1),
    ("MAN-CS-notold", ["setup", 3, "memory_migrate"], 0),
    ("KST-MIG-shared_anon", ["call", "args", "flags"], ["MPOL_MF_MOVE"]),
    ("KST-RMAP-shm", ["expect", "statuses"], ["-EACCES"]),
    ("KST-RMAP-shm", ["call", "args", "flags"], ["MPOL_MF_MOVE"]),
    ("DOC-flags", ["expect", "statuses"], [0]),
]


@pytest.mark.parametrize(("name", "path", "value"), TURNED)
def test_a_case_that_is_turned_round_fails(name: str, path: list[Any], value: object) -> None:
    """Goal: no case passes by itself. Method: change one word of what it sets up, does or expects."""
    assert run_case(CASES[name]).kind == PASSED
    verdict = run_case(changed(name, path, value))
    assert verdict.kind == FAILED, verdict


ODD: list[Any] = [None, "odd", -1, [], {"a": 1}, 1 << 70]


def places(found: dict[str, Any]) -> list[list[Any]]:
    """Where the words of a case stand, without those that make it a case at all."""
    spots = [["setup", at, key] for at, step in enumerate(found["setup"]) for key in step if key != "op"]
    spots += [["call", "task"], *(["call", "args", key] for key in found["call"].get("args", {}))]
    effects = found["expect"].get("effects", [])
    spots += [
        ["expect", "effects", at, key] for at, one in enumerate(effects) for key in one if key != "check"
    ]
    return [*spots, ["expect", "ret"], ["expect", "errno"], ["expect", "statuses"]]


def test_a_word_that_makes_no_sense_becomes_a_verdict_and_never_an_error() -> None:
    """Method: put odd words into each field of each step, call and effect, once for each of its kinds."""
    seen: set[tuple[str, ...]] = set()
    kinds = set()
    for name, found in CASES.items():
        for path in places(found):
            within = found["setup"][path[1]]["op"] if path[0] == "setup" else found["call"]["syscall"]
            if (spot := (path[0], within, path[-1])) in seen or "fork_tree" in json.dumps(found):
                continue
            seen.add(spot)
            for odd in ODD:
                kinds.add(run_case({**changed(name, path, odd), "valid_for": ["2.6.33"]}).kind)
    assert kinds >= {PASSED, FAILED, SKIPPED}


@pytest.mark.parametrize(
    ("properties", "status"),
    [
        ("ext", 1),
        ("blockdev", 1),
        ("readonly", "-EINVAL"),
        ("failing", "-EIO"),
        ({"migratepage": True}, 1),
        ({"migratepage": "buffer_migrate_page"}, 1),
        ({"migratepage": "fail_migrate_page"}, "-EIO"),
        ({"migratepage": "ENOSPC"}, "-ENOSPC"),
        ({"migratepage": None, "writepage": True}, 1),
        ({"migratepage": None, "writepage": "-EROFS"}, "-EIO"),
        ({"migratepage": None, "writepage": "AOP_WRITEPAGE_ACTIVATE"}, "-EAGAIN"),
        ({"migratepage": None, "writepage": "io error"}, 1),
    ],
)
def test_a_filesystem_is_what_its_properties_say(properties: object, status: object) -> None:
    """Method: move a dirty page of such a file (migration 8 to 12)."""
    mapped = area(kind="file", share="shared", fs=properties)
    verdict = run_case(moved(status, [ROOT, mapped, touched()]))
    assert verdict.kind == PASSED, verdict


@pytest.mark.parametrize(
    "word", ["odd", 1, None, {"readpage": 1}, {"writepage": "odd"}, {"migratepage": 0.5}]
)
def test_a_filesystem_that_nobody_knows_is_refused(word: object) -> None:
    """It is named."""
    with pytest.raises(Skipped, match="is not understood"):
        filesystem(word)


@pytest.mark.parametrize("kind", ["hugetlb", "io", "pfnmap"])
def test_areas_that_cannot_be_migrated_are_refused(kind: str) -> None:
    """Section 3.3 of syscalls: -EFAULT, before anything is looked up."""
    assert run_case(moved("-EFAULT", [ROOT, area(kind=kind)])).kind == PASSED


@pytest.mark.parametrize("kind", ["shm", "sysv_shm", "devzero", "tmpfs", "anon"])
def test_segments_are_shared_with_children(kind: str) -> None:
    """Shared by two, a page needs MPOL_MF_MOVE_ALL (syscalls 3.3)."""
    fork = {"op": "fork", "parent": "A", "child": "B"}
    setup = [ROOT, area(kind=kind, share="shared"), touched(), fork, touched("B")]
    assert run_case(moved("-EACCES", setup)).kind == PASSED
    assert run_case(moved(1, setup, "MPOL_MF_MOVE_ALL")).kind == PASSED


def test_threads_see_what_one_of_them_writes_and_unmap_together() -> None:
    """The model gives each task its own memory; threads share segments, page by page."""
    thread = {"op": "thread", "task": "A", "thread": "T"}
    made = case([USER, thread, area(pages=4), touched("T", value=7)], {"syscall": "x"}, ret=0)
    world = build(made)
    for step in made["setup"]:
        perform(world, step)
    first, second = world.task("A"), world.task("T")
    region = world.region("A", "r")
    assert (second.uid, second.capabilities) == (1000, pm.Capability.NONE)
    assert first.read(region.start, 1) == second.read(region.start, 1) == b"\7"
    assert [first.page_at(page.start) == second.page_at(page.start) for page in region] == [True] * 4
    threads.unmap(world, "T", world.region("T", "r"))
    assert [first.page_at(region.start), second.page_at(region.start)] == [None, None]
    assert world.machine.audit() == []


def test_a_thread_that_comes_late_has_what_is_there() -> None:
    """Its table has the pages that the first thread had touched."""
    setup = [ROOT, area(pages=2), touched(value=3), {"op": "thread", "task": "A", "thread": "T"}]
    args = {"pid": 0, "pages": ["r+0", "r+1"], "nodes": [1, 1], "status": "array", "flags": 4}
    effects = [
        {"check": "same_frame", "of": [["A", "r+1"], ["T", "r+1"]]},
        {"check": "byte", "task": "T", "page": "r+1", "value": 3},
    ]
    call = {"task": "T", "syscall": "move_pages", "args": args}
    assert run_case(case(setup, call, ret=0, statuses=[1, 1], effects=effects)).kind == PASSED


@pytest.mark.parametrize(
    "call",
    [
        {"syscall": "move_pages", "args": {"pages": ["r+0"], "nodes": [1], "flags": 2}},
        {
            "syscall": "mbind",
            "args": {"addr": "r+0", "len": 4096, "mode": "MPOL_BIND", "nodemask": [1], "flags": 2},
        },
        {"syscall": "migrate_pages", "args": {"pid": 0, "old": [0], "new": [1]}},
    ],
)
def test_threads_are_not_run_where_sharing_would_show(call: Step) -> None:
    """Pages of threads are mapped by each of them here: a call that leaves shared pages alone is skipped."""
    setup = [USER, {"op": "thread", "task": "A", "thread": "T"}, area(), touched()]
    verdict = run_case(case(setup, {"task": "A", **call}, ret=0))
    assert (verdict.kind, "pages of threads are shared" in verdict.why) == (SKIPPED, True)


@pytest.mark.parametrize(
    ("file", "value", "result"),
    [
        ("mems", "1", "0"),
        ("mems", "0-1", "0"),
        ("mems", "5", "EINVAL"),
        ("mems", "", "ENOSPC"),
        ("memory_migrate", "1", "0"),
        ("memory_migrate", "0x1", "0"),
        ("memory_migrate", "1.5", "EINVAL"),
        ("tasks", "A", "0"),
    ],
)
def test_files_of_a_cpuset_are_written_as_a_shell_would(file: str, value: str, result: str) -> None:
    """Refusals are those of supporting-paths 18; text that is no number is one, too."""
    setup = [
        ROOT,
        {"op": "cpuset", "name": "c", "mems": "0"},
        {"op": "cpuset_attach", "cpuset": "c", "task": "A"},
    ]
    call = {"task": "A", "syscall": "cpuset_write", "args": {"cpuset": "c", "file": file, "value": value}}
    code = {"ret": 0} if result == "0" else {"ret": -1, "errno": result}
    effects: list[Step] = []
    if file != "tasks" and result == "0":
        reads = words.id_list(value, "nodes") if file == "mems" else 1
        effects.append({"check": "cpuset_file", "file": f"c {file}", "value": reads})
    assert run_case(case(setup, call, effects=effects, **code)).kind == PASSED


def test_a_cpuset_within_another_obeys_it() -> None:
    """A node that is not its parent's: EACCES; a parent cannot lose what a child has: EBUSY."""
    setup = [
        ROOT,
        {"op": "cpuset", "name": "p", "mems": [0]},
        {"op": "cpuset", "name": "p/c", "mems": [0], "cpus": "1"},
        {"op": "cpuset_attach", "cpuset": "p/c", "task": "A"},
    ]
    for path, code in (("p/c", "EACCES"), ("p", "EBUSY"), ("/", "EACCES")):
        call = {"task": "A", "syscall": "cpuset_set_mems", "args": {"cpuset": path, "mems": [1]}}
        verdict = run_case(case(setup, call, ret=-1, errno=code))
        assert verdict.kind == PASSED, verdict


def test_swap_takes_a_page_that_is_pinned_only_after_it_is_free() -> None:
    """A page that cannot be swapped out is a setup that failed, not one that is passed over."""
    pin = {"op": "pin", "task": "A", "page": "r+0"}
    swap = {"op": "swap_out", "task": "A", "page": "r+0"}
    assert run_case(moved("-ENOENT", [ROOT, area(), touched(), swap])).kind == PASSED
    verdict = run_case(moved("-ENOENT", [ROOT, area(), touched(), pin, swap]))
    assert (verdict.kind, verdict.why) == (FAILED, "setup: 0 of 1 pages of r+0 were swapped out")


@pytest.mark.parametrize(
    ("flags", "kind"),
    [
        (["Referenced"], PASSED),
        (["Active", "Referenced", "Checked"], PASSED),
        (["PG_mapped-to-disk", "Up-to-date", "Unevictable"], PASSED),
        (["Slab"], SKIPPED),
        (["Shiny"], SKIPPED),
    ],
)
def test_flags_that_a_page_can_be_given_travel(flags: list[str], kind: str) -> None:
    """MC-2 to MC-6; what nobody can give to a page is a reason to skip."""
    text = "the new page has them, the old page has none and is freed"
    setup = [ROOT, area(kind="file", share="shared"), touched()]
    setup.append({"op": "set_flags", "page": "r+0", "flags": flags})
    made = moved(1, setup)
    made["expect"]["effects"] = [{"check": "text", "text": text}]
    verdict = run_case(made)
    assert verdict.kind == kind, verdict
