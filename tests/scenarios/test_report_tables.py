"""A report as a table: one row for each page that a call was asked for, for any dataframe."""

from __future__ import annotations

import errno
from typing import Any

import polars
import pyarrow
import pytest

import pagemig as pm
from pagemig.scenario import library


def test_a_row_tells_where_a_page_was_and_is_and_why(plain: dict[str, Any]) -> None:
    """One that moves, one that is pinned, one that was there, one that was never touched."""
    plain["setup"] = [
        {"by": "app", "do": "touch", "where": "heap[0:3]"},
        {"do": "drain"},
        {"by": "app", "do": "pin", "address": "heap[1]", "name": "dma"},
    ]
    plain["calls"][0]["nodes"] = [1, 1, 0, 1]
    table = pm.Scenario(**plain).run().table
    assert table.names == ("call", "address", "status", "before", "after", "reason")
    assert table["call"] == ("move",) * 4
    assert table["status"].tolist() == [1, -errno.EAGAIN, 0, -errno.ENOENT]
    assert table["before"].tolist() == [0, 0, 0, -1]
    assert table["after"].tolist() == [1, 0, 0, -1]
    step = table["address"][1:] - table["address"][:-1]
    assert step.tolist() == [pm.PAGE_SIZE] * 3
    moved, pinned, there, absent = table["reason"]
    assert moved.startswith("Copied to a new frame")
    assert pinned == "attempts 1 to 10: someone else held a reference to it [pinned: dma of app]"
    assert there.startswith("The page was on the target node before")
    assert absent.startswith("nothing is there: it was never touched")


def test_dataframes_read_a_report_through_arrow() -> None:
    """pyarrow and polars, without a copy of ours in between; also one without any row."""
    report = pm.Scenario.load("pinned-page").run()
    read = pyarrow.table(report)
    read.validate(full=True)
    assert read.to_pylist() == list(report.table)
    assert len(read) == 8
    assert [str(kind) for kind in read.schema.types[1:5]] == ["uint64", "int32", "int32", "int32"]
    assert pyarrow.schema(report) == read.schema
    assert polars.DataFrame(report).filter(polars.col("status") < 0)["call"].to_list() == ["early"]
    empty = pm.Scenario(
        title="No page", machine={"nodes": ["1MiB"]}, calls=[{"id": "settle", "do": "drain"}]
    ).run()
    assert pyarrow.table(empty).num_rows == 0


@pytest.mark.parametrize("name", [name for name in library() if not name.startswith("gallery/")])
def test_the_table_agrees_with_the_calls_and_the_regions(name: str) -> None:
    """Statuses as the call wrote them, nodes as the regions have them, a reason in every row."""
    report = pm.Scenario.load(name).run()
    rows = list(report.table)
    for call in report.calls:
        mine = [row for row in rows if row["call"] == call.id]
        if call.statuses is not None and call.verb == "move_pages":
            assert tuple(row["status"] for row in mine)[: len(call.statuses)] == call.statuses
        for row in mine:
            assert row["reason"]
            if row["status"] >= 0 and call.done and call.errno is None and report.order == "sequence":
                # A page that moves while it is only in the swap cache is mapped nowhere afterwards.
                assert row["after"] == row["status"] or (name, row["after"]) == ("swap-cache", -1)


def test_every_caller_of_the_engine_has_rows() -> None:
    """Also those that are not given addresses: what they took off their lists."""
    for name, verb in (
        ("bind-and-move", "mbind"),
        ("memory-offlining", "offline"),
        ("nodes-do-not-swap", "migrate_pages"),
        ("cpuset-moves-house", "set_cpuset_mems"),
    ):
        report = pm.Scenario.load(name).run()
        ids = {call.id for call in report.calls if call.verb == verb}
        moved = [
            row for row in report.table if row["call"] in ids and 0 <= row["before"] != row["after"] >= 0
        ]
        assert moved, (name, [(call.id, call.verb) for call in report.calls])


def test_a_page_that_a_call_did_not_get_to_has_the_errno_of_the_call(plain: dict[str, Any]) -> None:
    """ENOMEM on the way: one moved, three did not (S40)."""
    plain["machine"]["nodes"] = ["1MiB", "4KiB"]
    table = pm.Scenario(**plain).run().table
    assert table["status"].tolist() == [-errno.ENOMEM] * 4
    assert table["after"].tolist() == [1, 0, 0, 0]
    assert table["reason"][0] == "The page was moved; the call ended with an error all the same."
    assert table["reason"][1].startswith("attempt 1: the target node had no frame to give")
    assert all(reason.startswith("the call ended before: ENOMEM") for reason in table["reason"][2:])


def test_pages_of_a_call_that_waits_for_ever_are_pending() -> None:
    """S31: the disk never answers."""
    report = pm.Scenario.load("dead-disk").run()
    rows = [row for row in report.table if row["call"] == report.calls[0].id]
    assert rows
    assert {row["status"] for row in rows} == {-errno.EINPROGRESS}
    assert {row["reason"] for row in rows} != {""}
