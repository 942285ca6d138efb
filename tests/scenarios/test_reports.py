"""What a report says: results, placement, costs, and why each page stayed, with the one to blame."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest

import pagemig as pm


def why(told: dict[str, Any]) -> tuple[list[str], list[str]]:
    """The sentences and the culprits for the first page that stayed."""
    found = pm.Scenario(**told).run().why_not[0]
    return [reason.text for reason in found.reasons for _ in range(reason.times)], list(found.culprits)


def test_a_report_says_what_moved_and_what_it_cost(plain: dict[str, Any]) -> None:
    """Statuses, placement before and after, counters, ledger of cost."""
    report = pm.Scenario(**plain).run()
    assert report.ok
    assert report.statuses == {1: 4}
    assert report.calls[0].statuses == (1, 1, 1, 1)
    assert report.regions[0].before.histogram == {0: 4}
    assert report.regions[0].after.nodes == (1, 1, 1, 1)
    assert report.regions[0].moved == 4
    assert report.cost["copies"] == 4
    changed = {item.name: item.change for item in report.counters if item.node == 1}
    assert changed["nr_anon_pages"] == 4
    assert not report.why_not


def test_a_report_is_plain_data_and_can_be_kept(plain: dict[str, Any]) -> None:
    """JSON, pickle, text; the host's clock takes no part in comparisons."""
    report = pm.Scenario(**plain).run()
    data = json.loads(json.dumps(report.to_dict()))
    assert data["ok"] is True
    assert data["statuses"] == {"1": 4}
    assert pickle.loads(pickle.dumps(report)) == report == pm.Scenario(**plain).run()
    assert "4 x node 1" in str(report)


def test_a_pinned_page_is_blamed_on_who_pins_it(plain: dict[str, Any]) -> None:
    """Ten attempts, each with its reason (E4)."""
    plain["setup"].append({"by": "app", "do": "pin", "address": "heap[2]", "name": "dma"})
    found = pm.Scenario(**plain).run().why_not
    assert [(item.page, item.status) for item in found] == [("heap[2]", -11)]
    assert found[0].attempts == 10
    assert [(reason.attempt, reason.times) for reason in found[0].reasons] == [(1, 10)]
    assert {(reason.label, reason.result) for reason in found[0].reasons} == {("MM-1", -11)}
    assert found[0].culprits == ("pinned: dma of app",)


def test_a_shared_page_is_blamed_on_all_who_map_it(plain: dict[str, Any]) -> None:
    """-EACCES: the page is not even tried."""
    plain["setup"] += [{"by": "app", "do": "fork", "name": "kid"}]
    reasons, culprits = why(plain)
    assert reasons == ["more than one entry maps it, and scope is exclusive"]
    assert culprits == ["mapped by app.heap[0], kid.heap[0]"]


def test_a_dirty_page_tells_its_story_attempt_by_attempt(plain: dict[str, Any]) -> None:
    """A page of a block device with a buffer in use: written, waited for, and stuck at its buffers."""
    plain["files"] = {"disk": {"size": "4KiB", "filesystem": "blockdev"}}
    plain["regions"]["heap"] = {"task": "app", "pages": 1, "file": "disk", "shared": True}
    plain["setup"].append({"do": "hold_buffer", "file": "disk", "page": 0})
    reasons, culprits = why(plain)
    assert reasons[0] == "it was dirty and had to be written to disk first"
    assert reasons[1:3] == ["it was being written back, and an early pass does not wait"] * 2
    assert reasons[3:] == ["its buffers are in use and could not be dropped"] * 7
    assert culprits == ["buffer 0 in use"]


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([], "nothing is there: it was never touched"),
        ([{"by": "app", "do": "touch", "where": "heap", "write": False}], "the zero page is there"),
        (
            [
                {"by": "app", "do": "touch", "where": "heap"},
                {"by": "app", "do": "swap_out", "address": "heap"},
            ],
            "it is swapped out",
        ),
    ],
)
def test_what_is_not_there_is_told_apart(plain: dict[str, Any], steps: list[Any], words: str) -> None:
    """-ENOENT has many causes."""
    plain["machine"]["swap"] = "1MiB"
    plain["setup"] = steps
    assert why(plain)[0][0].startswith(words)


def test_a_page_in_a_pagevec_is_blamed_on_the_cpu_that_has_it() -> None:
    """-EBUSY: nothing drains between the chunks of one call (Q07)."""
    told = {
        "title": "A page twice, in two chunks",
        "machine": {"nodes": ["2MiB", "2MiB", "2MiB"], "cpus": 1},
        "tasks": {"app": {}},
        "regions": {"heap": {"task": "app", "pages": 169}},
        "setup": [{"by": "app", "do": "touch", "where": "heap"}, {"do": "drain"}],
        "calls": [
            {
                "id": "move",
                "by": "app",
                "do": "move_pages",
                "pages": ["heap", "heap[168]"],
                "nodes": [1] * 169 + [2],
                "expect": {"statuses": {"1": 169, "-EBUSY": 1}},
            }
        ],
    }
    report = pm.Scenario(**told).run()
    assert report.ok, str(report)
    found = report.why_not[0]
    assert (found.page, found.entry, found.status) == ("heap[168]", 169, -16)
    assert found.reasons[0].text == "it was on no LRU list when it was looked up"
    assert found.culprits == ("it waits in the pagevec of CPU 0 for the list active-anon",)


def test_a_call_that_ends_early_says_so_for_every_page(plain: dict[str, Any]) -> None:
    """ENODEV for a node without memory: nothing was tried."""
    plain["calls"][0]["nodes"] = 9
    report = pm.Scenario(**plain).run()
    assert report.calls[0].errno == "ENODEV"
    assert report.calls[0].letter is None


def test_a_full_target_is_told_with_the_pages_that_found_no_frame(plain: dict[str, Any]) -> None:
    """ENOMEM: one page moved, one was tried in vain, two were not tried (S40)."""
    plain["machine"]["nodes"] = ["1MiB", "4KiB"]
    report = pm.Scenario(**plain).run()
    assert report.calls[0].errno == "ENOMEM"
    assert [item.page for item in report.why_not] == ["heap[1]", "heap[2]", "heap[3]"]
    assert report.why_not[0].reasons[0].text == "the target node had no frame to give"
    assert report.why_not[2].reasons[0].text == "the call ended before: ENOMEM"
    assert report.why_not[2].culprits == ("node 1 has 0 of 1 frames free",)


def test_an_expectation_that_fails_says_what_there_was(plain: dict[str, Any]) -> None:
    """The place in the scenario, what was expected, and what was found."""
    plain["calls"][0]["expect"] = {"statuses": 0}
    plain["expect"] = {"pages": [{"page": "heap[1:3]", "node": 0, "flags": ["!DIRTY"]}]}
    report = pm.Scenario(**plain).run()
    assert not report.ok
    assert [str(item) for item in report.failed] == [
        "calls[0].expect.statuses: expected node 0 for every page, found 4 x node 1",
        "expect.pages[0].node: expected heap[1:3]: 0, found page 0 of heap[1:3]: node 1 (and 1 more)",
        "expect.pages[0].flags: expected heap[1:3]: !DIRTY, found page 0 of heap[1:3]: "
        "UPTODATE DIRTY SWAPBACKED (and 1 more)",
    ]


def test_every_kind_of_expectation_can_fail(plain: dict[str, Any]) -> None:
    """Goal: none of them holds whatever happens. Method: expect the wrong of each."""
    plain["machine"]["contents"] = True
    plain["memcgs"] = {"group": {}}
    plain["files"] = {"data": {"size": "4KiB"}}
    plain["tasks"]["app"] = {"memcg": "group"}
    wrong: dict[str, Any] = {"page": "heap[0]", "entry": "swap", "writable": False, "dirty": True}
    wrong |= {"accessed": True, "count": 9, "mapcount": 9, "lru": "none", "moved": False}
    plain["calls"].append(
        {"id": "touch", "by": "app", "do": "touch", "where": "heap", "expect": {"minor": 9}}
    )
    plain["calls"][0]["expect"] = {"errno": "EPERM"}
    plain["setup"].append({"do": "drain"})
    plain["calls"].append({"id": "settle", "do": "drain", "expect": {"done": False}})
    plain["calls"].append(
        {"id": "free", "do": "reclaim", "node": 0, "expect": {"result": 9, "out_of_memory": True}}
    )
    plain["expect"] = {
        "pages": [wrong],
        "frames": [{"frame": "data[0]", "node": 0}],
        "counters": [{"name": "nr_anon_pages", "value": 9, "change": 9}],
        "bytes": [{"at": "heap", "text": "x"}],
        "tasks": [{"task": "app", "rss": 9, "alive": False}],
        "memcgs": [{"memcg": "group", "usage": 9}],
        "findings": ["I-20"],
        "deadlock": True,
    }
    report = pm.Scenario(**plain).run()
    held = [str(item) for item in report.expectations if item.holds]
    # After the touch the page is dirty and accessed through its entry, which is what was expected.
    assert held == [
        "expect.pages[0].dirty: heap[0]: True, as expected",
        "expect.pages[0].accessed: heap[0]: True, as expected",
    ]
    assert len(report.failed) == 20


def test_calls_at_once_follow_a_schedule_and_report_the_one_they_made(plain: dict[str, Any]) -> None:
    """The schedule of a report gives the same report again."""
    plain["order"] = "together"
    plain["calls"].append({"id": "touch", "by": "app", "do": "touch", "where": "heap"})
    told = pm.Scenario(**plain)
    report = told.run(schedule="9a2b3a")
    assert report.schedule.startswith("9a2b")
    assert told.run(schedule=report.schedule) == report
    assert [call.letter for call in report.calls] == ["a", "b"]
    with pytest.raises(pm.UsageError, match="'z'"):
        told.run(schedule="1z")


def test_a_disk_that_never_answers_is_a_deadlock_and_not_a_hang() -> None:
    """S31: the report says so; without the expectation it is a finding."""
    told = pm.Scenario.load("dead-disk")
    report = told.run()
    assert report.ok
    assert report.deadlock is not None
    assert report.calls[0].waiting_for is not None
    surprised = told.changed(expect=None).run()
    assert not surprised.ok
    assert surprised.findings[0].startswith("deadlock:")


def two_tasks(order: str) -> dict[str, Any]:
    """Two tasks with a region each, at the same addresses, and a child of one of them."""
    return {
        "title": "Two tasks",
        "machine": {"nodes": ["1MiB", "1MiB"]},
        "tasks": {"app": {}, "other": {}},
        "regions": {"mine": {"task": "app", "pages": 2}, "theirs": {"task": "other", "pages": 2}},
        "setup": [
            {"by": "app", "do": "touch", "where": "mine"},
            {"by": "other", "do": "touch", "where": "theirs"},
            {"by": "other", "do": "fork", "name": "kid"},
            {"by": "kid", "do": "mmap", "name": "late", "pages": 1},
            {"by": "other", "do": "mmap", "name": "later", "pages": 1},
        ],
        "order": order,
        "calls": [{"id": "move", "by": "app", "do": "move_pages", "pages": "mine", "nodes": 1}],
    }


@pytest.mark.parametrize("order", ["sequence", "together"])
def test_a_region_is_shown_for_its_task_and_children_and_for_no_one_else_at_the_same_addresses(
    order: str,
) -> None:
    """Addresses of tasks coincide; what a task has is its own, and what it was forked with."""
    report = pm.Scenario(**two_tasks(order)).run()
    assert [(region.task, region.name, region.moved) for region in report.regions] == [
        ("app", "mine", 2),
        ("other", "theirs", 0),
        ("kid", "theirs", 0),
        ("kid", "late", 0),
        ("other", "later", 0),
    ]


def test_a_page_is_blamed_on_those_who_map_it_by_the_names_they_have_for_it() -> None:
    """-EACCES for a page of `other` and its child, whose addresses are those of a region of `app`, too."""
    told = two_tasks("sequence")
    told["calls"] = [{"id": "move", "by": "other", "do": "move_pages", "pages": "theirs", "nodes": 1}]
    found = pm.Scenario(**told).run().why_not[0]
    assert found.page == "theirs[0]"
    assert found.culprits == ("mapped by other.theirs[0], kid.theirs[0]",)
