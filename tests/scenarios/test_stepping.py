"""A scenario taken apart by hand: forth, back, and what is seen at each stop."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import pagemig as pm
from pagemig.scenario.stepping import Stepper
from pagemig.step_texts import STEP_TEXTS, text_of

LABELS = Path(__file__).resolve().parents[2] / "rust" / "core" / "src" / "step" / "label.rs"


@pytest.fixture
def stepper() -> Stepper:
    """A mover and a reader of one page, before their first step."""
    return Stepper(pm.Scenario.load("reader-meets-migration").page)


def test_every_step_has_a_sentence_and_no_sentence_is_left_over() -> None:
    """Goal: whoever stops anywhere is told what comes next. Method: the list of labels in the core."""
    text = LABELS.read_text(encoding="utf-8")
    listed = re.search(r"pub const LABELS: &\[Label\] = &\[(.*?)\];", text, re.DOTALL)
    assert listed is not None
    labels = re.findall(r'"([^"]+)"', listed.group(1))
    assert set(labels) == set(STEP_TEXTS)


def test_every_sentence_is_one() -> None:
    """A capital letter first, a full stop last, short enough for a line or two."""
    for label, text in STEP_TEXTS.items():
        assert text[0].isupper() and text.endswith((".", "?")), (label, text)
        assert len(text) <= 110, (label, text)


def test_each_stop_shows_step_locks_and_pages(stepper: Stepper) -> None:
    """The mover before UM-10: its entry is a migration entry, and it holds the page's lock."""
    stepper.until("a", "UM-10")
    mover, reader = stepper.calls
    assert (mover.at, mover.text) == ("UM-10", text_of("UM-10"))
    assert any(held.startswith("page_lock of frame") for held in mover.holds)
    assert mover.waits is None
    page = stepper.pages[0]
    assert (page.name, page.mapcount) == ("heap[0]", 0)
    assert "LOCKED" in page.flags.split()
    assert page.entries == ("app: migration, writable",)
    assert reader.at == "SP2-access"


def test_a_call_that_waits_says_for_what_and_cannot_be_stepped(stepper: Stepper) -> None:
    """The machine is left as it was."""
    stepper.until("a", "UM-10")
    stepper.until("b", "EW-6")
    before = stepper.schedule
    waits = stepper.calls[1].waits
    assert waits is not None
    assert re.fullmatch(r"waits for page_lock of frame \d+, held by a \(mover\)", waits)
    with pytest.raises(pm.UsageError, match=r"b \(reader\) waits for page_lock"):
        stepper.step("b")
    assert stepper.schedule == before


def test_going_back_is_as_if_nothing_had_happened(stepper: Stepper) -> None:
    """Also over the end of a call, and as often as one likes."""
    seen = [(stepper.schedule, stepper.calls, stepper.pages)]
    while not stepper.done:
        stepper.step("a" if not stepper.calls[0].came.done else "b")
        seen.append((stepper.schedule, stepper.calls, stepper.pages))
    for schedule, calls, pages in reversed(seen[:-1]):
        stepper.back()
        assert (stepper.schedule, stepper.pages) == (schedule, pages)
        assert [call.at for call in stepper.calls] == [call.at for call in calls]
    with pytest.raises(pm.UsageError, match="1 steps back; 0 have been made"):
        stepper.back()


def test_the_schedule_of_a_walk_gives_the_same_end_again(stepper: Stepper) -> None:
    """Stepping by hand and replaying are the same."""
    stepper.step("12a4b")
    stepper.finish()
    told = pm.Scenario.load("reader-meets-migration")
    report = told.run(schedule=stepper.schedule)
    assert report.schedule == stepper.schedule
    assert report.calls[0].statuses == stepper.calls[0].came.statuses
    assert all(item.holds for item in stepper.expectations())


def test_a_broken_rule_shows_at_the_step_that_breaks_it() -> None:
    """The finding's schedule, by hand."""
    told = pm.Scenario.load("gallery/fork-keeps-write")
    finding = told.explore(stop_at_first=True).findings[0]
    stepper = Stepper(told.page)
    stepper.step(finding.schedule)
    assert any(finding.rule in symptom for symptom in stepper.symptoms())
    stepper.back()
    assert stepper.symptoms() == ()


@pytest.mark.parametrize("runs", ["", "a3", "3", "3A", "a-b", "0x"])
def test_what_is_no_schedule_is_refused(stepper: Stepper, runs: str) -> None:
    """A number and a letter, as often as one likes."""
    with pytest.raises(pm.UsageError):
        stepper.step(runs)
    assert stepper.steps == 0


def test_pages_are_named_after_regions_of_those_who_map_them() -> None:
    """Two tasks have regions at the same addresses; a child forked by a call has its parent's."""
    stepper = Stepper(
        pm.Scenario(
            title="Two tasks",
            machine={"nodes": ["1MiB", "1MiB"]},
            tasks={"app": {}, "other": {}},
            regions={"mine": {"task": "app", "pages": 1}, "theirs": {"task": "other", "pages": 1}},
            setup=[
                {"by": "app", "do": "touch", "where": "mine"},
                {"by": "other", "do": "touch", "where": "theirs"},
            ],
            order="together",
            calls=[
                {"id": "move", "by": "app", "do": "move_pages", "pages": "mine", "nodes": 1},
                {"id": "fork", "by": "other", "do": "fork", "name": "kid"},
            ],
        ).page
    )
    whole = "present, writable, dirty, accessed"
    assert [(page.name, page.entries) for page in stepper.pages] == [
        ("mine[0]", (f"app: {whole}",)),
        ("theirs[0]", (f"other: {whole}",)),
    ]
    while not stepper.calls[1].came.done:
        stepper.step("b")
    assert stepper.pages[1].entries == (
        "other: present, read-only, dirty, accessed",
        "kid: present, read-only, dirty",
    )
