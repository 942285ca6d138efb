"""A scenario swept: values put in its places, one row a run, the same whoever runs it."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
from typing import Any

import pytest

import pagemig as pm

PLACES = {"regions.heap.pages": [1, 4, 9], "calls.move.nodes": [0, 1]}


def copies_of(report: pm.Report) -> int:
    """What a sweep of the tests measures."""
    return int(report.cost.get("copies", 0))


def test_every_number_of_workers_gives_the_same_table(plain: dict[str, Any]) -> None:
    """One thread, four threads, the default, two processes."""
    told = pm.Scenario(**plain)
    table = told.sweep(PLACES)
    assert table.names[:4] == ("regions.heap.pages", "calls.move.nodes", "ok", "moved")
    assert table["regions.heap.pages"].tolist() == [1, 1, 4, 4, 9, 9]
    assert table["moved"].tolist() == [0, 1, 0, 4, 0, 9]
    context = multiprocessing.get_context("spawn")
    for executor in (
        concurrent.futures.ThreadPoolExecutor(1),
        concurrent.futures.ThreadPoolExecutor(4),
        concurrent.futures.ProcessPoolExecutor(2, mp_context=context),
    ):
        with executor:
            assert told.sweep(PLACES, executor) == table


def test_a_sweep_measures_what_it_is_told_to(plain: dict[str, Any]) -> None:
    """A function of the report; progress is told after each run."""
    seen: list[tuple[int, int]] = []
    table = pm.Scenario(**plain).sweep(
        {"calls[0].nodes": [0, 1]}, measure=copies_of, progress=lambda done, of: seen.append((done, of))
    )
    assert table["result"].tolist() == [0, 4]
    assert seen == [(1, 2), (2, 2)]


def test_a_place_can_be_a_position_a_key_that_was_left_out_or_a_whole_part(plain: dict[str, Any]) -> None:
    """A node of a machine, a limit that was not there, the list of nodes; failures are told by name."""
    told = pm.Scenario(**plain)
    small = told.sweep({"machine.nodes[1].memory": ["4KiB", "1MiB"]})
    assert small["errnos"] == ("move ENOMEM", "")
    assert small["moved"].tolist() == [1, 4]
    assert told.sweep({"machine.cpus": [1, 8]})["moved"].tolist() == [4, 4]
    assert told.sweep({"machine.nodes": [["1MiB", "1MiB"], ["1MiB", "1MiB", "1MiB"]]})["ok"].all()


def test_a_sweep_leaves_the_scenario_as_it_is(plain: dict[str, Any]) -> None:
    """It puts values in copies."""
    told = pm.Scenario(**plain)
    before = told.to_toml()
    told.sweep(PLACES)
    assert told.to_toml() == before


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"calls[3].nodes": [1]}, r"the run calls\[3\]\.nodes=1: .*there is no \[3\]; there are 1"),
        ({"calls.mover.nodes": [1]}, "nothing here is called 'mover'; did you mean 'move'"),
        ({"regions.heap.pagez": [1]}, "pagez"),
        ({"regions.heap.pages": [4, "many"]}, "the run regions.heap.pages='many'"),
        ({"regions.heap.task": ["app", "nobody"]}, "the run regions.heap.task='nobody': "),
        ({"title.long.x": [1]}, "title.long.x"),
        ({"a b": [1]}, "a parameter has a name"),
        ({"regions.heap.pages": []}, "is empty"),
        ({}, "must map names to their values"),
    ],
)
def test_a_value_that_makes_no_sense_is_told_before_anything_runs(
    plain: dict[str, Any], parameters: dict[str, Any], said: str
) -> None:
    """The run and the place are named."""
    ran: list[object] = []
    with pytest.raises(pm.UsageError, match=said):
        pm.Scenario(**plain).sweep(parameters, measure=lambda report: ran.append(report) or 0)
    assert not ran
