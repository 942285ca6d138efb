"""A report as one web page, as a trace, as JSON: it has everything, needs nothing, believes no name."""

from __future__ import annotations

import json
import pickle
from collections import Counter
from typing import Any

import pytest
from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace, TrackEvent

import pagemig as pm
from pagemig.scenario import library
from tests.reports.web import Page
from tests.reports.wire import Message, read

HOSTILE = "</title><script>alert(1)</script><img src=x onerror=alert(2)> & \"quoted\" 'too'"


def page_of(report: pm.Report, **options: Any) -> Page:
    """The page of a report, which is well formed and asks for nothing."""
    text = report.to_html(**options)
    read = Page(text)
    assert read.wrong == []
    assert read.elsewhere == []
    assert text.startswith("<!doctype html>")
    assert "http://" not in text
    assert "https://" not in text
    return read


def test_a_page_tells_all_that_a_report_knows() -> None:
    """Calls, statuses, placement, reasons and culprits, costs, counters, expectations."""
    report = pm.Scenario.load("pinned-page").run()
    page = page_of(report)
    assert page.headings[0] == report.title
    for heading in (
        "What was done",
        "What was answered for each page",
        "Where the pages were, and are",
        "On the way",
        "Why pages stayed",
        "What it cost",
        "Counters that changed",
        "What was expected",
    ):
        assert heading in page.headings
    assert [
        "early",
        "app",
        "move_pages pages=heap nodes=1",
        "2 x node 1, -EAGAIN, node 1",
        "139",
    ] in page.rows
    why = "attempts 1 to 10: someone else held a reference to it"
    assert ["heap[2]", "early", "-EAGAIN", why, "pinned: dma of app"] in page.rows
    assert [item for item in page.rows if item[:2] == ["copying", f"{report.cost['copies']} copies"]]
    assert any(row[0] == "nr_free_pages" for row in page.rows)
    assert page.words.count(", as expected") == len(report.expectations)
    assert "Pages by status" in page.pictures
    assert {"app.heap before the calls", "app.heap after the calls"} <= set(page.pictures)
    assert "How many pages each node had, from the first step to the last" in page.pictures


def test_a_page_says_what_failed(plain: dict[str, Any]) -> None:
    """First what does not hold."""
    plain["calls"][0]["expect"] = {"statuses": 0}
    page = page_of(pm.Scenario(**plain).run())
    assert "Not as expected: 1 of 1 expectation fails, 0 findings." in page.words
    assert "fails calls[0].expect.statuses: expected node 0 for every page, found 4 x node 1" in page.words


def test_a_page_with_nothing_to_show_says_so(plain: dict[str, Any]) -> None:
    """A call without pages, of a scenario without expectations and regions."""
    told = {key: plain[key] for key in ("title", "machine", "tasks")}
    page = page_of(pm.Scenario(**told, calls=[{"id": "settle", "do": "drain"}]).run())
    assert "Nothing was expected." in page.words
    assert page.pictures == []
    assert "Why pages stayed" not in page.headings


def test_a_hostile_name_stays_text(plain: dict[str, Any]) -> None:
    """Title, story and everything that is taken from them; in a timeline, too."""
    plain |= {"title": HOSTILE, "story": HOSTILE, "order": "together"}
    plain["calls"].append({"id": "touch", "by": "app", "do": "touch", "where": "heap"})
    report = pm.Scenario(**plain).run()
    page = page_of(report)
    assert page.headings[0] == HOSTILE
    assert page.words.count(HOSTILE) == 3
    assert "<script" not in report.to_html()
    assert "<script" not in report._repr_html_()


def test_a_race_is_shown_step_by_step() -> None:
    """The timeline of the schedule that was followed; a sequence has none."""
    report = pm.Scenario.load("two-movers").run()
    shown = report.timeline()
    assert shown is not None
    assert shown.schedule == report.schedule
    assert len(shown.moments) == report.steps + 1
    page = page_of(report)
    assert "The race, step by step" in page.headings
    assert f"Schedule {report.schedule}" in page.words
    assert len([title for title in page.pictures if title.startswith("Call ")]) == 2
    assert pm.Scenario.load("pinned-page").run().timeline() is None


def test_the_pages_are_seen_on_the_way() -> None:
    """From where they were to where they are, and in between nowhere, under a migration entry."""
    for name in ("pinned-page", "two-movers", "truncation-race", "exit-meets-offlining", "dead-disk"):
        report = pm.Scenario.load(name).run()
        history = report.history()
        assert history is not None
        first, last = list(history.nodes[0]), list(history.nodes[-1])
        assert first == [node for region in report.regions for node in region.before.nodes]
        assert last == [node for region in report.regions for node in region.after.nodes]
        assert list(history.steps) == sorted(set(history.steps))
    pinned = pm.Scenario.load("pinned-page").run().history()
    assert pinned is not None
    assert {-1, 0, 1} == {node for moment in pinned.nodes for node in moment}


@pytest.mark.parametrize("name", library())
def test_what_is_seen_on_the_way_is_the_run_itself(name: str) -> None:
    """Looking again makes the same steps as the run did, each call as many."""
    report = pm.Scenario.load(name).run()
    history = report.history()
    assert history is not None
    made = Counter(call for call, _ in history.order)
    steps = {call.id: call.steps or int(call.verb.startswith("raw_")) for call in report.calls}
    assert made == {name: count for name, count in steps.items() if count}
    # A schedule may ask for steps of a call that waits and makes none.
    assert history.steps[-1] == made.total() or report.order == "together"


def test_modelled_time_is_told_by_phase_and_call() -> None:
    """The calls of a sequence add up to the whole; those of a race share one ledger."""
    report = pm.Scenario.load("pinned-page").run()
    model = pm.presets["two-socket-2010"]
    whole = report.modelled_time(model)
    parts = [report.modelled_time(model, call=call.id) for call in report.calls]
    assert whole.ns == pytest.approx(sum(part.ns for part in parts))
    assert whole.pages == sum(part.pages for part in parts) == 4
    assert whole.counts["call"] == 2
    assert whole.counts["ipi"] == report.cost["flushes"] * (report.cpus - 1)
    page = page_of(report, model=model)
    assert "Modelled time, system calls included" in page.words
    assert model.source in page.words
    assert [row[0] for row in page.rows if row[0] == "late"] == ["late"] * 2
    with pytest.raises(pm.UsageError, match="call is 'soon'; the report has early, release, settle, late"):
        report.modelled_time(model, call="soon")
    with pytest.raises(pm.UsageError, match="they share one ledger"):
        pm.Scenario.load("two-movers").run().modelled_time(model, call="east")


def test_a_notebook_shows_the_same_without_the_frame_of_a_page() -> None:
    """What Jupyter asks for is the inner part of the page."""
    report = pm.Scenario.load("two-movers").run()
    part = report._repr_html_()
    assert "<html" not in part
    assert part in report.to_html()


def test_json_is_what_to_dict_says() -> None:
    """Text that any reader of JSON reads."""
    report = pm.Scenario.load("pinned-page").run()
    assert json.loads(report.to_json()) == json.loads(json.dumps(report.to_dict()))
    assert "film" not in report.to_dict()


def test_a_kept_report_can_still_be_looked_at() -> None:
    """Pickled, it has no machine and draws the same page."""
    for name in ("pinned-page", "two-movers"):
        report = pm.Scenario.load(name).run()
        kept = pickle.loads(pickle.dumps(report))
        assert kept == report
        assert kept.to_html() == report.to_html()
        assert kept.to_perfetto() == report.to_perfetto()


def test_perfetto_reads_the_calls_their_steps_and_the_nodes() -> None:
    """Goal: all slices end, times do not go back within a part. Oracle: Perfetto's own classes."""
    report = pm.Scenario.load("pinned-page").run()
    history = report.history()
    assert history is not None
    trace = Trace()
    trace.ParseFromString(report.to_perfetto())
    names = {
        p.track_descriptor.uuid: p.track_descriptor.name
        for p in trace.packet
        if p.HasField("track_descriptor")
    }
    assert set(names.values()) >= {
        "early by app",
        "late by app",
        "pages of the regions",
        "on node 0",
        "on node 1",
    }
    begun = [p.track_event for p in trace.packet if p.track_event.type == TrackEvent.TYPE_SLICE_BEGIN]
    ended = [p for p in trace.packet if p.track_event.type == TrackEvent.TYPE_SLICE_END]
    steps = [event for event in begun if list(event.categories) == ["step"]]
    assert [event.name for event in steps] == [label for _, label in history.order]
    assert [event.name for event in begun if list(event.categories) == ["call"]] == [
        call.verb for call in report.calls
    ]
    assert len(begun) == len(ended)
    last = {
        names[p.track_event.track_uuid]: p.track_event.counter_value
        for p in trace.packet
        if p.track_event.type == TrackEvent.TYPE_COUNTER
    }
    assert last == {"on node 0": 0, "on node 1": 4, "not present": 0}
    for part in {p.trusted_packet_sequence_id for p in trace.packet}:
        times = [p.timestamp for p in trace.packet if p.trusted_packet_sequence_id == part]
        assert times == sorted(times)


def test_the_trace_of_a_race_has_its_timeline_and_its_nodes() -> None:
    """Read by hand: the tracks of the timeline, and beside them counters of their own."""
    report = pm.Scenario.load("two-movers").run()
    shown = report.timeline()
    assert shown is not None
    data = report.to_perfetto()
    assert data.startswith(shown.to_perfetto())
    tracks = [
        Message(Message(packet).bytes(60))
        for _, packet in read(data)
        if isinstance(packet, bytes) and Message(packet).has(60)
    ]
    names = [track.text(2) for track in tracks]
    assert {"calls", "locks", "pages", "pages of the regions", "on node 1"} <= set(names)
    assert len({track.number(1) for track in tracks}) == len(tracks)
