"""The scenarios of the library: all run as they expect, all races hold in every order."""

from __future__ import annotations

import errno
import pickle

import pytest

import pagemig as pm
from pagemig.scenario import library

PLAIN = [name for name in library() if not name.startswith("gallery/")]
RACES = [name for name in PLAIN if pm.Scenario.load(name).page.order == "together"]


def test_the_library_is_large_enough() -> None:
    """At least twenty scenarios, each with a title and a story of its own."""
    told = [pm.Scenario.load(name) for name in PLAIN]
    assert len(told) >= 20
    assert len({one.title for one in told}) == len(told)
    assert all(len(one.story.split()) > 20 for one in told)


@pytest.mark.parametrize("name", library())
def test_a_scenario_of_the_library_is_the_same_after_it_was_written_and_read(name: str) -> None:
    """Through TOML, through plain data, and through pickle."""
    told = pm.Scenario.load(name)
    assert pm.Scenario.loads(told.to_toml()) == told
    assert pm.Scenario(**told.to_dict()) == told
    assert pickle.loads(pickle.dumps(told)) == told


@pytest.mark.parametrize("name", PLAIN)
def test_a_scenario_of_the_library_comes_out_as_it_expects(name: str) -> None:
    """Every scenario expects something, all of it holds, and the audit finds nothing."""
    report = pm.Scenario.load(name).run()
    assert report.expectations, "it expects nothing"
    assert report.ok, str(report)


@pytest.mark.parametrize("name", PLAIN)
def test_a_scenario_gives_the_same_report_twice(name: str) -> None:
    """Nothing but the host's clock may differ."""
    told = pm.Scenario.load(name)
    assert told.run() == told.run()


@pytest.mark.parametrize("name", RACES)
def test_a_race_of_the_library_holds_in_every_order(name: str) -> None:
    """Every order of every step is covered, and each outcome that is listed comes about."""
    verdict = pm.Scenario.load(name).explore()
    assert verdict.complete
    assert not verdict.findings, str(verdict)
    expected = pm.Scenario.load(name).page.expect.outcomes
    if expected:
        assert len(verdict.outcomes) == len(expected)


def test_every_errno_of_the_three_system_calls_is_shown() -> None:
    """The tables of syscalls 3.6, 5.5 and 6.4."""
    shown: dict[str, set[str]] = {}
    for name in PLAIN:
        for call in pm.Scenario.load(name).page.calls:
            if call.expect.errno is not None:
                shown.setdefault(call.do, set()).add(call.expect.errno)
    assert {"EINVAL", "EPERM", "ESRCH", "EFAULT", "ENODEV", "EACCES", "ENOMEM"} <= shown["move_pages"]
    assert {"EINVAL", "EFAULT", "ESRCH", "EPERM", "ENOMEM"} <= shown["migrate_pages"]
    assert {"EINVAL", "EPERM", "EFAULT", "EIO"} <= shown["mbind"]


def test_every_status_of_move_pages_is_shown() -> None:
    """The table of syscalls 3.3."""
    seen: set[int] = set()
    for name in PLAIN:
        for call in pm.Scenario.load(name).run().calls:
            seen |= set(call.statuses or ())
    names = ("ENOENT", "EIO", "EAGAIN", "EACCES", "EFAULT", "EBUSY", "EINVAL")
    words = {-getattr(errno, name) for name in names}
    assert words <= seen


def test_every_kind_of_page_is_shown() -> None:
    """Method: the filesystems, flags and verbs that the scenarios use."""
    pages = [pm.Scenario.load(name).page for name in PLAIN]
    filesystems = {file.filesystem.base for page in pages for file in page.files.values()}
    assert {"ext", "ramfs", "tmpfs", "blockdev", "failing"} <= filesystems
    verbs = {step.do for page in pages for step in (*page.setup, *page.calls)}
    assert {"swap_out", "ksm_scan", "mlock", "offline", "soft_offline", "truncate", "fork", "pin"} <= verbs
    assert any(region.shared and region.file is None for page in pages for region in page.regions.values())


def test_a_name_that_is_not_in_the_library_is_answered_with_the_nearest_one() -> None:
    """As for a file that is not there."""
    with pytest.raises(
        pm.UsageError, match=r"no scenario 'two-mover' in the library.*did you mean 'two-movers'"
    ):
        pm.Scenario.load("two-mover")
