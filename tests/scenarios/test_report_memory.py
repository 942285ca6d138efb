"""What a report of many pages takes of the host's memory: so many bytes a page, and no more.

Method: the peak of what Python has allocated for reports of two sizes; what differs, by the pages between.
The simulated machine is not counted, it is the core's. Limits are half as much again as what was measured.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

import pagemig as pm
from pagemig.report import Report

SMALL, LARGE = 2_000, 8_000

LIMITS = {"stays": 530, "moves": 270, "to_html": 1_800, "to_json": 1_900}
"""Bytes a page."""


def shared(pages: int, **call: Any) -> pm.Scenario:
    """Two tasks share pages, and one of them asks for all."""
    memory = f"{pages * 3 * 4096 // pm.MiB + 8}MiB"
    return pm.Scenario(
        title="Shared pages",
        machine={"nodes": [memory, memory]},
        tasks={"app": {}},
        regions={"heap": {"task": "app", "pages": pages}},
        setup=[
            {"by": "app", "do": "touch", "where": "heap"},
            {"do": "drain"},
            {"by": "app", "do": "fork", "name": "kid"},
        ],
        calls=[{"id": "move", "by": "app", "do": "move_pages", "pages": "heap", "nodes": 1, **call}],
    )


def a_page(of: Callable[[int], object]) -> float:
    """Bytes at the peak of making something, by the page."""
    of(SMALL)  # What is made once and kept is made now.
    peaks = []
    for pages in (SMALL, LARGE):
        tracemalloc.start(1)
        made = of(pages)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert made
    return (peaks[1] - peaks[0]) / (LARGE - SMALL)


def test_a_run_takes_little_for_each_page_that_stays() -> None:
    """All of them, with one story: every page is mapped twice."""

    def run(pages: int) -> Report:
        report = shared(pages).run()
        assert report.statuses == {-13: pages}
        return report

    assert a_page(run) < LIMITS["stays"]


def test_a_run_takes_little_for_each_page_that_moves() -> None:
    """Its many steps are told by words that are one object each."""
    assert a_page(lambda pages: shared(pages, scope="shared").run()) < LIMITS["moves"]


@pytest.mark.parametrize("form", ["to_html", "to_json"])
def test_telling_of_a_run_takes_little_for_each_page(form: str) -> None:
    """The page runs the scenario again and looks where its pages are about a hundred times."""
    reports = {pages: shared(pages, scope="shared").run() for pages in (SMALL, LARGE)}
    assert a_page(lambda pages: getattr(reports[pages], form)()) < LIMITS[form]
