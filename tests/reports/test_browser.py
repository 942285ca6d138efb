"""Pages in a real browser: wide and narrow, nothing cut off, pictures there, not a word on the console."""

from __future__ import annotations

from pathlib import Path

import pytest

import pagemig as pm
from tests.reports.web import opened

LONG = "an-unbroken-name-of-quite-some-length-" * 8


def check(page: str, pictures: int, folder: Path) -> None:
    """Look at 1280 and 400 pixels."""
    seen, console = opened(page, folder)
    assert console == []
    assert [one.width for one in seen] == [1280, 400]
    for one in seen:
        assert one.content <= one.width
        assert one.pictures >= pictures
        assert one.headings == 1
        assert one.smallest >= 11
    assert seen[1].height > seen[0].height


@pytest.mark.parametrize(
    ("name", "pictures"), [("pinned-page", 5), ("two-movers", 6), ("errnos-of-move-pages", 4)]
)
def test_a_report_can_be_read_wide_and_narrow(name: str, pictures: int, tmp_path: Path) -> None:
    """With pages that stayed, with a race, with many calls; with modelled time."""
    report = pm.Scenario.load(name).run()
    check(report.to_html(pm.presets["two-socket-2023"]), pictures, tmp_path)


def test_a_name_without_end_does_not_widen_the_page(tmp_path: Path) -> None:
    """Title and story without a space to break at."""
    told = pm.Scenario.load("pinned-page").changed(title=LONG, story=LONG)
    check(told.run().to_html(), 5, tmp_path)


def test_a_timeline_can_be_read_wide_and_narrow(tmp_path: Path) -> None:
    """That of a finding."""
    verdict = pm.Scenario.load("gallery/fork-keeps-write").explore(stop_at_first=True)
    check(pm.Timeline.of_finding(verdict.findings[0]).to_html(), 3, tmp_path)


def test_a_page_that_is_wrong_is_seen_to_be_wrong(tmp_path: Path) -> None:
    """Goal: the looks above can fail. Method: a wide box, a script that throws, no picture, small letters."""
    page = (
        "<!doctype html><body style='margin: 0'><script>missing()</script>"
        "<p style='width: 900px; font-size: 7px'>wide</p><svg width='0' height='0'></svg></body>"
    )
    seen, console = opened(page, tmp_path)
    assert len(console) == 2
    assert "missing is not defined" in console[0]
    assert [one.content for one in seen] == [1280, 900]
    assert [(one.pictures, one.headings, one.smallest) for one in seen] == [(0, 0, 7)] * 2
