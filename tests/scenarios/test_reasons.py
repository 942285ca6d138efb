"""Why pages stayed: the right culprit in cases that are easily mistaken, and calls of any size."""

from __future__ import annotations

from typing import Any

import pytest

import pagemig as pm
from pagemig.report import Report
from pagemig.scenario.stepping import Stepper

TOUCH = {"by": "app", "do": "touch", "where": "heap"}
DRAIN = {"do": "drain"}
MOVE = {"id": "move", "by": "app", "do": "move_pages", "pages": "heap", "nodes": 1}


def run(*steps: dict[str, Any], calls: list[dict[str, Any]], **parts: Any) -> Report:
    """Run calls on two touched pages of ``app``, after further steps of a setup."""
    told = {
        "title": "Two pages",
        "machine": {"nodes": ["1MiB", "1MiB"]},
        "tasks": {"app": {}, "other": {}},
        "regions": {"heap": {"task": "app", "pages": 2}},
        "setup": [TOUCH, DRAIN, *steps],
        "calls": calls,
        **parts,
    }
    return pm.Scenario(**told).run()


def stories(report: Report) -> list[tuple[str, str, tuple[str, ...]]]:
    """Page, last reason and culprits of what stayed."""
    return [(why.page, why.reasons[-1].text, why.culprits) for why in report.why_not]


HELD = "someone else held a reference to it"


def test_two_pins_are_two_culprits() -> None:
    """Both are named."""
    pins = [{"by": "app", "do": "pin", "address": "heap[0]", "name": name} for name in ("dma", "rdma")]
    report = run(*pins, calls=[MOVE])
    assert stories(report) == [("heap[0]", HELD, ("pinned: dma of app, rdma of app",))]


def test_a_pin_that_was_dropped_before_is_no_culprit() -> None:
    """Of two pins taken by calls the first is gone when the move begins."""
    calls = [
        {"id": "first", "by": "app", "do": "pin", "address": "heap[0]"},
        {"id": "drop", "do": "unpin", "pfn": "first"},
        {"id": "second", "by": "app", "do": "pin", "address": "heap[1]"},
        MOVE,
    ]
    assert stories(run(calls=calls)) == [("heap[1]", HELD, ("pinned: second of app",))]


def test_culprits_are_those_of_the_moment_at_which_the_call_ended() -> None:
    """What a later call undoes is told all the same: a pin, and a further mapping."""
    calls = [
        MOVE,
        {"id": "end", "by": "kid", "do": "exit"},
        {"id": "again", "by": "app", "do": "move_pages", "pages": "heap", "nodes": 1},
        {"id": "drop", "do": "unpin", "pfn": "dma"},
    ]
    report = run(
        {"by": "app", "do": "fork", "name": "kid"},
        {"by": "kid", "do": "pin", "address": "kid.heap[0]", "name": "dma"},
        calls=calls,
    )
    shared = "more than one entry maps it, and scope is exclusive"
    assert stories(report) == [
        ("heap[0]", shared, ("mapped by app.heap[0], kid.heap[0]",)),
        ("heap[1]", shared, ("mapped by app.heap[1], kid.heap[1]",)),
        ("heap[0]", HELD, ("pinned: dma of kid",)),
    ]


def test_a_culprit_that_comes_and_one_that_goes_between_the_passes_are_both_told() -> None:
    """The first pin is dropped and a second one taken while the move goes through its passes."""
    calls = [
        MOVE | {"pages": "heap[0]"},
        {"id": "drop", "do": "unpin", "pfn": "early"},
        {"id": "late", "by": "app", "do": "pin", "address": "heap[0]"},
    ]
    report = _interleaved(calls)
    (why,) = report.why_not
    assert (why.page, why.attempts) == ("heap[0]", 10)
    assert "pinned: late of app" in why.culprits
    assert "was pinned meanwhile: early of app" in why.culprits


def _interleaved(calls: list[dict[str, Any]]) -> Report:
    """Let the move try once, then take the second pin, then drop the first."""
    told = pm.Scenario(
        title="Two pins",
        machine={"nodes": ["1MiB", "1MiB"]},
        tasks={"app": {}},
        regions={"heap": {"task": "app", "pages": 2}},
        setup=[TOUCH, DRAIN, {"by": "app", "do": "pin", "address": "heap[0]", "name": "early"}],
        calls=calls,
        order="together",
    )
    stepper = Stepper(told.page)
    assert stepper.until("a", "UM-17")
    for letter in "cb":
        while not next(view for view in stepper.calls if view.letter == letter).came.done:
            stepper.step(letter)
    return told.run(schedule=stepper.schedule)


def test_a_refused_charge_is_blamed_on_the_group_that_pays() -> None:
    """The page that was tried and the one that was not; no other node or pagevec is blamed."""
    report = run(
        calls=[MOVE],
        memcgs={"box": {"limit": "8KiB"}},
        tasks={"app": {"memcg": "box"}},
    )
    pays = ("memcg box pays: 2 pages, a limit of 2",)
    assert [culprits for _, _, culprits in stories(report)] == [pays, pays]
    assert [why.reasons[0].label for why in report.why_not] == ["UM-5", "DP-5"]


@pytest.mark.parametrize("verb", ["move_pages", "migrate_pages"])
def test_a_full_target_names_the_page_that_found_no_frame(verb: str) -> None:
    """And says how full the node is; the page after it was not tried."""
    call = {"id": "move", "by": "hog", "do": verb, "target": "app"}
    call |= {"pages": "heap", "nodes": 1} if verb == "move_pages" else {"old_nodes": [0], "new_nodes": [1]}
    report = run(
        {"by": "hog", "do": "touch", "where": "ballast"},
        DRAIN,
        calls=[call],
        machine={"nodes": ["1MiB", "64KiB"]},
        tasks={"app": {}, "hog": {"mems_allowed": [1]}},
        regions={"heap": {"task": "app", "pages": 4}, "ballast": {"task": "hog", "pages": 14}},
    )
    full = ("node 1 has 0 of 16 frames free",)
    assert stories(report) == [
        ("heap[2]", "the target node had no frame to give", full),
        ("heap[3]", "the call ended before: ENOMEM", full),
    ]


def test_a_cpuset_that_forbids_the_node_is_named_with_the_node() -> None:
    """EACCES ends the call before any page is looked at."""
    report = run(calls=[MOVE], cpusets={"near": {"mems": [0]}}, tasks={"app": {"cpuset": "near"}})
    assert stories(report) == [
        (f"heap[{number}]", "the call ended before: EACCES", ("app may not use node 1",)) for number in (0, 1)
    ]


def test_a_page_taken_off_its_list_by_hand_is_blamed_on_the_hand() -> None:
    """-EBUSY without any pagevec."""
    report = run({"do": "isolate", "pfn": "heap[0]"}, calls=[MOVE])
    assert stories(report) == [
        ("heap[0]", "it was on no LRU list when it was looked up", ("taken off its list by hand",))
    ]


def test_a_merged_page_is_blamed_on_its_mappers_and_on_no_pagevec() -> None:
    """-ENOENT of move_pages, -EBUSY of the engine."""
    report = run(
        {"do": "ksm_scan"},
        {"do": "ksm_scan"},
        calls=[MOVE, {"id": "engine", "do": "migrate_frames", "pfns": "heap[0]", "node": 1}],
        machine={"nodes": ["1MiB", "1MiB"], "contents": True},
        regions={"heap": {"task": "app", "pages": 2, "flags": ["MERGEABLE"]}},
    )
    mapped = ("mapped by app.heap[0], app.heap[1]",)
    assert [why.status for why in report.why_not][:2] == [-2, -2]
    assert {culprits for _, _, culprits in stories(report)[:2]} == {mapped}


def test_locked_buffers_are_told_from_those_in_use() -> None:
    """A block device's page whose buffer somebody has locked."""
    report = run(
        {"do": "hold_buffer", "file": "disk", "page": 0, "lock": True},
        calls=[MOVE],
        files={"disk": {"size": "8KiB", "filesystem": "blockdev"}},
        regions={"heap": {"task": "app", "pages": 2, "file": "disk", "shared": True}},
    )
    assert report.why_not[0].culprits == ("buffer 0 locked",)


def test_a_file_that_cannot_be_moved_is_named() -> None:
    """Its method refuses (-EIO)."""
    report = run(
        calls=[MOVE],
        files={"odd": {"size": "8KiB", "filesystem": "failing"}},
        regions={"heap": {"task": "app", "pages": 2, "file": "odd", "shared": True}},
    )
    assert {culprits for _, _, culprits in stories(report)} == {("file odd",)}


@pytest.mark.parametrize("verb", ["migrate_pages", "mbind"])
def test_pages_that_are_passed_over_without_being_counted_are_told(verb: str) -> None:
    """Shared pages of an ordinary user: the call succeeds, and they stay (syscalls 5.4)."""
    call = {"id": "move", "by": "app", "do": verb}
    call |= (
        {"region": "heap", "policy": {"mode": "bind", "nodes": [1]}, "flags": ["MOVE"]}
        if verb == "mbind"
        else {"old_nodes": [0], "new_nodes": [1]}
    )
    report = run({"by": "app", "do": "fork", "name": "kid"}, calls=[call], tasks={"app": {"uid": 7}})
    assert report.calls[0].errno is None
    assert [why.page for why in report.why_not] == ["heap[0]", "heap[1]"]
    assert report.why_not[1].culprits == ("mapped by app.heap[1], kid.heap[1]",)
    assert report.why_not[1].status == -13


def test_a_region_is_named_as_its_own_task_calls_it() -> None:
    """Two programs have memory at one address; each page has the name that its owner gave."""
    place = 0x10000000
    report = run(
        {"by": "other", "do": "touch", "where": "mine"},
        DRAIN,
        {"by": "other", "do": "pin", "address": "mine[0]", "name": "dma"},
        calls=[{"id": "move", "by": "other", "do": "move_pages", "pages": "mine", "nodes": 1}],
        regions={
            "heap": {"task": "app", "pages": 2, "at": place},
            "mine": {"task": "other", "pages": 2, "at": place},
        },
    )
    assert [why.page for why in report.why_not] == ["mine[0]"]


def test_of_many_pages_those_with_the_same_story_are_told_in_one() -> None:
    """Every page that stayed is in one of the stories, whatever their number.

    Method: 3,000 pages, of which a child shares all, every tenth is pinned and the call may move shared
    ones; the pages of each story are counted against the statuses.
    """
    count = 3000
    pins = [
        {"by": "app", "do": "pin", "address": f"heap[{number}]", "name": f"p{number}"}
        for number in range(0, 300, 10)
    ]
    report = run(
        {"by": "app", "do": "fork", "name": "kid"},
        *pins,
        calls=[MOVE, MOVE | {"id": "all", "scope": "shared"}],
        machine={"nodes": ["48MiB", "48MiB"]},
        regions={"heap": {"task": "app", "pages": count}},
    )
    first = [why for why in report.why_not if why.call == "move"]
    assert [(why.page, why.pages, why.entries) for why in first] == [("heap[0:3000]", count, ((0, count),))]
    assert first[0].culprits == ("mapped by app.heap[0:3000], kid.heap[0:3000]",)
    rest = [why for why in report.why_not if why.call == "all"]
    assert [why.page for why in rest] == [f"heap[{number}]" for number in range(0, 300, 10)]
    assert rest[3].culprits == ("pinned: p30 of app",)
    table = report.table
    told = [reason for reason, status in zip(table["reason"], table["status"], strict=True) if status < 0]
    assert len(told) == count + 30
    assert all("mapped by" in reason for reason in told[:count])
    assert len(str(report)) < 20_000


def test_a_call_that_makes_more_events_than_are_kept_is_told_in_full() -> None:
    """Ten attempts at each of 20,000 pages, all held: some two million events."""
    count = 20_000
    report = pm.Scenario(
        title="All held",
        machine={"nodes": ["128MiB", "128MiB"]},
        tasks={"app": {}},
        files={"data": {"size": count * 4096, "filesystem": {"base": "ramfs", "migrate": -11}}},
        regions={"heap": {"task": "app", "pages": count, "file": "data", "shared": True}},
        setup=[TOUCH, DRAIN],
        calls=[MOVE],
    ).run()
    (why,) = report.why_not
    assert (why.page, why.pages, why.attempts) == (f"heap[0:{count}]", count, 10)
    assert report.statuses == {-11: count}
