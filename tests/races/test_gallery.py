"""The gallery: every bug is found, its schedule shows it again, and without the bug nothing is found.

``pagemig.gallery`` is explored completely in both ways. The page ``docs/guides/gallery.md`` must tell
the same stories.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import pagemig as pm

PAGE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "gallery.md"
NAMES = tuple(pm.gallery)
TRANSITIONS = 200_000
"""Steps of a search, at most: far more than any exhibit needs."""

FOUND = {
    "no-freeze": (pm.ViolationKind.LOST_STORE, "no_store_is_lost"),
    "no-recheck": (pm.ViolationKind.LOST_STORE, "no_store_is_lost"),
    "copy-late": (pm.ViolationKind.LOST_STORE, "no_store_is_lost"),
    "dirty-dropped": (pm.ViolationKind.LOST_STORE, "no_store_is_lost"),
    "fork-keeps-write": (pm.ViolationKind.INVARIANT, "writable_private_pages_are_unshared"),
    "mprotect-keeps-write": (pm.ViolationKind.INVARIANT, "entries_permit_no_more_than_areas"),
    "no-rcu": (pm.ViolationKind.ASSERTION, "page # is looked for on list #, which was freed"),
    "child-first": (pm.ViolationKind.INVARIANT, "migration_entries_have_a_migrator"),
    "new-unlocked": (pm.ViolationKind.ASSERTION, "new page # was locked"),
    "no-writeback-wait": (pm.ViolationKind.ASSERTION, "page # is under writeback"),
    "drop-early": (pm.ViolationKind.ASSERTION, "reference taken on a free or frozen page"),
    "isolated-left": (pm.ViolationKind.INVARIANT, "zone_counters_count"),
    "mremap-strands": (pm.ViolationKind.INVARIANT, "migration_entries_have_a_migrator"),
}
"""What is found first, which is what the shortest schedule leads to."""

NO_RACE = {"copy-late", "dirty-dropped", "isolated-left", "no-writeback-wait"}
"""Exhibits that break without anybody's help: the other call only shows what could come of it."""


def test_there_are_at_least_twelve_exhibits_and_each_has_an_expectation() -> None:
    """Every switch hangs in the gallery; one exhibit is no switch (Q21)."""
    assert len(NAMES) >= 12
    assert set(NAMES) == set(FOUND)
    assert {pm.gallery[name].bug for name in NAMES} == {*pm.Bug, None}


@pytest.mark.parametrize("name", NAMES)
def test_a_bug_is_found_and_its_schedule_shows_it_again(name: str) -> None:
    """The same finding by the search and by a replay from the beginning; all of it was searched."""
    verdict = pm.gallery.explore(name, transitions=TRANSITIONS)
    assert verdict.complete
    first = verdict.findings[0]
    assert (first.kind, first.rule) == FOUND[name]
    machine, race = pm.gallery[name].build()
    again = pm.replay(machine, race, first.schedule)
    assert (first.kind, first.rule) in {(symptom.kind, symptom.rule) for symptom in again.symptoms}


@pytest.mark.parametrize("name", NAMES)
def test_without_the_bug_every_order_is_clean(name: str) -> None:
    """A complete search with no finding, and every call comes to an end."""
    verdict = pm.gallery.explore(name, bug_on=False, transitions=TRANSITIONS)
    assert verdict.complete
    assert verdict.holds
    assert verdict.outcomes


@pytest.mark.parametrize("name", sorted(set(NAMES) - NO_RACE))
def test_one_call_after_the_other_shows_nothing(name: str) -> None:
    """A bug that needs a race is not seen by a test that has none: in either order all is well."""
    for order in ((0, 1), (1, 0)):
        machine, race = pm.gallery[name].build()
        calls = [machine.start(what, by=task) for what, task in race]
        for at in order:
            calls[at].run()
            machine.check()


@pytest.mark.parametrize("name", sorted(NO_RACE))
def test_some_bugs_need_no_race(name: str) -> None:
    """The shortest schedule has steps of the first call only."""
    verdict = pm.gallery.explore(name, transitions=TRANSITIONS)
    assert re.fullmatch("[0-9]+a", verdict.findings[0].schedule)


@pytest.mark.parametrize("name", NAMES)
def test_a_finding_breaks_what_the_exhibit_says(name: str) -> None:
    """The invariants of the exhibit and those of the rule that found it have one in common."""
    finding = pm.gallery.explore(name, transitions=TRANSITIONS).findings[0]
    if finding.kind is not pm.ViolationKind.ASSERTION:
        assert set(finding.ids.split()) & set(pm.gallery[name].breaks)


@pytest.mark.parametrize("name", NAMES)
def test_a_story_has_two_to_six_sentences_and_cites_the_specification(name: str) -> None:
    """Long enough to be understood, short enough to be read."""
    story = pm.gallery[name].story
    assert 2 <= len(re.findall(r"[.!?](?= |$)", story)) <= 6
    assert re.search(r"\b(?:Q|S)\d\d\b|\bW\d+\b|\bI-\d+\b|\bY\d\d\b|\d\.\d\b", story)


def test_an_unknown_exhibit_is_named_with_those_there_are() -> None:
    """`UsageError`; membership is just false."""
    with pytest.raises(pm.UsageError, match="the gallery has no 'no-such'; it has no-freeze"):
        pm.gallery["no-such"]
    assert "no-such" not in pm.gallery
    with pytest.raises(pm.UsageError, match="bug_on is 1; it must be True or False"):
        pm.gallery["no-freeze"].build(1)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", NAMES)
def test_the_guide_tells_the_story_of_each_exhibit(name: str) -> None:
    """Title, story, rule and invariants stand in the section with its name, word for word."""
    sections = re.split(r"^### ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    found = [section for section in sections if section.startswith(f"{name}\n")]
    assert len(found) == 1, f"docs/guides/gallery.md has {len(found)} sections {name!r}"
    words = " ".join(found[0].split())
    exhibit = pm.gallery[name]
    for part in (f"**{exhibit.title}.**", exhibit.story, exhibit.rule, *exhibit.breaks):
        assert part in words, f"the section {name!r} lacks {part!r}"
