"""Scenarios of kernels that break a rule: an assertion of the model is a finding, and nothing explodes."""

from __future__ import annotations

import subprocess
import sys

import pytest

import pagemig as pm
from pagemig.scenario import library

GALLERY = [name for name in library() if name.startswith("gallery/")]
FALLING = {
    "gallery/drop-early": "reference taken on a free or frozen page",
    "gallery/no-writeback-wait": "page 0 is under writeback",
}


@pytest.mark.parametrize("name", GALLERY)
def test_every_scenario_of_the_gallery_runs_to_a_report(name: str) -> None:
    """In every form, and the same when its schedule is followed."""
    scenario = pm.Scenario.load(name)
    report = scenario.run()
    assert report.to_json()
    assert name.removeprefix("gallery/") in scenario.bugs or not scenario.bugs
    assert "<svg" in report.to_html()
    assert report.to_perfetto()
    again = scenario.run(schedule=report.schedule)
    assert (again.findings, again.schedule, again.calls) == (report.findings, report.schedule, report.calls)


@pytest.mark.parametrize(("name", "said"), FALLING.items())
def test_a_failed_assertion_is_a_finding(name: str, said: str) -> None:
    """The report is of the machine just before: the call is not done, the rest can be looked at."""
    report = pm.Scenario.load(name).run()
    assert not report.ok
    assert report.findings[0] == f"assertion: {said}"
    assert [call.done for call in report.calls] == [False, True]
    timeline = report.timeline()
    assert timeline is not None
    assert any(said in finding for finding in timeline.findings)


def test_calls_one_after_the_other_can_fall_too() -> None:
    """In a sequence the call that falls is not done, and those after it have not begun."""
    told = pm.Scenario.load("gallery/no-writeback-wait").changed(order=None)
    report = told.run()
    assert report.findings == ("assertion: page 0 is under writeback",)
    assert [(call.done, call.steps > 0) for call in report.calls] == [(False, True), (False, False)]
    assert "assertion: page 0 is under writeback" in report.to_html()
    assert report.to_perfetto()


def test_a_failed_assertion_can_be_expected() -> None:
    """Under what it says, with # for each number, as exploring groups it."""
    told = pm.Scenario.load("gallery/no-writeback-wait").changed(
        expect={"findings": ["page # is under writeback"]}
    )
    report = told.run()
    assert report.ok
    assert [item.path for item in report.expectations] == ["expect.findings[0]"]


@pytest.mark.parametrize("name", FALLING)
def test_nothing_is_printed_when_an_assertion_fails(name: str) -> None:
    """No traceback, no news of a panic: it was looked for. The exit code says that it was found."""
    made = subprocess.run(
        [sys.executable, "-m", "pagemig.cli", "run", name],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert made.returncode == 1
    assert made.stderr == ""
    assert FALLING[name] in made.stdout
