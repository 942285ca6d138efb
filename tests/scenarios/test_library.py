"""The scenarios of the library: all run as they expect, all races hold in every order."""

from __future__ import annotations

import errno
import functools
import pickle
import re

import pytest

import pagemig as pm
from pagemig.scenario import library
from tests.house.repository import ROOT

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


@functools.cache
def errnos() -> dict[str, set[str]]:
    """With which errnos the calls of the library really end, by system call."""
    found: dict[str, set[str]] = {}
    for name in PLAIN:
        for call in pm.Scenario.load(name).run().calls:
            if call.errno is not None:
                found.setdefault(call.verb.removeprefix("raw_"), set()).add(call.errno)
    return found


def table(section: str) -> str:
    """The text of a section of the specification of the system calls, up to the next one."""
    text = (ROOT / "docs" / "spec" / "syscalls.md").read_text(encoding="utf-8")
    begin = re.search(rf"^### {re.escape(section)} ", text, re.MULTILINE)
    assert begin is not None
    return re.split(r"^##", text[begin.end() :], maxsplit=1, flags=re.MULTILINE)[0]


@pytest.mark.parametrize(
    ("call", "section", "unreachable"),
    [
        ("move_pages", "3.6", set()),
        ("migrate_pages", "5.5", set()),
        # The model never runs out of memory for a policy object, and of frames STRICT makes EIO.
        ("mbind", "6.4", {"ENOMEM"}),
    ],
)
def test_every_errno_of_the_specification_is_what_a_call_of_the_library_ends_with(
    call: str, section: str, unreachable: set[str]
) -> None:
    """Method: read the table of the specification, run the whole library, and compare."""
    rows = re.findall(r"^\| ([A-Z][^|]*)\|", table(section), re.MULTILINE)
    told = {word for row in rows for word in re.findall(r"E[A-Z]+", row)}
    assert len(told) >= 5
    assert told - unreachable == errnos()[call]


def test_every_status_of_the_specification_is_shown() -> None:
    """Method: the first column of the table of syscalls 3.3; -ENOMEM is never visible there."""
    rows = re.findall(r"^\| -(E[A-Z]+) .*?\| (.*) \|$", table("3.3"), re.MULTILINE)
    told = {name for name, when in rows if not when.startswith("never visible")}
    assert len(told) == 7
    seen: set[int] = set()
    for name in PLAIN:
        for call in pm.Scenario.load(name).run().calls:
            seen |= set(call.statuses or ())
    assert {-getattr(errno, name) for name in told} <= seen
    assert min(seen) < 0 <= max(seen)


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
