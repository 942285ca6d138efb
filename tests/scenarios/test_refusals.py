"""Frames that a call could not take off their lists, and offlinings refused as a whole: why, and by whom."""

from __future__ import annotations

from typing import Any

import pytest

import pagemig as pm
from pagemig.report import Report

BY_HAND = {"do": "isolate", "pfn": "heap[1]"}
OFFLINE = {"id": "away", "do": "offline", "node": 1}
NO_LIST = "it was on no LRU list when it was looked up"


def run(*steps: dict[str, Any], calls: list[dict[str, Any]], **parts: Any) -> Report:
    """Run calls on four pages of node 1, after further steps of a setup."""
    told = {
        "title": "Four pages",
        "machine": {"nodes": ["2MiB", "2MiB"]},
        "tasks": {"app": {"cpu": 1}},
        "regions": {"heap": {"task": "app", "pages": 4}},
        "setup": [{"by": "app", "do": "touch", "where": "heap"}, {"do": "drain"}, *steps],
        "calls": calls,
        **parts,
    }
    return pm.Scenario(**told).run()


def stories(report: Report) -> list[tuple[str, int, str | None, str, tuple[str, ...]]]:
    """Page, status, step, last reason and culprits of what stayed."""
    return [
        (why.page, why.status, why.reasons[-1].label, why.reasons[-1].text, why.culprits)
        for why in report.why_not
    ]


def test_a_frame_that_the_engine_could_not_take_is_told_with_who_has_it() -> None:
    """Its status has a story, a row among the pages of the call, and a line of the trace (MF-isolate)."""
    report = run(BY_HAND, calls=[{"id": "go", "do": "migrate_frames", "pfns": "heap", "node": 0}])
    assert report.calls[0].statuses == (0, -16, 0, 0)
    assert stories(report) == [("app.heap[1]", -16, "MF-isolate", NO_LIST, ("taken off its list by hand",))]
    asked = report.calls[0].asked
    assert asked is not None
    assert sorted(asked.statuses) == [-16, 0, 0, 0]
    assert report.why_not[0].entries == ((asked.statuses.index(-16), asked.statuses.index(-16) + 1),)
    assert any("taken off its list by hand" in reason for reason in report.table["reason"])


def test_a_free_frame_and_the_pages_of_another_call_are_told_apart() -> None:
    """Nothing is in the one; the others are on their way already."""
    free = run(calls=[{"id": "go", "do": "migrate_frames", "pfns": [3, "heap[0]"], "node": 0}])
    assert stories(free) == [("frame 3", -16, "MF-isolate", "no page is in it: the frame is free", ())]
    calls = [
        {"id": "first", "by": "app", "do": "move_pages", "pages": "heap[0]", "nodes": 0},
        {"id": "second", "do": "migrate_frames", "pfns": "heap[0]", "node": 0},
    ]
    taken = run(calls=calls, order="together", schedule="6a")
    ((_, status, _, text, culprits),) = stories(taken)
    assert (status, text, culprits) == (-16, NO_LIST, ("first had taken it off its list",))


def test_a_node_with_a_page_that_cannot_be_taken_does_not_go_offline() -> None:
    """EBUSY after five rounds (syscalls 7, step 5d): the page, who has it, and what stayed for its sake."""
    report = run(BY_HAND, calls=[OFFLINE])
    assert report.calls[0].errno == "EBUSY"
    own = ("app.heap[1]", -16, "SY7-5d", NO_LIST, ("taken off its list by hand",))
    rest = ("app.heap[1] could not be taken off a list",)
    assert own in stories(report)
    others = [story for story in stories(report) if story != own]
    assert [page for page, *_ in others] == ["app.heap[0]", "app.heap[2]", "app.heap[3]"]
    assert {culprits for *_, culprits in others} == {rest}


ALL_BY_HAND = [{"do": "isolate", "pfn": f"heap[{number}]"} for number in range(4)]
WHOLE = "frames 512 to 1023"
REFUSED: list[tuple[list[dict[str, Any]], dict[str, Any], str, tuple[str, int, str, str, str]]] = [
    (
        ALL_BY_HAND,
        OFFLINE,
        "EBUSY",
        (WHOLE, -16, "SY7-7", "a frame of it is still in use", "app.heap[3]: taken off its list by hand"),
    ),
    (
        [OFFLINE | {"by": "app"}],
        OFFLINE,
        "EBUSY",
        (WHOLE, -16, "SY7-2", "not all of its pageblocks", "the block at frame 512 is offline"),
    ),
    (
        [],
        {"id": "away", "do": "offline", "first_pfn": 1, "count": 512},
        "EINVAL",
        ("frames 1 to 512", -22, "SY7-1", "only whole pageblocks", "pageblocks of node 0 begin at frame 0"),
    ),
    (
        [{"by": "app", "do": "set_task", "signal": True}],
        OFFLINE | {"by": "app"},
        "EINTR",
        (WHOLE, -4, "SY7-4", "a signal was pending", "app has one to handle"),
    ),
]


@pytest.mark.parametrize(("steps", "call", "errno", "told"), REFUSED)
def test_an_offlining_that_is_refused_as_a_whole_says_why(
    steps: list[dict[str, Any]],
    call: dict[str, Any],
    errno: str,
    told: tuple[str, int, str, str, str],
) -> None:
    """No page was tried: the frames, the step of syscalls 7 that refused them, and what was in its way."""
    setup = [{key: value for key, value in step.items() if key != "id"} for step in steps]
    report = run(*setup, calls=[call])
    assert report.calls[0].errno == errno
    ((page, status, label, text, culprits),) = stories(report)
    assert (page, status, label) == told[:3]
    assert text.startswith(told[3])
    assert told[4] in culprits
    assert told[4] in str(report)


def test_a_soft_offlining_of_a_page_on_no_list_says_who_has_it() -> None:
    """EIO (syscalls 8): the page cannot be shaken onto a list."""
    report = run(BY_HAND, calls=[{"id": "away", "do": "soft_offline", "pfn": "heap[1]"}])
    assert report.calls[0].errno == "EIO"
    ((page, status, _, text, culprits),) = stories(report)
    assert (page, status, text, culprits) == ("app.heap[1]", -5, NO_LIST, ("taken off its list by hand",))


def test_what_could_not_be_taken_is_in_the_trace() -> None:
    """An event of its own, with the frame and the errno."""
    machine = pm.Machine(nodes=[pm.MiB, pm.MiB])
    machine.record()
    result = machine.migrate_pages([5], pm.ToNode(1))
    assert result.statuses.tolist() == [-16]
    assert [(row.pfn, row.value) for row in machine.trace if row.event == "refuse"] == [(5, -16)]
