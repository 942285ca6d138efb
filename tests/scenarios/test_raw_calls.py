"""System calls with the kernel's own arguments, in a scenario."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import pagemig as pm

RAW = {"id": "raw", "by": "app", "do": "raw_move_pages", "pages": "heap", "nodes": 1}


def outcome(plain: dict[str, Any], **arguments: Any) -> Any:
    """What a raw move_pages of four touched pages comes to."""
    return pm.Scenario(**plain | {"calls": [RAW | arguments]}).run().calls[0]


def test_a_raw_call_writes_statuses_as_far_as_it_gets(plain: dict[str, Any]) -> None:
    """All; none without an array (the pages have moved all the same); none for a count of 0 (Q28)."""
    assert outcome(plain).statuses == (1, 1, 1, 1)
    unwritten = outcome(plain, status=False)
    assert (unwritten.errno, unwritten.statuses) == ("EFAULT", ())
    assert outcome(plain, count=0).statuses == ()
    assert outcome(plain, flags=0).statuses == (1, 1, 1, 1)


def test_only_the_low_half_of_flags_counts(plain: dict[str, Any]) -> None:
    """Syscalls 3.1."""
    assert outcome(plain, flags=(1 << 32) + 2).statuses == (1, 1, 1, 1)
    assert outcome(plain, flags=1).errno == "EINVAL"


def test_a_mask_of_two_words_may_have_no_bit_in_the_second(plain: dict[str, Any]) -> None:
    """Syscalls 5.1: only its valid bits are looked at."""
    call = {"id": "raw", "by": "app", "do": "raw_migrate_pages", "old_nodes": [1, 2], "new_nodes": [2, 2]}
    for maxnode, errno in ((65, None), (66, None), (67, "EINVAL")):
        report = pm.Scenario(**plain | {"calls": [call | {"maxnode": maxnode}]}).run()
        assert report.calls[0].errno == errno
        assert report.regions[0].moved == (0 if errno else 4)


def test_a_raw_call_may_fail_with_any_errno_and_the_report_says_which(plain: dict[str, Any]) -> None:
    """EPERM with flags that are numbers, EINVAL with a null pointer for a mask (syscalls 1, 5.1 and 6.1)."""
    plain["tasks"]["other"] = {"uid": 5}
    other = {"id": "raw", "by": "other"}
    for call, errno in (
        (RAW | other | {"target": "app"}, "EPERM"),
        (RAW | other | {"target": 1, "pages": 4096}, "EPERM"),
        (RAW | other | {"flags": 4, "pages": 4096}, "EPERM"),
        (
            other | {"do": "raw_mbind", "start": 4096, "length": 4096, "mode": 2, "nodes": [2], "flags": 4},
            "EPERM",
        ),
        (other | {"do": "raw_migrate_pages", "old_nodes": [1], "maxnode": 32770}, "EINVAL"),
        (other | {"do": "raw_migrate_pages", "target": "app", "old_nodes": [1], "new_nodes": [2]}, "EPERM"),
    ):
        report = pm.Scenario(**plain | {"calls": [call]}).run()
        assert report.calls[0].errno == errno, call
        assert {why.reasons[0].text for why in report.why_not} <= {f"the call ended before: {errno}"}, call


@pytest.mark.parametrize(
    ("raw", "verb"),
    [
        (RAW, {"do": "move_pages", "pages": "heap", "nodes": 1}),
        (
            {"id": "raw", "by": "app", "do": "raw_migrate_pages", "old_nodes": [1], "new_nodes": [2]},
            {"do": "migrate_pages", "old_nodes": [0], "new_nodes": [1]},
        ),
        (
            {
                "id": "raw",
                "by": "app",
                "do": "raw_mbind",
                "start": "heap",
                "length": 4 * 4096,
                "mode": 2,
                "nodes": [2],
                "flags": 2,
            },
            {"do": "mbind", "region": "heap", "policy": {"mode": "bind", "nodes": [1]}, "flags": ["MOVE"]},
        ),
    ],
)
@pytest.mark.parametrize("uid", [0, 7])
def test_a_raw_call_tells_of_the_pages_that_stayed_what_its_verb_tells(
    plain: dict[str, Any], raw: dict[str, Any], verb: dict[str, Any], uid: int
) -> None:
    """One page is pinned, and one has a copy in a child, as the caller may or may not move."""
    plain["tasks"]["app"] = {"uid": uid}
    plain["setup"] += [
        {"by": "app", "do": "fork", "name": "kid"},
        {"by": "app", "do": "touch", "where": "heap[0:3]"},
        {"by": "app", "do": "pin", "address": "heap[1]", "name": "dma"},
        {"do": "drain"},
    ]
    told = []
    for call in (raw, {"id": "raw", "by": "app"} | verb):
        report = pm.Scenario(**plain | {"calls": [call]}).run()
        told.append((report.why_not, report.calls[0].asked, report.regions))
    assert told[0] == told[1]
    assert {"heap[1]"} <= {why.page for why in told[0][0]} <= {"heap[1]", "heap[3]"}


def test_raw_calls_are_for_calls_one_after_the_other(
    plain: dict[str, Any], mistakes: Callable[[dict[str, Any]], list[str]]
) -> None:
    """They have no steps that could be interleaved; and a register has 64 bits."""
    wrong = plain | {"calls": [RAW | {"flags": -1, "count": 1 << 64}]}
    assert [line.split(":")[0] for line in mistakes(wrong)] == ["calls[0].count", "calls[0].flags"]
    at_once = plain | {"calls": [RAW], "order": "together"}
    assert mistakes(at_once) == [
        "calls[0].do: a raw system call runs at once; it is for calls one after the other"
    ]


def test_a_raw_call_in_a_setup_must_go_well(plain: dict[str, Any]) -> None:
    """As every step of a setup."""
    step = {key: value for key, value in RAW.items() if key != "id"}
    plain["setup"].append(step)
    assert pm.Scenario(**plain).run().regions[0].before.histogram == {1: 4}
    plain["setup"].append(step | {"flags": 8})
    with pytest.raises(pm.UsageError, match=r"setup\[3\]: move_pages: .*Invalid argument"):
        pm.Scenario(**plain).run()


def test_a_target_that_has_ended_is_no_task_any_more(plain: dict[str, Any]) -> None:
    """ESRCH, by every call; who has ended himself cannot call, and is named."""
    ends = {"id": "end", "by": "app", "do": "exit"}
    for call in (
        {"do": "move_pages", "pages": "heap", "nodes": 1},
        {"do": "raw_move_pages", "pages": "heap", "nodes": 1},
        {"do": "migrate_pages", "old_nodes": [0], "new_nodes": [1]},
    ):
        late = {"id": "late", "by": "other", "target": "app", **call}
        report = pm.Scenario(**plain | {"calls": [ends, late]}).run()
        assert report.calls[1].errno == "ESRCH"
    with pytest.raises(pm.UsageError, match=r"calls\[1\]\.by: task 'app' has ended before"):
        pm.Scenario(**plain | {"calls": [ends, RAW]})
