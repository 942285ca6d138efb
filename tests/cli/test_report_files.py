"""The files that the command line writes: pages and traces of runs, of findings, of replayed schedules."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import pagemig as pm
from tests.reports.web import Page
from tests.reports.wire import read

from .conftest import Run


def whole(file: Path) -> Page:
    """A page that is well formed and asks for nothing from elsewhere."""
    page = Page(file.read_text("utf-8"))
    assert page.wrong == []
    assert page.elsewhere == []
    return page


def test_run_writes_a_page_a_trace_and_json_at_once(pagemig: Run, tmp_path: Path) -> None:
    """The same as the API gives; with a model the page has modelled time."""
    done = pagemig(
        *("run", "pinned-page", "--html", "page.html", "--perfetto", "run.pftrace", "--json"),
        *("--model", "two-socket-2010"),
    )
    assert done.returncode == 0, done.stderr
    report = pm.Scenario.load("pinned-page").run()
    assert json.loads(done.stdout)["calls"] == report.to_dict()["calls"]
    page = whole(tmp_path / "page.html")
    assert page.headings[0] == report.title
    assert "Modelled time, system calls included" in page.words
    assert (tmp_path / "run.pftrace").read_bytes() == report.to_perfetto()


def test_run_writes_its_page_also_when_an_expectation_fails(pagemig: Run, tmp_path: Path) -> None:
    """That is when it is wanted most; the exit code is still 1."""
    told = pm.Scenario.load("first-move").changed(expect={"pages": [{"page": "heap[0]", "node": 0}]})
    told.dump(tmp_path / "mine.toml")
    done = pagemig("run", "mine.toml", "--html", "page.html")
    assert done.returncode == 1
    assert "Not as expected" in whole(tmp_path / "page.html").words


def test_explore_shows_its_first_finding_step_by_step(pagemig: Run, tmp_path: Path) -> None:
    """Where nothing is found, none is written, and that is said."""
    done = pagemig("explore", "gallery/fork-keeps-write", "--timeline", "finding.html", "--json")
    assert done.returncode == 1
    found = json.loads(done.stdout)["findings"][0]
    assert "the first finding, step by step" in done.stderr
    page = whole(tmp_path / "finding.html")
    assert f"Schedule {found['schedule']}" in page.words
    assert "writable_private_pages_are_unshared" in page.words or found["detail"] in page.words
    clean = pagemig("explore", "two-movers", "--timeline", "none.html")
    assert clean.returncode == 0
    assert "there is no finding with a schedule to show" in clean.stderr
    assert not (tmp_path / "none.html").exists()


def test_replay_schedule_draws_the_schedule(pagemig: Run, tmp_path: Path) -> None:
    """A page and a trace, of all calls or of the steps until somebody stopped."""
    done = pagemig(
        *("replay-schedule", "two-movers", "3a2b1a"),
        *("--timeline", "race.html", "--perfetto", "race.pftrace"),
    )
    assert done.returncode == 0, done.stderr
    page = whole(tmp_path / "race.html")
    assert "Schedule 3a2b1a" in page.words
    assert len([row for row in page.rows if row and row[0].isdigit()]) == 7
    shown = pm.Scenario.load("two-movers").timeline("3a2b1a")
    assert (tmp_path / "race.pftrace").read_bytes() == shown.to_perfetto()
    assert read(shown.to_perfetto())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("run", "pinned-page", "--html", "no/such/folder.html"),
            "no/such/folder.html: cannot be written: No such file",
        ),
        (("run", "pinned-page", "--perfetto", "no/such/x"), "no/such/x: cannot be written: No such"),
        (("run", "pinned-page", "--html", "x.html", "--model", "abacus"), "--model is 'abacus'"),
        (("run", "pinned-page", "--model", "two-socket-2010"), "--model is for the page"),
        (
            ("explore", "gallery/fork-keeps-write", "--timeline", "no/such/x"),
            "no/such/x: cannot be written: No such",
        ),
        (
            ("replay-schedule", "two-movers", "1a", "--timeline", "no/such/x"),
            "no/such/x: cannot be written: No such",
        ),
    ],
)
def test_a_file_that_cannot_be_written_is_one_line(
    complaint: Callable[..., str], words: tuple[str, ...], said: str
) -> None:
    """Exit code 2, and nothing on standard output."""
    assert said in complaint(*words)
