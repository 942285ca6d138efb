"""Which pages a report says have stayed: all of those that did, no other, and under whose names."""

from __future__ import annotations

from typing import Any

import pytest

import pagemig as pm
from pagemig.report import Report

DRAIN = {"do": "drain"}
FORK = {"by": "app", "do": "fork", "name": "kid"}
USER = {"app": {"uid": 1000}}


def touch(*regions: str, by: str = "app") -> list[dict[str, Any]]:
    """Touch regions and put their pages on their lists."""
    return [*({"by": by, "do": "touch", "where": name} for name in regions), DRAIN]


def pin(address: str, by: str = "app") -> dict[str, Any]:
    """Pin a page under a name."""
    return {"by": by, "do": "pin", "address": address, "name": "dma"}


def move(pages: str = "heap", **more: Any) -> dict[str, Any]:
    """Move pages to node 1."""
    return {"id": "move", "by": "app", "do": "move_pages", "pages": pages, "nodes": 1, **more}


def migrate(old: list[int], new: list[int], **more: Any) -> dict[str, Any]:
    """Move all pages of a task."""
    return {"id": "move", "by": "app", "do": "migrate_pages", "old_nodes": old, "new_nodes": new, **more}


def run(setup: list[dict[str, Any]], *calls: dict[str, Any], pages: int = 1, **parts: Any) -> Report:
    """Run calls on a machine of three nodes with a task that has a heap."""
    told = {
        "title": "Who stayed",
        "machine": {"nodes": ["1MiB"] * 3},
        "tasks": {"app": {}},
        "regions": {"heap": {"task": "app", "pages": pages}},
        "setup": setup,
        "calls": list(calls),
        **parts,
    }
    return pm.Scenario(**told).run()


def stayed(report: Report) -> list[tuple[str, int]]:
    """Pages and statuses."""
    return [(why.page, why.status) for why in report.why_not]


def test_migrate_pages_wants_pages_elsewhere_that_are_on_a_node_to_which_others_go() -> None:
    """Syscalls 5.3: {0, 1} to {1, 2} sends what is on node 1 to node 2."""
    to_one = {"by": "app", "do": "set_mempolicy", "policy": {"mode": "bind", "nodes": [1]}}
    regions = {name: {"task": "app", "pages": 1} for name in "ab"}
    setup = [*touch("a"), to_one, *touch("b"), FORK]
    report = run(setup, migrate([0, 1], [1, 2]), tasks=USER, regions=regions)
    assert stayed(report) == [("a[0]", -13), ("b[0]", -13)]
    assert stayed(run(setup, migrate([0, 1], [0, 1]), tasks=USER, regions=regions)) == []


@pytest.mark.parametrize("policy", [{"mode": "default"}, {"mode": "preferred"}])
def test_mbind_without_nodes_wants_every_page(policy: dict[str, Any]) -> None:
    """Syscalls 6.3: with an empty mask every page is outside it."""
    bind = {"id": "bind", "by": "app", "do": "mbind", "region": "heap", "policy": policy, "flags": ["MOVE"]}
    assert stayed(run([*touch("heap"), FORK], bind, tasks=USER)) == [("heap[0]", -13)]


def test_mbind_that_fails_for_pages_that_stayed_tells_all_of_them() -> None:
    """EIO, with STRICT: one page was tried in vain, the other is mapped twice and was not taken."""
    files = {"data": {"size": 8192, "filesystem": "readonly"}}
    regions = {
        name: {"task": "app", "pages": pages, "file": "data", "shared": True}
        for name, pages in (("heap", 2), ("more", 1))
    }
    policy = {"mode": "bind", "nodes": [1]}
    bind = {"id": "bind", "by": "app", "do": "mbind", "region": "heap", "policy": policy}
    report = run(
        touch("heap", "more"), bind | {"flags": ["MOVE", "STRICT"]}, tasks=USER, files=files, regions=regions
    )
    assert report.calls[0].errno == "EIO"
    assert stayed(report) == [("heap[1]", -22), ("heap[0]", -13)]


@pytest.mark.parametrize(
    ("call", "status"), [(migrate([0], [1]), -1), (move(), -1), (migrate([0], [1], target=77), -3)]
)
def test_a_call_that_is_refused_moves_none_of_its_pages(call: dict[str, Any], status: int) -> None:
    """Each is told, with who is nobody to whom; of a task that is not there, nothing is."""
    report = run(
        touch("heap"),
        {"target": "app"} | call | {"by": "user"},
        tasks={"app": {}, "user": {"uid": 1000}},
    )
    assert stayed(report) == ([("heap[0]", -1)] if status == -1 else [])
    assert all(why.culprits == ("user is nobody to app",) for why in report.why_not)


def test_a_page_that_is_listed_twice_and_went_has_not_stayed() -> None:
    """The second entry found it on no list; unless it asked for another node."""
    report = run(touch("heap"), move() | {"pages": ["heap[0]", "heap[0]"]})
    assert report.calls[0].statuses == (1, -16)
    assert stayed(report) == []
    report = run(touch("heap"), move() | {"pages": ["heap[0]", "heap[0]"], "nodes": [1, 2]})
    assert stayed(report) == ([("heap[0]", -16)] if report.calls[0].statuses == (1, -16) else [])


def test_a_page_with_two_addresses_is_told_once() -> None:
    """The caller moves what is mapped twice; it was tried at the first, and is not passed over."""
    files = {"data": {"size": 4096, "filesystem": "readonly"}}
    regions = {name: {"task": "app", "pages": 1, "file": "data", "shared": True} for name in "xy"}
    report = run(touch("x", "y"), migrate([0], [1]), files=files, regions=regions)
    assert (report.calls[0].result, stayed(report)) == (1, [("x[0]", -22)])


def test_a_page_that_goes_on_is_one_page_that_moved() -> None:
    """{0, 1, 2} to {1, 2} sends node 2 to 1 and then 1 to 2: one row each, with the last node."""
    to_two = {"by": "app", "do": "set_mempolicy", "policy": {"mode": "bind", "nodes": [2]}}
    report = run([to_two, *touch("heap")], migrate([0, 1, 2], [1, 2]), pages=16)
    asked, region = report.calls[0].asked, report.regions[0]
    assert asked is not None and asked.addresses == tuple(dict.fromkeys(asked.addresses))
    assert sorted(asked.after) == sorted(region.after.nodes) == [1] * 2 + [2] * 14
    assert set(asked.before) == {2}


def test_pages_that_were_passed_over_have_rows_and_are_counted() -> None:
    """In the table, and by a sweep."""
    told = {
        "title": "Shared",
        "machine": {"nodes": ["1MiB"] * 2},
        "tasks": USER,
        "regions": {"heap": {"task": "app", "pages": 3}},
        "setup": [*touch("heap"), FORK],
        "calls": [migrate([0], [1])],
    }
    scenario = pm.Scenario(**told)
    report = scenario.run()
    assert report.table["status"].tolist() == [-13] * 3
    assert [why.entries for why in report.why_not] == [((entry, entry + 1),) for entry in range(3)]
    assert scenario.sweep({"machine.cpus": [2]})["stayed"].tolist() == [3]


def test_more_pages_than_events_of_a_slice_are_told_right() -> None:
    """One step takes 1,200,000 pages off their lists, and one puts four of them back."""
    pinned = [4416, 59448, 132344, 500000]
    report = run(
        [*touch("heap"), *(pin(f"heap[{page}]") | {"name": f"p{page}"} for page in pinned)],
        migrate([0], [1]),
        pages=1_200_000,
        machine={"nodes": ["6GiB"] * 2},
    )
    assert stayed(report) == [(f"heap[{page}]", -11) for page in pinned]
    assert report.calls[0].asked is not None and 0 not in report.calls[0].asked.addresses


# names -----------------------------------------------------------------------------------


def test_a_page_has_the_name_by_which_its_task_has_it() -> None:
    """The copy of a child, and a page of a file that two tasks map."""
    report = run([*touch("heap"), FORK, pin("kid.heap", "kid"), *touch("heap")], move("kid.heap", by="kid"))
    assert stayed(report) == [("kid.heap[0]", -11)]
    report = run(
        [*touch("x"), *touch("y", by="other")],
        migrate([0], [1], by="other"),
        tasks={"app": {}, "other": {}},
        files={"data": {"size": 4096, "filesystem": "readonly"}},
        regions={
            name: {"task": task, "pages": 1, "file": "data", "shared": True}
            for name, task in (("x", "app"), ("y", "other"))
        },
    )
    assert stayed(report) == [("y[0]", -22)]


def test_a_name_does_not_go_over_to_what_is_mapped_there_later() -> None:
    """A mapping that has moved away, and a new one where it was."""
    setup = [
        *touch("heap"),
        {"by": "app", "do": "mremap", "region": "heap", "to": 0x20000000, "name": "moved"},
        {"by": "app", "do": "mmap", "name": "fresh", "pages": 3, "at": 0x10000000},
        *touch("fresh"),
        pin("fresh[1]"),
    ]
    report = run(setup, move("fresh"), regions={"heap": {"task": "app", "pages": 3, "at": 0x10000000}})
    assert stayed(report) == [("fresh[1]", -11)]
    assert sorted(region.name for region in report.regions) == ["fresh", "moved"]


# culprits and reasons --------------------------------------------------------------------


def test_who_maps_a_page_is_no_culprit_of_a_move_that_takes_all_of_them_off() -> None:
    """The page is pinned; with other tasks or without, that is why."""
    for kid in ([], [{"by": "kid", "do": "exit"}]):
        report = run([*touch("heap"), FORK, pin("heap"), *kid], move(scope="shared"))
        assert report.why_not[0].culprits == ("pinned: dma of app",)


def test_of_many_places_where_a_page_is_mapped_the_number_is_told() -> None:
    """Twelve; eight are named."""
    forks = [FORK | {"name": f"k{number}"} for number in range(11)]
    (culprit,) = run([*touch("heap"), *forks], move()).why_not[0].culprits
    assert culprit.startswith("mapped at 12 places, first by app.heap[0], k0.heap[0], ")
    assert culprit.count(",") == 8


def test_the_group_whose_limit_refused_a_charge_is_named_above_the_one_that_pays() -> None:
    """The limit is its parent's, of which others use a part."""
    report = run(
        [*touch("heap"), *touch("rest", by="other")],
        move(),
        memcgs={"top": {"limit": "12KiB"}, "low": {"parent": "top"}, "next": {"parent": "top"}},
        tasks={"app": {"memcg": "low"}, "other": {"memcg": "next"}},
        regions={"heap": {"task": "app", "pages": 2}, "rest": {"task": "other", "pages": 1}},
    )
    assert report.why_not[0].culprits == (
        "memcg low pays: 2 pages, no limit",
        "memcg top is above it: 3 pages, a limit of 3",
    )


@pytest.mark.parametrize("code", ["EPERM", "ESRCH", "ENOMEM", "EBUSY", "EACCES", "ENODEV"])
@pytest.mark.parametrize("call", [move("other.rest", target="other"), migrate([0], [1], target="other")])
def test_a_veto_is_the_security_modules_whatever_its_errno(call: dict[str, Any], code: str) -> None:
    """It comes before the nodes (MV-6), one of which is forbidden."""
    veto = {"do": "veto", "caller": "app", "target": "other", "errno": code}
    report = run(
        [*touch("rest", by="other"), veto],
        call,
        tasks={"app": {}, "other": {"mems_allowed": [0]}},
        regions={"rest": {"task": "other", "pages": 1}},
    )
    assert report.calls[0].errno == code
    assert [why.culprits for why in report.why_not] == [("the security module refused it",)]


def test_the_nodes_of_the_target_are_asked_also_if_it_is_given_as_a_number() -> None:
    """EACCES: its cpuset, not the caller's."""
    for target in ("other", 2):
        report = run(
            touch("rest", by="other"),
            move("other.rest", target=target),
            tasks={"app": {}, "other": {"mems_allowed": [0]}},
            regions={"rest": {"task": "other", "pages": 1}},
        )
        assert report.why_not[0].culprits == ("other may not use node 1",)


@pytest.mark.parametrize("code", [-11, -22])
def test_a_filesystem_whose_method_refuses_is_told_as_that(code: int) -> None:
    """MN-3, whatever else the errno may mean."""
    report = run(
        [{"by": "app", "do": "touch", "where": "heap", "write": False}, DRAIN],
        move(),
        files={"data": {"size": 4096, "filesystem": {"base": "ext", "migrate": code}}},
        regions={"heap": {"task": "app", "pages": 1, "file": "data", "shared": True}},
    )
    assert [reason.label for reason in report.why_not[0].reasons] == ["MN-3"]


def test_what_was_decided_before_its_task_ended_is_told_as_it_was() -> None:
    """DM-2 found the page in nobody's list; the task is gone when the call ends."""
    scenario = pm.Scenario(
        title="Gone",
        machine={"nodes": ["1MiB"] * 2},
        order="together",
        tasks={"app": {}, "other": {}},
        regions={"heap": {"task": "app", "pages": 1}},
        setup=touch("heap"),
        calls=[
            move(by="other", target="app"),
            {"id": "soft", "do": "soft_offline", "pfn": "heap[0]"},
            {"id": "bye", "by": "app", "do": "exit"},
        ],
    )
    report = scenario.run(schedule="4b1a")
    assert [(why.reasons[0].label, why.reasons[0].result) for why in report.why_not] == [("DM-2", -16)]


def test_an_offlining_that_begins_with_frame_0_is_told_as_such() -> None:
    """Q25: the pages are on their lists, and the scan takes the number 0 for none."""
    report = run(
        touch("heap"),
        {"id": "off", "do": "offline", "node": 0, "count": 16, "timeout": 50},
        machine={"nodes": ["1MiB"] * 2, "pageblock_frames": 16},
    )
    assert report.calls[0].errno == "EBUSY"
    assert "Q25" in report.why_not[0].reasons[0].text


# what else a report says -----------------------------------------------------------------


@pytest.mark.parametrize("is_moved", [True, False])
def test_the_page_of_zeros_does_not_move_by_itself(is_moved: bool) -> None:
    """A page that was only read, and nothing done."""
    report = run(
        [{"by": "app", "do": "touch", "where": "heap", "write": False}],
        {"id": "settle", "do": "drain"},
        expect={"pages": [{"page": "heap", "moved": is_moved}]},
    )
    assert report.ok is not is_moved


def test_a_child_that_has_ended_is_reported_by_its_name() -> None:
    """A call forks it, and a later call ends it."""
    report = run(touch("heap"), FORK | {"id": "fork"}, {"id": "end", "by": "kid", "do": "exit"})
    assert [call.result for call in report.calls] == ["kid", None]


def test_a_raw_call_is_a_moment_of_the_history() -> None:
    """What was before the first call stays the first moment."""
    report = run(
        touch("heap"), move() | {"do": "raw_move_pages", "id": "raw"}, {"id": "settle", "do": "drain"}
    )
    history = report.history()
    assert history is not None
    assert (history.steps[0], list(history.nodes[0])) == (0, [0])
    assert (history.steps[1], list(history.nodes[1])) == (1, [1])
    assert history.order[0] == ("raw", "raw_move_pages")
